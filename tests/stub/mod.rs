//! A server of a few lines for the tests of `throng bench`, so that it can be wrong on purpose, and the bench as its
//! user runs it.

use std::io::Write as _;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use throng::wire::frame::write_frame;
use throng::wire::{Data, OpCode};
use tungstenite::Message;

/// Runs `throng bench ARGUMENTS --json FILE`: its code, the report that it wrote (null if none) and its stderr.
pub fn bench(name: &str, arguments: &str) -> (Option<i32>, Value, String) {
    let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{}-{name}.json", std::process::id()));
    let mut command = Command::new(env!("CARGO_BIN_EXE_throng"));
    command.arg("bench").args(arguments.split_whitespace()).arg("--json").arg(&file);
    let output = command.env("THRONG_LOG", "error").output().unwrap();
    let report = std::fs::read_to_string(&file).unwrap_or_default();
    drop(std::fs::remove_file(file));
    let stderr = String::from_utf8(output.stderr).unwrap();
    (output.status.code(), serde_json::from_str(&report).unwrap_or_default(), stderr)
}

/// What a stub does with one command of a client, whose socket is given for what it wants to say.
pub trait Stub: Send + 'static {
    /// Answers `command` of the connection with that number.
    fn command(&mut self, connection: u64, out: &mut TcpStream, command: &Value);
}

/// Lets `stub` answer on a port of its own.
pub fn listen(stub: impl Stub) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let stub = Arc::new(Mutex::new(stub));
    std::thread::spawn(move || {
        for (connection, stream) in (0..).zip(listener.incoming()) {
            let stub = Arc::clone(&stub);
            std::thread::spawn(move || serve(connection, stream.unwrap(), &stub));
        }
    });
    address
}

fn serve(connection: u64, stream: TcpStream, stub: &Mutex<impl Stub>) {
    let mut out = stream.try_clone().unwrap();
    let Ok(mut socket) = tungstenite::accept(stream) else { return };
    while let Ok(message) = socket.read() {
        let Message::Text(text) = message else { continue };
        let mut stub = stub.lock().unwrap();
        for line in text.lines().filter(|line| !line.is_empty()) {
            let command: Value = serde_json::from_str(line).unwrap();
            if command["connect"].is_object() {
                let client = json!({"client": connection.to_string()});
                send(&mut out, &reply(&command["id"], "connect", &client));
            } else {
                stub.command(connection, &mut out, &command);
            }
        }
    }
}

/// A reply as a server of this protocol writes it, its id first.
pub fn reply(id: &Value, method: &str, result: &Value) -> String {
    format!(r#"{{"id":{id},"{method}":{result}}}"#)
}

/// Sends one text frame; a client that has gone gets nothing, as it should.
pub fn send(stream: &mut TcpStream, text: &str) {
    let mut frame = Vec::new();
    write_frame(&mut frame, OpCode::Data(Data::Text), text.as_bytes());
    drop(stream.write_all(&frame));
}

/// Sends a close frame with `code`.
pub fn close(stream: &mut TcpStream, code: u16) {
    let [high, low] = code.to_be_bytes();
    drop(stream.write_all(&[0x88, 2, high, low]));
}
