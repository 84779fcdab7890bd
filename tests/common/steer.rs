//! Requests that steer a server over its admin listener, as a program on this machine sends them.

use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::Value;

use super::{PATIENCE, Server};

/// The status of an answer and its body.
#[derive(Debug)]
pub struct Answer {
    /// HTTP status code.
    pub status: u16,
    /// What follows the headers.
    pub body: String,
}

impl Answer {
    /// The result in the body of an answer that says yes.
    #[track_caller]
    pub fn result(&self) -> Value {
        assert_eq!(self.status, 200, "{self:?}");
        serde_json::from_str::<Value>(&self.body).unwrap()["result"].clone()
    }
}

/// Sends `method` and `path` with `body`, asking for a loopback address, and with more headers.
#[track_caller]
pub fn steer(server: &Server, method: &str, path: &str, headers: &str, body: &str) -> Answer {
    let host = if headers.contains("Host:") { "" } else { "Host: 127.0.0.1\r\n" };
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\n{host}{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    );
    let mut stream = TcpStream::connect_timeout(&server.admin(), PATIENCE).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).unwrap();
    let (head, body) = response.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {response:?}"));
    Answer { status: head[9..12].parse().unwrap(), body: body.to_owned() }
}

/// How a drain stands.
#[track_caller]
pub fn drain_status(server: &Server) -> Value {
    steer(server, "GET", "/api/drain", "", "").result()
}
