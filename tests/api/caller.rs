//! An application that calls the API.

use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::{Value, json};

use crate::common::{PATIENCE, Server, WITH_TOKENS};

/// The key of servers with `config`.
pub const KEY: &str = "0123456789abcdef";

/// A server that checks tokens and whose rooms keep ten publications, are listed and announce who
/// comes; rooms `live:…` have nothing of that. Users may subscribe to all of them.
pub fn config() -> String {
    format!(
        "{WITH_TOKENS}\
         [http_api]\nkey = '{KEY}'\n\
         [channel.without_namespace]\npresence = true\nhistory_size = 10\nhistory_ttl = '1h'\n\
         durability = 'memory'\nallow_subscribe_for_client = true\nallow_recovery = true\n\
         [[channel.namespaces]]\nname = 'live'\nallow_subscribe_for_client = true\n"
    )
}

/// A server with `config` and as many shards.
pub fn server(shards: usize) -> Server {
    Server::with_shards(&config(), shards)
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Answer {
    /// The body, which is JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// Sends `request` as it is; what comes back until the server closes.
#[track_caller]
pub fn exchange(server: &Server, request: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(server.admin()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(request).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no head: {answer:?}"));
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head: head.to_ascii_lowercase(), body: body.to_owned() }
}

/// One request with these header lines.
#[track_caller]
pub fn request(server: &Server, line: &str, headers: &[&str], body: &str) -> Answer {
    let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
    let length = body.len();
    let text = format!(
        "{line} HTTP/1.1\r\nHost: throng\r\nConnection: close\r\n{headers}Content-Length: {length}\r\n\r\n{body}"
    );
    exchange(server, text.as_bytes())
}

/// Posts `body` to a method of the API, with the key.
#[track_caller]
pub fn post(server: &Server, method: &str, body: &str) -> Answer {
    request(server, &format!("POST /api/{method}"), &[&format!("X-API-Key: {KEY}")], body)
}

/// The whole answer to a call.
#[track_caller]
pub fn call(server: &Server, method: &str, request: Value) -> Value {
    let answer = post(server, method, &request.to_string());
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(answer.head.contains("content-type: application/json"), "{answer:?}");
    answer.json()
}

/// The result of a call that succeeds.
#[track_caller]
pub fn succeed(server: &Server, method: &str, request: Value) -> Value {
    let mut answer = call(server, method, request);
    assert!(answer.get("result").is_some(), "{answer}");
    answer["result"].take()
}

/// A call that fails in this way and no other.
#[track_caller]
pub fn fail(server: &Server, method: &str, request: Value, code: u16, message: &str) {
    let answer = call(server, method, request.clone());
    assert_eq!(answer, json!({ "error": { "code": code, "message": message } }), "{request}");
}

/// Publishes to a room with history; its number.
#[track_caller]
pub fn publish(server: &Server, channel: &str, data: Value) -> u64 {
    let result = succeed(server, "publish", json!({ "channel": channel, "data": data }));
    result["offset"].as_u64().unwrap()
}
