//! `conflate = "user"`: of what one user publishes only the latest is delivered, and nobody waits for it.

pub mod common;

use common::{Server, WITH_TOKENS};
use serde_json::json;

/// Anybody may signal in rooms `typing:...`, with beats of `interval_ms`.
fn server(interval_ms: u32) -> Server {
    Server::with_shards(
        &format!(
            "{WITH_TOKENS}[[channel.namespaces]]\nname = 'typing'\nconflate = 'user'\n\
             feed_interval_ms = {interval_ms}\nallow_subscribe_for_client = true\n\
             allow_subscribe_for_anonymous = true\nallow_publish_for_client = true\n\
             allow_publish_for_anonymous = true"
        ),
        2,
    )
}

#[test]
fn of_a_user_s_signals_the_latest_is_delivered_and_of_each_user_one() {
    let server = server(300);
    let mut member = server.client();
    member.subscribe("typing:1");
    let mut ann = server.client_as("ann");
    let mut bob = server.client_as("bob");
    // One frame each: they come in one turn, and so before one beat.
    for (client, name) in [(&mut ann, "ann"), (&mut bob, "bob")] {
        let signals: Vec<_> = (1..=50)
            .map(|number| {
                let publish = json!({ "channel": "typing:1", "data": format!("{name} {number}") });
                json!({ "id": number, "publish": publish }).to_string()
            })
            .collect();
        client.send(signals.join("\n"));
    }
    let mut told: Vec<_> = (0..2).map(|_| member.next_data("typing:1")).collect();
    told.sort_by_key(|data| data.to_string());
    assert_eq!(told, ["ann 50", "bob 50"]);
    ann.succeed("publish", json!({ "channel": "typing:1", "data": "ann stops" }));
    assert_eq!(member.next_data("typing:1"), "ann stops", "and none of the others comes later");
}

#[test]
fn anonymous_clients_do_not_replace_each_other_s_signals_and_nobody_gets_an_own_one() {
    let server =
        Server::start("[[channel.namespaces]]\nname = 'typing'\nconflate = 'user'\nexclude_sender = true\n");
    let mut ann = server.client();
    let mut bob = server.client();
    ann.subscribe("typing:1");
    bob.subscribe("typing:1");
    ann.publish("typing:1", json!("from ann"));
    bob.publish("typing:1", json!("from bob"));
    assert_eq!(ann.next_data("typing:1"), "from bob");
    assert_eq!(bob.next_data("typing:1"), "from ann");
}

#[test]
fn a_signal_of_one_who_has_gone_is_delivered_all_the_same() {
    let server = server(200);
    let mut member = server.client();
    member.subscribe("typing:1");
    let mut ann = server.client_as("ann");
    ann.publish("typing:1", json!("last words"));
    drop(ann);
    assert_eq!(member.next_data("typing:1"), "last words");
}

#[test]
fn signals_of_users_who_have_gone_do_not_replace_each_other() {
    let server = server(2_000);
    let mut member = server.client();
    member.subscribe("typing:1");
    for user in 0..20 {
        server.client_as(&format!("user{user}")).publish("typing:1", json!(user));
        // The next user may be given what told this one from others.
        server.wait_for("it to be gone", |metrics| metrics.sum("throng_connections") == 1);
    }
    let mut told: Vec<_> = (0..20).map(|_| member.next_data("typing:1").as_u64().unwrap()).collect();
    told.sort_unstable();
    assert_eq!(told, (0..20).collect::<Vec<_>>());
}
