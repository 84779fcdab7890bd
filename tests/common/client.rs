//! A client that says exactly what a test wants and hides nothing that comes back.

use std::collections::VecDeque;
use std::io;
use std::net::TcpStream;

use serde_json::{Value, json};
use tungstenite::client::IntoClientRequest;
use tungstenite::handshake::client::Response;
use tungstenite::http::{HeaderName, HeaderValue};
use tungstenite::protocol::{Message, WebSocketConfig};
use tungstenite::{Error, HandshakeError, WebSocket};

/// One WebSocket and what has arrived on it.
#[derive(Debug)]
pub struct Client {
    socket: WebSocket<TcpStream>,
    response: Response,
    /// Lines of the last message that nobody has taken yet.
    lines: VecDeque<String>,
    /// What arrived while `call` waited for its reply, in order.
    passed_over: VecDeque<Value>,
    last_id: u32,
    id: String,
}

impl Client {
    /// Upgrades `stream`.
    ///
    /// # Errors
    ///
    /// The server refused; the error tells the status.
    pub fn upgrade(stream: TcpStream, path: &str, headers: &[(&str, &str)]) -> Result<Client, Box<Error>> {
        let url = format!("ws://{}{path}", stream.peer_addr().unwrap());
        let mut request = url.into_client_request().unwrap();
        for (name, value) in headers {
            let name: HeaderName = name.parse().unwrap();
            request.headers_mut().append(name, HeaderValue::from_str(value).unwrap());
        }
        let config = WebSocketConfig::default().max_message_size(None).max_frame_size(None);
        match tungstenite::client::client_with_config(request, stream, Some(config)) {
            Ok((socket, response)) => Ok(Client {
                socket,
                response,
                lines: VecDeque::new(),
                passed_over: VecDeque::new(),
                last_id: 0,
                id: String::new(),
            }),
            Err(HandshakeError::Failure(error)) => Err(Box::new(error)),
            Err(HandshakeError::Interrupted(_)) => panic!("no answer to the upgrade in time"),
        }
    }

    /// The response to the upgrade, for its headers.
    pub fn response(&self) -> &Response {
        &self.response
    }

    /// The client id from the connect reply.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The TCP connection, to tear it down or to change its options.
    pub fn stream(&self) -> &TcpStream {
        self.socket.get_ref()
    }

    /// The WebSocket itself, for frames that the methods below do not send.
    pub fn socket(&mut self) -> &mut WebSocket<TcpStream> {
        &mut self.socket
    }

    // Saying something.

    /// Sends one text message as it is.
    #[track_caller]
    pub fn send(&mut self, text: impl Into<String>) {
        self.socket.send(Message::text(text.into())).unwrap();
    }

    /// Sends one binary message as it is.
    #[track_caller]
    pub fn send_binary(&mut self, bytes: impl Into<Vec<u8>>) {
        self.socket.send(Message::binary(bytes.into())).unwrap();
    }

    /// Gives `command` the next id and sends it; returns the id.
    #[track_caller]
    pub fn command(&mut self, mut command: Value) -> u32 {
        self.last_id += 1;
        command["id"] = self.last_id.into();
        self.send(command.to_string());
        self.last_id
    }

    /// Gives `command` the next id, sends it and returns its reply, `{"id":…, …}`. What arrives
    /// before the reply is kept for `receive`.
    #[track_caller]
    pub fn call(&mut self, command: Value) -> Value {
        let id = self.command(command);
        loop {
            let line = self.line();
            if line["id"] == id {
                return line;
            }
            self.passed_over.push_back(line);
        }
    }

    /// Connects and returns the connect result.
    #[track_caller]
    pub fn connect(&mut self, request: Value) -> Value {
        let result = self.succeed("connect", request);
        self.id = result["client"].as_str().unwrap().to_owned();
        result
    }

    /// Subscribes and returns the subscribe result.
    #[track_caller]
    pub fn subscribe(&mut self, channel: &str) -> Value {
        self.succeed("subscribe", json!({ "channel": channel }))
    }

    /// Unsubscribes.
    #[track_caller]
    pub fn unsubscribe(&mut self, channel: &str) {
        let result = self.succeed("unsubscribe", json!({ "channel": channel }));
        assert_eq!(result, json!({}));
    }

    /// Publishes.
    #[track_caller]
    pub fn publish(&mut self, channel: &str, data: Value) {
        let result = self.succeed("publish", json!({ "channel": channel, "data": data }));
        assert_eq!(result, json!({}));
    }

    /// Calls `method` and returns its result.
    #[track_caller]
    pub fn succeed(&mut self, method: &str, request: Value) -> Value {
        let mut reply = self.call(json!({ method: request }));
        assert!(reply[method].is_object(), "{method} got {reply}");
        reply[method].take()
    }

    /// Calls `method` and checks that it gets exactly this error, which is not temporary.
    #[track_caller]
    pub fn fail(&mut self, method: &str, request: Value, code: u16, message: &str) {
        let reply = self.call(json!({ method: request }));
        assert_eq!(reply, json!({ "id": self.last_id, "error": { "code": code, "message": message } }));
    }

    // Hearing something.

    /// The next reply, push or ping (`{}`).
    #[track_caller]
    pub fn receive(&mut self) -> Value {
        match self.passed_over.pop_front() {
            Some(passed_over) => passed_over,
            None => self.line(),
        }
    }

    /// The data of the next publication, which must be in `channel` and be what comes next.
    #[track_caller]
    pub fn next_data(&mut self, channel: &str) -> Value {
        let mut next = self.receive();
        assert_eq!(next["push"]["channel"], channel, "{next}");
        assert!(next["push"]["pub"].is_object(), "{next}");
        next["push"]["pub"]["data"].take()
    }

    /// The text of the next reply, push or ping, as it was written.
    #[track_caller]
    pub fn next_text(&mut self) -> String {
        assert!(self.passed_over.is_empty(), "{:?} came before", self.passed_over);
        while self.lines.is_empty() {
            let text = self.next_frame();
            self.lines = text.split('\n').map(str::to_owned).collect();
        }
        self.lines.pop_front().unwrap()
    }

    /// The next text message whole, with its newlines.
    #[track_caller]
    pub fn next_frame(&mut self) -> String {
        assert!(self.lines.is_empty(), "{:?} came before", self.lines);
        match self.next_message() {
            Message::Text(text) => text.to_string(),
            other => panic!("a text message was to come, not {other:?}"),
        }
    }

    /// The next WebSocket message of any kind.
    #[track_caller]
    pub fn next_message(&mut self) -> Message {
        match self.socket.read() {
            Ok(message) => message,
            Err(Error::Io(error)) if is_timeout(&error) => panic!("nothing came in time"),
            Err(error) => panic!("a message was to come, not: {error}"),
        }
    }

    /// Checks that nothing more comes but a close frame with exactly this code and reason.
    #[track_caller]
    pub fn expect_close(&mut self, code: u16, reason: &str) {
        assert!(self.passed_over.is_empty(), "{:?} came before", self.passed_over);
        assert!(self.lines.is_empty(), "{:?} came before", self.lines);
        match self.next_message() {
            Message::Close(Some(frame)) => {
                assert_eq!((u16::from(frame.code), frame.reason.as_str()), (code, reason));
            }
            other => panic!("close {code} {reason} was to come, not {other:?}"),
        }
    }

    /// One line from the wire.
    #[track_caller]
    fn line(&mut self) -> Value {
        while self.lines.is_empty() {
            let text = self.next_frame();
            self.lines = text.split('\n').map(str::to_owned).collect();
        }
        let line = self.lines.pop_front().unwrap();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line:?} is no JSON: {error}"))
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}
