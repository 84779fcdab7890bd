//! Connection and subscription tokens: what they must be and what they give.
//!
//! What time does to a connection that was let in is in `liveness.rs`.

pub mod common;

use common::{Client, SECRET, Server, WITH_TOKENS, now_s, token, token_signed};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};

fn server() -> Server {
    Server::start(&format!("{WITH_TOKENS}channel.without_namespace.allow_publish_for_client = true"))
}

fn token_of(algorithm: Algorithm, claims: &Value) -> String {
    encode(&Header::new(algorithm), claims, &EncodingKey::from_secret(SECRET.as_bytes())).unwrap()
}

/// Checks that a connect with `jwt` ends the connection with 3500.
fn expect_invalid(server: &Server, jwt: &str) {
    let mut client = server.upgrade();
    client.command(json!({ "connect": { "token": jwt } }));
    client.expect_close(3500, "invalid token");
}

/// A time that the reply told in seconds from now, which passed since.
fn is_about(ttl: &Value, expected: u64) -> bool {
    ttl.as_u64().is_some_and(|ttl| (expected - 60..=expected).contains(&ttl))
}

/// Subscribes `client` to `channel` with a token of these claims.
fn subscribe_with(client: &mut Client, channel: &str, claims: &Value) -> Value {
    client.call(json!({ "subscribe": { "channel": channel, "token": token(claims) } }))
}

#[test]
fn a_token_that_is_none_or_not_ours_or_claims_nonsense_is_invalid() {
    let server = server();
    let good = token(&json!({ "sub": "42" }));
    let (unsigned, signature) = good.rsplit_once('.').unwrap();
    let none_header = "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0";
    let claims = unsigned.split_once('.').unwrap().1;
    for jwt in [
        "nonsense",
        "a.b.c",
        unsigned,
        &format!("{unsigned}."),
        &format!("{none_header}.{claims}."),
        &format!("{none_header}.{claims}.{signature}"),
        &format!("{good}x"),
        &token_signed("another secret that is as long as it gets", &json!({ "sub": "42" })),
        &token_signed("another secret that is as long as it gets", &json!({ "sub": "42", "exp": 1 })),
        &token(&json!({ "sub": 42 })),
        &token(&json!({ "sub": "42", "channel": "room" })),
        &token(&json!({ "sub": "42", "exp": "soon" })),
        &token(&json!({ "sub": "42", "channels": "room" })),
        &token(&json!({ "sub": "42", "subs": ["room"] })),
        &token(&json!({ "sub": "42", "b64info": "no base64!" })),
        &token(&json!({ "sub": "42", "b64info": "bm8gSlNPTg==" })),
        &token(&json!(["sub", "42"])),
    ] {
        expect_invalid(&server, jwt);
    }
}

#[test]
fn a_server_without_a_key_takes_no_token() {
    for config in ["", "client.allow_anonymous_connect_without_token = true"] {
        let server = Server::start(config);
        expect_invalid(&server, &token(&json!({ "sub": "42" })));
        expect_invalid(&server, &token_signed("", &json!({ "sub": "42" })));
    }
    let server = Server::start("insecure = true");
    let mut client = server.client();
    let reply = subscribe_with(&mut client, "room", &json!({ "channel": "room" }));
    assert_eq!(reply["error"]["code"], 103);
}

#[test]
fn a_token_whose_time_is_over_or_has_not_come_is_expired() {
    let server = server();
    for claims in [
        json!({ "sub": "42", "exp": 1 }),
        json!({ "sub": "42", "exp": now_s() - 1, "expire_at": 0 }),
        json!({ "sub": "42", "exp": now_s() - 1, "channels": ["nobody:knows"] }),
        json!({ "sub": "42", "nbf": now_s() + 600 }),
        json!({ "sub": "42", "nbf": now_s() + 600, "exp": now_s() + 900 }),
    ] {
        server.upgrade().fail("connect", json!({ "token": token(&claims) }), 109, "token expired");
    }
    server.client_with(json!({ "sub": "42", "nbf": now_s() - 1 }));
}

#[test]
fn hs384_and_hs512_are_taken_as_well() {
    let server = server();
    for algorithm in [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512] {
        let jwt = token_of(algorithm, &json!({ "sub": "42" }));
        server.upgrade().connect(json!({ "token": jwt }));
    }
}

#[test]
fn a_token_without_a_user_is_of_the_anonymous_one() {
    let server = Server::start(&format!(
        "client.token.hmac_secret_key = '{SECRET}'\nchannel.without_namespace.allow_publish_for_client = true"
    ));
    for claims in
        [json!({ "iat": now_s() }), json!({ "sub": "" }), json!({ "sub": null, "meta": { "a": 1 } })]
    {
        let mut client = server.client_with(claims);
        client.fail("publish", json!({ "channel": "room", "data": 1 }), 103, "permission denied");
    }
    server.client_as("42").publish("room", json!(1));
}

#[test]
fn the_key_before_the_last_rotation_is_taken_too() {
    let old = "the secret that was in force before this one";
    let server = Server::start(&format!("{WITH_TOKENS}client.token.hmac_previous_secret_key = '{old}'"));
    server.upgrade().connect(json!({ "token": token_signed(old, &json!({ "sub": "42" })) }));
    server.client_as("42");
    expect_invalid(&server, &token_signed("one that never was in force at all", &json!({ "sub": "42" })));
}

#[test]
fn audience_and_issuer_are_checked_where_they_are_configured() {
    let server = Server::start(&format!(
        "{WITH_TOKENS}client.token.audience = 'chat'\nclient.token.issuer = 'https://login.example.com'"
    ));
    let iss = "https://login.example.com";
    for claims in [
        json!({ "sub": "42", "aud": "chat", "iss": iss }),
        json!({ "sub": "42", "aud": ["mail", "chat"], "iss": iss }),
    ] {
        server.client_with(claims);
    }
    for claims in [
        json!({ "sub": "42" }),
        json!({ "sub": "42", "aud": "chat" }),
        json!({ "sub": "42", "iss": iss }),
        json!({ "sub": "42", "aud": "mail", "iss": iss }),
        json!({ "sub": "42", "aud": "chat", "iss": "https://evil.example.com" }),
    ] {
        expect_invalid(&server, &token(&claims));
    }
    self::server().client_with(json!({ "sub": "42", "aud": "anything", "iss": "anyone" }));
}

#[test]
fn the_connect_reply_says_when_the_connection_expires() {
    let server = server();
    let connect = |claims: Value| server.upgrade().connect(json!({ "token": token(&claims) }));
    for claims in [
        json!({ "exp": now_s() + 600 }),
        json!({ "expire_at": now_s() + 600 }),
        json!({ "exp": now_s() + 60, "expire_at": now_s() + 600 }),
    ] {
        let result = connect(claims.clone());
        assert_eq!(result["expires"], true, "{claims}: {result}");
        assert!(is_about(&result["ttl"], 600), "{claims}: {result}");
    }
    for claims in [json!({ "sub": "42" }), json!({ "exp": now_s() + 600, "expire_at": 0 })] {
        let result = connect(claims.clone());
        assert!(result.get("expires").is_none() && result.get("ttl").is_none(), "{claims}: {result}");
    }
    let over = json!({ "token": token(&json!({ "expire_at": now_s() - 1 })) });
    server.upgrade().fail("connect", over, 110, "expired");
}

#[test]
fn what_a_token_attaches_to_a_connection_others_see() {
    let server = server();
    let mut member = server.client_with(json!({ "channels": ["room"] }));
    for claims in [
        json!({ "sub": "42", "info": { "nick": "ann" } }),
        // {"nick":"ann"}, which wins over the other.
        json!({ "sub": "42", "b64info": "eyJuaWNrIjoiYW5uIn0=", "info": { "nick": "bob" } }),
    ] {
        let mut publisher = server.client_with(claims);
        publisher.publish("room", json!(1));
        let info = member.receive()["push"]["pub"]["info"].take();
        assert_eq!(info, json!({ "user": "42", "client": publisher.id(), "conn_info": { "nick": "ann" } }));
    }
}

#[test]
fn subs_take_precedence_over_channels() {
    let server = server();
    let mut client = server.upgrade();
    let claims = json!({
        "sub": "42",
        "channels": ["from-channels"],
        "subs": { "from-subs": { "info": { "role": "mod" }, "b64data": "eyJhIjoxfQ==" } },
    });
    let result = client.connect(json!({ "token": token(&claims) }));
    assert_eq!(result["subs"], json!({ "from-subs": { "data": { "a": 1 } } }));
    client.publish("from-subs", json!(1));
    assert_eq!(client.receive()["push"]["pub"]["info"]["chan_info"], json!({ "role": "mod" }));

    let claims = json!({ "sub": "42", "channels": ["from-channels"], "subs": {} });
    let result = server.upgrade().connect(json!({ "token": token(&claims) }));
    assert_eq!(result["subs"], json!({ "from-channels": {} }));
}

#[test]
fn a_subscription_token_lets_its_user_into_its_room_whatever_the_namespace_says() {
    let server = server();
    let mut client = server.client_as("42");
    for channel in ["room", "$private", "list#1,2"] {
        client.fail("subscribe", json!({ "channel": channel }), 103, "permission denied");
        let reply = subscribe_with(&mut client, channel, &json!({ "sub": "42", "channel": channel }));
        assert_eq!(reply["subscribe"], json!({}), "{reply}");
    }
    // What the suite of the JavaScript SDK uses: no user, an anonymous client.
    let mut anonymous = server.client_with(json!({ "iat": now_s() }));
    let reply = subscribe_with(&mut anonymous, "test1", &json!({ "iat": now_s(), "channel": "test1" }));
    assert_eq!(reply["subscribe"], json!({}), "{reply}");
    let reply =
        subscribe_with(&mut client, "nobody:knows", &json!({ "sub": "42", "channel": "nobody:knows" }));
    assert_eq!(reply["error"], json!({ "code": 102, "message": "unknown channel" }));
}

#[test]
fn a_subscription_token_may_be_for_one_client_alone() {
    let server = server();
    let mut client = server.client_as("42");
    let claims = json!({ "sub": "42", "channel": "room", "client": client.id() });
    assert_eq!(subscribe_with(&mut client, "room", &claims)["subscribe"], json!({}));
    let mut other = server.client_as("42");
    other.command(json!({ "subscribe": { "channel": "room", "token": token(&claims) } }));
    other.expect_close(3500, "invalid token");
}

#[test]
fn a_subscription_token_for_something_else_ends_the_connection() {
    let server = server();
    for claims in [
        json!({ "sub": "42", "channel": "other" }),
        json!({ "sub": "43", "channel": "room" }),
        json!({ "channel": "room" }),
        json!({ "sub": "42", "channel": "room", "client": "00000000-0000-4000-8000-000000000000" }),
    ] {
        let mut client = server.client_as("42");
        client.command(json!({ "subscribe": { "channel": "room", "token": token(&claims) } }));
        client.expect_close(3500, "invalid token");
    }
}

#[test]
fn a_subscription_token_that_is_not_ours_is_no_permission() {
    let server = server();
    let mut client = server.client_as("42");
    let claims = json!({ "sub": "42", "channel": "room" });
    for jwt in [
        "nonsense",
        &token_signed("another secret that is as long as it gets", &claims),
        // A connection token names no channel.
        &token(&json!({ "sub": "42" })),
    ] {
        let request = json!({ "channel": "room", "token": jwt });
        client.fail("subscribe", request, 103, "permission denied");
    }
    let reply = subscribe_with(&mut client, "room", &json!({ "sub": "42", "channel": "room", "exp": 1 }));
    assert_eq!(reply["error"], json!({ "code": 109, "message": "token expired" }));
    let early = json!({ "sub": "42", "channel": "room", "nbf": now_s() + 600 });
    assert_eq!(subscribe_with(&mut client, "room", &early)["error"]["code"], 109);
    assert_eq!(subscribe_with(&mut client, "room", &claims)["subscribe"], json!({}));
}

#[test]
fn the_subscribe_reply_has_what_the_token_says() {
    let server = server();
    let mut client = server.client_as("42");
    let claims = json!({ "sub": "42", "channel": "a", "data": { "x": [1] }, "exp": now_s() + 600 });
    let mut reply = subscribe_with(&mut client, "a", &claims);
    assert!(is_about(&reply["subscribe"]["ttl"].take(), 600));
    assert_eq!(reply["subscribe"], json!({ "data": { "x": [1] }, "expires": true, "ttl": null }));
    let claims = json!({ "sub": "42", "channel": "b", "b64data": "eyJhIjoxfQ==", "exp": now_s() + 600, "expire_at": 0 });
    assert_eq!(subscribe_with(&mut client, "b", &claims)["subscribe"], json!({ "data": { "a": 1 } }));
    let claims = json!({ "sub": "42", "channel": "c", "expire_at": now_s() + 600 });
    assert_eq!(subscribe_with(&mut client, "c", &claims)["subscribe"]["expires"], true);
}

#[test]
fn subscription_tokens_may_have_a_key_of_their_own() {
    let key = "a secret for subscriptions alone, 32 bytes";
    let server = Server::start(&format!("{WITH_TOKENS}client.subscription_token.hmac_secret_key = '{key}'"));
    let mut client = server.client_as("42");
    let claims = json!({ "sub": "42", "channel": "room" });
    assert_eq!(subscribe_with(&mut client, "room", &claims)["error"]["code"], 103);
    let jwt = token_signed(key, &claims);
    client.succeed("subscribe", json!({ "channel": "room", "token": jwt }));
    expect_invalid(&server, &token_signed(key, &json!({ "sub": "42" })));
}

#[test]
fn a_token_may_turn_join_and_leave_on_for_one_subscription() {
    let server = server();
    let mut client = server.client_as("42");
    let switches = json!({ "join_leave": { "value": true }, "force_push_join_leave": { "value": true } });
    let claims = json!({ "sub": "42", "channel": "room", "override": switches });
    assert_eq!(subscribe_with(&mut client, "room", &claims)["subscribe"], json!({}));
    let info = json!({ "user": "42", "client": client.id() });
    assert_eq!(client.receive(), json!({ "push": { "channel": "room", "join": { "info": info } } }));
}

#[test]
fn a_refresh_tells_the_new_time() {
    let server = server();
    let mut client = server.client_as("42");
    let refresh = |claims: Value| json!({ "token": token(&claims) });
    let mut result = client.succeed("refresh", refresh(json!({ "sub": "42", "exp": now_s() + 600 })));
    assert!(is_about(&result["ttl"].take(), 600));
    assert_eq!(result, json!({ "expires": true, "ttl": null }));
    assert_eq!(client.succeed("refresh", refresh(json!({ "sub": "42" }))), json!({}));
}

#[test]
fn a_refresh_that_is_not_for_this_connection_ends_it() {
    let server = server();
    let jwt = |claims: Value| token(&claims);
    for (jwt, code, reason) in [
        (String::new(), 3501, "bad request"),
        ("nonsense".to_owned(), 3500, "invalid token"),
        (
            token_signed("another secret that is as long as it gets", &json!({ "sub": "42" })),
            3500,
            "invalid token",
        ),
        (jwt(json!({ "sub": "43" })), 3500, "invalid token"),
        (jwt(json!({})), 3500, "invalid token"),
        (jwt(json!({ "sub": "42", "channel": "room" })), 3500, "invalid token"),
        (jwt(json!({ "sub": "42", "exp": 1 })), 3005, "connection expired"),
        (jwt(json!({ "sub": "42", "expire_at": 1 })), 3005, "connection expired"),
        (jwt(json!({ "sub": "42", "nbf": now_s() + 600 })), 3005, "connection expired"),
        (jwt(json!({ "sub": "42", "channels": ["room"] })), 3010, "insufficient state"),
    ] {
        let mut client = server.client_as("42");
        client.command(json!({ "refresh": { "token": jwt } }));
        client.expect_close(code, reason);
    }
}

#[test]
fn a_refresh_must_list_the_server_side_subscriptions_that_the_last_token_listed() {
    let server = server();
    let claims = json!({ "sub": "42", "channels": ["a", "b"] });
    let same = json!({ "sub": "42", "subs": { "b": {}, "a": {} } });
    let mut client = server.client_with(claims.clone());
    assert_eq!(client.succeed("refresh", json!({ "token": token(&same) })), json!({}));
    for other in [json!(["a"]), json!(["a", "b", "c"]), json!([])] {
        let mut client = server.client_with(claims.clone());
        client.command(json!({ "refresh": { "token": token(&json!({ "sub": "42", "channels": other })) } }));
        client.expect_close(3010, "insufficient state");
    }
}

#[test]
fn a_refresh_may_list_a_server_side_subscription_that_the_client_has_ended() {
    let server = server();
    let claims = json!({ "sub": "42", "channels": ["a", "b"] });
    let mut client = server.client_with(claims.clone());
    for room in ["a", "b"] {
        client.succeed("unsubscribe", json!({ "channel": room }));
        assert_eq!(client.succeed("refresh", json!({ "token": token(&claims) })), json!({}));
    }
    client.command(json!({ "refresh": { "token": token(&json!({ "sub": "42" })) } }));
    client.expect_close(3010, "insufficient state");

    let mut client = server.client_with(claims);
    client.succeed("unsubscribe", json!({ "channel": "a" }));
    let left = json!({ "sub": "42", "channels": ["b"] });
    client.command(json!({ "refresh": { "token": token(&left) } }));
    client.expect_close(3010, "insufficient state");
}

#[test]
fn a_sub_refresh_tells_the_new_time_and_changes_what_others_see() {
    let server = server();
    let mut client = server.client_as("42");
    let claims = json!({ "sub": "42", "channel": "room", "exp": now_s() + 60, "info": 1 });
    subscribe_with(&mut client, "room", &claims);
    let renewed = json!({ "sub": "42", "channel": "room", "exp": now_s() + 600, "info": 2 });
    let mut result = client.succeed("sub_refresh", json!({ "channel": "room", "token": token(&renewed) }));
    assert!(is_about(&result["ttl"].take(), 600));
    assert_eq!(result, json!({ "expires": true, "ttl": null }));
    client.publish("room", json!(1));
    assert_eq!(client.receive()["push"]["pub"]["info"]["chan_info"], 2);
    let endless = json!({ "sub": "42", "channel": "room" });
    assert_eq!(
        client.succeed("sub_refresh", json!({ "channel": "room", "token": token(&endless) })),
        json!({})
    );
}

#[test]
fn a_sub_refresh_that_cannot_be_gets_its_error() {
    let server = server();
    let mut client = server.client_as("42");
    let jwt = |exp: i64| token(&json!({ "sub": "42", "channel": "room", "exp": exp }));
    let request = |jwt: &str| json!({ "channel": "room", "token": jwt });
    client.fail("sub_refresh", request(&jwt(now_s() + 600)), 103, "permission denied");
    client.succeed("subscribe", request(&jwt(now_s() + 600)));
    client.fail("sub_refresh", request(""), 107, "bad request");
    client.fail("sub_refresh", json!({ "channel": "room" }), 107, "bad request");
    client.fail("sub_refresh", request(&jwt(1)), 109, "token expired");
    client.succeed("sub_refresh", request(&jwt(now_s() + 600)));
}

#[test]
fn a_sub_refresh_with_a_token_for_something_else_ends_the_connection() {
    let server = server();
    let good = json!({ "sub": "42", "channel": "room" });
    for jwt in [
        "nonsense".to_owned(),
        token_signed("another secret that is as long as it gets", &good),
        token(&json!({ "sub": "42", "channel": "other" })),
        token(&json!({ "sub": "43", "channel": "room" })),
        token(&json!({ "sub": "42" })),
    ] {
        let mut client = server.client_as("42");
        subscribe_with(&mut client, "room", &good);
        client.command(json!({ "sub_refresh": { "channel": "room", "token": jwt } }));
        client.expect_close(3500, "invalid token");
    }
}

/// What comes to a room between the answer of the committer for it and the last room's.
#[test]
fn a_connect_that_brings_several_rooms_misses_nothing_of_any() {
    let server = Server::with_shards(
        &format!(
            "{WITH_TOKENS}[[channel.namespaces]]\nname = 'kept'\nhistory_size = 100000\nhistory_ttl = '60s'\n\
             durability = 'memory'\nforce_recovery = true\nallow_publish_for_client = true\n"
        ),
        2,
    );
    let rooms: Vec<_> = (0..10).map(|room| format!("kept:{room}")).collect();
    let subs: serde_json::Map<_, _> = rooms.iter().map(|room| (room.clone(), json!({}))).collect();
    let is_over = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|threads| {
        for _ in 0..2 {
            threads.spawn(|| {
                let mut publisher = server.client_as("publisher");
                while !is_over.load(std::sync::atomic::Ordering::Relaxed) {
                    for room in &rooms {
                        publisher.publish(room, json!(1));
                    }
                }
            });
        }
        for _ in 0..60 {
            let mut client = server.upgrade();
            let token = token(&json!({ "sub": "42", "subs": subs }));
            client.send(json!({ "id": 1, "connect": { "token": token } }).to_string());
            let mut told = client.receive();
            let mut next: std::collections::HashMap<_, _> = rooms
                .iter()
                .map(|room| {
                    (room.clone(), told["connect"]["subs"][room]["offset"].take().as_u64().unwrap_or(0))
                })
                .collect();
            for _ in 0..100 {
                let push = client.receive()["push"].take();
                let Some(offset) = push["pub"]["offset"].as_u64() else { continue };
                let last = next.get_mut(push["channel"].as_str().unwrap()).unwrap();
                *last += 1;
                assert_eq!(offset, *last, "{push}");
            }
        }
        is_over.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}
