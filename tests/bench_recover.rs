//! Whether `throng bench recover` tells the truth: a server that gives back everything passes, and one that
//! loses, repeats or forgets a single message is found out and named.
//!
//! The server is a stub of a few lines with one room, so that it can be wrong on purpose.

use std::io::Write as _;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use throng::wire::frame::write_frame;
use throng::wire::{Data, OpCode};
use tungstenite::Message;

/// What the stub does wrong to the third client that comes back.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fault {
    Nothing,
    LosesOne,
    SwapsTwo,
    AnotherEpoch,
    RecoversNobody,
    SkipsALiveMessage,
    KeepsNothing,
}

struct Room {
    fault: Fault,
    items: Vec<Value>,
    members: Vec<TcpStream>,
    back: usize,
}

impl Room {
    /// Publishes, and tells the members that are still there.
    fn publish(&mut self, data: &Value) {
        self.items.push(json!({"data": data, "offset": self.items.len() + 1}));
        let publication = self.items.last().unwrap().clone();
        let skipped =
            if self.fault == Fault::SkipsALiveMessage && self.back > 0 { self.members.len() } else { 0 };
        for (nth, member) in self.members.iter_mut().enumerate() {
            if nth + 1 != skipped {
                send(member, &push(&publication));
            }
        }
    }

    fn subscribe(&mut self, request: &Value) -> Value {
        if self.fault == Fault::KeepsNothing {
            return json!({});
        }
        let (top, is_back) = (self.items.len(), request["recover"] == true);
        if !is_back {
            return json!({"recoverable": true, "epoch": "abc", "offset": top});
        }
        self.back += 1;
        let is_third = self.back == 3;
        let offset = request["offset"].as_u64().unwrap_or(0) as usize;
        let mut publications = self.items[offset..].to_vec();
        let epoch = if is_third && self.fault == Fault::AnotherEpoch { "abd" } else { "abc" };
        match self.fault {
            Fault::LosesOne if is_third => drop(publications.remove(1)),
            Fault::SwapsTwo if is_third => publications.swap(0, 1),
            Fault::RecoversNobody => {
                return json!({"recoverable": true, "epoch": epoch, "offset": top, "was_recovering": true});
            }
            _ => {}
        }
        json!({"recoverable": true, "epoch": epoch, "offset": offset, "recovered": true,
               "was_recovering": true, "publications": publications})
    }
}

/// The push as a server of this protocol writes it: the generator knows it by its first bytes.
fn push(publication: &Value) -> String {
    format!(r#"{{"push":{{"channel":"bench-0","pub":{publication}}}}}"#)
}

/// A reply as a server of this protocol writes it, its id first.
fn reply(id: &Value, method: &str, result: &Value) -> String {
    format!(r#"{{"id":{id},"{method}":{result}}}"#)
}

fn send(stream: &mut TcpStream, text: &str) {
    let mut frame = Vec::new();
    write_frame(&mut frame, OpCode::Data(Data::Text), text.as_bytes());
    // A client that has dropped gets nothing, as it should.
    let _ = stream.write_all(&frame);
}

fn serve(stream: TcpStream, room: &Mutex<Room>) {
    let mut out = stream.try_clone().unwrap();
    let Ok(mut socket) = tungstenite::accept(stream) else { return };
    while let Ok(message) = socket.read() {
        let Message::Text(text) = message else { continue };
        let mut room = room.lock().unwrap();
        for line in text.lines().filter(|line| !line.is_empty()) {
            let command: Value = serde_json::from_str(line).unwrap();
            let id = &command["id"];
            if command["connect"].is_object() {
                send(&mut out, &reply(id, "connect", &json!({"client": "c"})));
            } else if command["subscribe"].is_object() {
                let result = room.subscribe(&command["subscribe"]);
                send(&mut out, &reply(id, "subscribe", &result));
                room.members.push(out.try_clone().unwrap());
            } else {
                room.publish(&command["publish"]["data"]);
                send(&mut out, &reply(id, "publish", &json!({})));
            }
        }
    }
}

fn stub(fault: Fault) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let room = Arc::new(Mutex::new(Room { fault, items: Vec::new(), members: Vec::new(), back: 0 }));
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let room = Arc::clone(&room);
            std::thread::spawn(move || serve(stream.unwrap(), &room));
        }
    });
    address
}

/// Runs `throng bench recover` against a stub with `fault`: its code, its table and what it says on stderr.
fn recover(fault: Fault) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_throng"));
    command.args(["bench", "recover", "--connections", "8", "--missed", "4", "--payload-bytes", "50"]);
    let output = command.args(["--target", &format!("ws://{}/", stub(fault))]).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn a_server_that_gives_back_everything_is_whole() {
    let (code, table, stderr) = recover(Fault::Nothing);
    assert_eq!(code, Some(0), "{table}{stderr}");
    let row =
        |what: &str| table.lines().find(|line| line.starts_with(what)).unwrap().rsplit(' ').next().unwrap();
    assert_eq!(row("clients given exactly what they missed"), "8");
    assert_eq!(row("publications they were given"), "32");
    assert_eq!((row("live messages, before and after"), row("live messages missing")), ("16", "0"));
}

#[test]
fn every_way_to_lose_a_message_is_found_out_and_named() {
    for (fault, said) in [
        (
            Fault::LosesOne,
            "7 of them were given exactly what they missed\n  1 × recovered with 3 publications of the 4 that were missed\n",
        ),
        (Fault::SwapsTwo, "1 × recovered with a hole or out of order"),
        (Fault::AnotherEpoch, "1 × not recovered: the room has another epoch"),
        (
            Fault::RecoversNobody,
            "0 of them were given exactly what they missed\n  8 × not recovered: the server no longer",
        ),
        (Fault::SkipsALiveMessage, "15 live messages came of 16"),
        (Fault::KeepsNothing, "8 × the server says that this room keeps no history"),
    ] {
        let (code, table, stderr) = recover(fault);
        assert_eq!(code, Some(1), "{fault:?}: {table}{stderr}");
        assert!(stderr.contains(said), "{fault:?}: {table}{stderr}");
    }
}
