//! The demo from outside: its page and tokens, what its users may do, and where there is none.
//!
//! A browser drives it in `tests/sdk/browser/demo.test.mjs`.

pub mod common;

use common::{Client, SECRET, Server, WITH_TOKENS};
use serde_json::{Value, json};
use ureq::Agent;
use ureq::http::Response;

/// Status, headers and body of `GET path` at the admin listener, as a program on this machine asks.
fn get(server: &Server, path: &str, headers: &[(&str, &str)]) -> (Response<()>, String) {
    let agent: Agent = Agent::config_builder().http_status_as_error(false).build().into();
    let mut request = agent.get(format!("http://{}{path}", server.admin()));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let (parts, mut body) = request.call().unwrap().into_parts();
    (Response::from_parts(parts, ()), body.read_to_string().unwrap())
}

/// What the page is told when it asks for a token for `name`, which is in a query's letters.
fn ticket(server: &Server, name: &str) -> Value {
    let (response, body) = get(server, &format!("/demo/token?name={name}"), &[]);
    assert_eq!(response.status(), 200, "{body}");
    assert_eq!(response.headers()["cache-control"], "no-store");
    serde_json::from_str(&body).unwrap()
}

/// A client of the demo's user `name`.
fn user(server: &Server, name: &str) -> Client {
    let mut client = server.upgrade();
    client.connect(json!({ "token": ticket(server, name)["token"] }));
    client
}

#[test]
fn the_page_may_connect_to_its_server_and_to_nothing_else() {
    let server = Server::start("");
    let (response, body) = get(&server, "/demo", &[]);
    assert_eq!(response.status(), 200);
    let headers = response.headers();
    assert_eq!(headers["content-type"], "text/html; charset=utf-8");
    assert_eq!(headers["cache-control"], "no-store");
    let policy = headers["content-security-policy"].to_str().unwrap();
    let nonce = policy.split("script-src 'nonce-").nth(1).unwrap().split('\'').next().unwrap();
    assert!(nonce.len() == 32 && body.contains(&format!("<script nonce=\"{nonce}\">")), "{policy}");
    let connects = format!("connect-src 'self' ws://{}/connection/websocket;", server.address());
    assert!(policy.starts_with("default-src 'none';") && policy.contains(&connects), "{policy}");
    let again = get(&server, "/demo", &[]).0.headers()["content-security-policy"].clone();
    assert_ne!(again, policy, "a nonce is used once");
}

#[test]
fn its_page_may_upgrade_without_a_word_in_the_configuration() {
    let server = Server::start("");
    let port = server.admin().port();
    for host in ["127.0.0.1", "localhost"] {
        let origin = format!("http://{host}:{port}");
        server.upgrade_on("/connection/websocket", &[("Origin", &origin)]);
    }
}

#[test]
fn a_user_of_the_demo_has_a_name_and_a_chat_s_rooms() {
    let server = Server::start("");
    let told = ticket(&server, "%20Zo%C3%AB%20%202");
    assert_eq!(told["name"], "Zoë 2");
    assert_eq!(told["user"], "demo:zo%C3%AB+2");
    assert_eq!(told["url"], format!("ws://{}/connection/websocket", server.address()));
    let mut zoe = user(&server, "Zo%C3%AB%202");
    let info = json!({ "user": "demo:zo%C3%AB+2", "client": zoe.id(), "conn_info": { "name": "Zoë 2" } });
    let first = zoe.subscribe("demo:lobby");
    assert_eq!((&first["recoverable"], &first["epoch"].is_string()), (&json!(true), &true));
    assert_eq!(zoe.receive()["push"]["join"]["info"], info);
    zoe.publish("demo:lobby", json!("hi"));
    let heard = zoe.receive();
    assert_eq!(heard["push"]["pub"], json!({ "data": "hi", "info": info, "offset": 1 }));
    let present = zoe.succeed("presence", json!({ "channel": "demo:lobby" }));
    assert_eq!(present["presence"][zoe.id()], info);
    let unread = zoe.succeed("rpc", json!({ "method": "unread", "data": { "channels": ["demo:lobby"] } }));
    assert_eq!(unread["data"]["channels"]["demo:lobby"], json!({ "unread": 1, "offset": 1, "read": 0 }));
    let since = json!({ "channel": "demo:lobby", "recover": true, "offset": 0, "epoch": first["epoch"] });
    let back = user(&server, "Bob").succeed("subscribe", since);
    assert_eq!((&back["recovered"], &back["publications"][0]["data"]), (&json!(true), &json!("hi")));
}

#[test]
fn typing_is_told_to_the_others_and_kept_nowhere() {
    let server = Server::start("");
    let (mut ann, mut bob) = (user(&server, "Ann"), user(&server, "Bob"));
    for client in [&mut ann, &mut bob] {
        assert_eq!(client.subscribe("demo-typing:lobby"), json!({}));
    }
    ann.publish("demo-typing:lobby", json!({ "at": 1 }));
    let heard = bob.receive();
    assert_eq!(heard["push"]["pub"]["info"]["conn_info"]["name"], "Ann", "{heard}");
    assert_eq!(heard["push"]["pub"]["offset"], Value::Null);
}

#[test]
fn nobody_makes_rooms_or_messages_without_bounds() {
    let server = Server::start("");
    let mut ann = user(&server, "Ann");
    for name in ["demo:", "demo:A", "demo:a b", &format!("demo:{}", "a".repeat(25))] {
        ann.fail("subscribe", json!({ "channel": name }), 107, "bad request");
    }
    ann.subscribe("demo:lobby");
    let long = json!({ "channel": "demo:lobby", "data": "x".repeat(5000) });
    ann.fail("publish", long, 106, "limit exceeded");
}

#[test]
fn a_request_without_a_name_gets_no_token() {
    let server = Server::start("");
    for query in ["", "?name=", "?name=%20", "?nam=Ann", "?name=%E2%80%8B"] {
        let (response, body) = get(&server, &format!("/demo/token{query}"), &[]);
        assert_eq!((response.status().as_u16(), body.lines().count()), (400, 1), "{query}");
    }
}

#[test]
fn a_token_of_one_server_is_nothing_to_another() {
    let (one, other) = (Server::start(""), Server::start(""));
    let mut client = other.upgrade();
    client.command(json!({ "connect": { "token": ticket(&one, "Ann")["token"] } }));
    client.expect_close(3500, "invalid token");
}

#[test]
fn where_the_server_is_told_who_may_come_in_there_is_no_demo() {
    for config in ["insecure = true", "insecure = false", WITH_TOKENS, "demo.enabled = false"] {
        let server = Server::start(config);
        for path in ["/demo", "/demo/token?name=Ann"] {
            let (response, body) = get(&server, path, &[]);
            assert_eq!(response.status(), 404, "{config}");
            assert!(body.starts_with("the demo is off; ") && body.lines().count() == 1, "{body}");
        }
        if config != "insecure = false" {
            let unknown = json!({ "channel": "demo:lobby" });
            server.client().fail("subscribe", unknown, 102, "unknown channel");
        }
    }
}

#[test]
fn a_demo_that_is_asked_for_signs_with_the_operator_s_key_and_its_users_are_no_others() {
    let claims = "client.token.audience = 'chat'\nclient.token.issuer = 'us'\n";
    let server = Server::start(&format!("{WITH_TOKENS}{claims}demo.enabled = true"));
    assert_eq!(ticket(&server, "admin")["user"], "demo:admin");
    let mut ann = user(&server, "Ann");
    ann.subscribe("demo:lobby");
    ann.fail("subscribe", json!({ "channel": "other" }), 103, "permission denied");
    let whoever = json!({ "sub": "42", "aud": "chat", "iss": "us" });
    server.client_with(whoever);
    assert!(!get(&server, "/demo", &[]).1.contains(SECRET));
}

#[test]
fn a_page_of_another_site_gets_no_token() {
    let server = Server::start("");
    let foreign = [("Origin", "http://evil.example")];
    let rebound = [("Host", "evil.example:8001")];
    for headers in [&foreign, &rebound] {
        for path in ["/demo", "/demo/token?name=Ann"] {
            let (response, body) = get(&server, path, headers);
            assert_eq!(response.status(), 403, "{headers:?}: {body}");
            assert!(!body.contains("\"token\""));
        }
    }
}
