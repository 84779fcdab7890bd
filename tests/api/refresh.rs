//! Moving the expiry of connections.

use serde_json::json;

use crate::caller::{fail, server, succeed};
use crate::common::{Client, now_s};

#[test]
fn all_connections_of_a_user_are_told_when_they_expire_now() {
    let server = server(3);
    let mut theirs: Vec<Client> = (0..12).map(|_| server.client_as("42")).collect();
    let mut other = server.client_as("43");
    let request = json!({ "user": "42", "expire_at": now_s() + 600, "info": { "nick": "new" } });
    assert_eq!(succeed(&server, "refresh", request), json!({}));
    for client in &mut theirs {
        let push = client.receive();
        let refresh = &push["push"]["refresh"];
        assert_eq!(refresh["expires"], true, "{push}");
        assert!((590..=600).contains(&refresh["ttl"].as_u64().unwrap()), "{push}");
        assert_eq!(push["push"].as_object().unwrap().len(), 1, "{push}");
    }
    other.subscribe("room");
    theirs[0].subscribe("room");
    let presence = succeed(&server, "presence", json!({ "channel": "room" }));
    assert_eq!(presence["presence"][theirs[0].id()]["conn_info"], json!({ "nick": "new" }));
    assert_eq!(succeed(&server, "refresh", json!({ "client": theirs[0].id() })), json!({}));
    assert_eq!(theirs[0].receive(), json!({ "push": { "refresh": {} } }));
}

#[test]
fn a_connection_that_has_expired_is_closed() {
    let server = server(2);
    for expired in [json!({ "expired": true }), json!({ "expire_at": now_s() - 1 })] {
        let mut client = server.client_as("42");
        let mut request = expired;
        request["user"] = "42".into();
        assert_eq!(succeed(&server, "refresh", request), json!({}));
        client.expect_close(3005, "connection expired");
    }
}

#[test]
fn what_is_no_refresh_is_refused() {
    let server = server(1);
    let mut client = server.client_as("42");
    for request in [
        json!({}),
        json!({ "user": "" }),
        json!({ "user": "42", "expire_at": -1 }),
        json!({ "user": "42", "expire_at": "soon" }),
        json!({ "user": "42", "info": "x".repeat(65_536) }),
    ] {
        fail(&server, "refresh", request, 107, "bad request");
    }
    for nobody in [json!({ "user": "43", "expired": true }), json!({ "client": "no id", "expired": true })] {
        assert_eq!(succeed(&server, "refresh", nobody), json!({}));
    }
    client.subscribe("room");
}
