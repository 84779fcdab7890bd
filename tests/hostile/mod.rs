//! A peer that means harm: it sends bytes as they are and reads frames as they come.
//!
//! Beside it every test keeps a client that behaves (`Neighbour`): whatever the hostile one does, the
//! neighbour must be served by the same shard.
//!
//! Absent on purpose: checks of what is sent. `common::Client` could not say any of this.

pub mod process;

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};

use serde_json::json;
use throng::wire::{OpCode, frame};

use crate::common::{Client, Server};

/// An upgrade request that is served.
pub const UPGRADE: &str = "GET /connection/websocket HTTP/1.1\r\nHost: throng\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// FIN and the text opcode.
pub const TEXT: u8 = 0x81;
/// FIN and the ping opcode.
pub const PING: u8 = 0x89;
/// FIN and the close opcode.
pub const CLOSE: u8 = 0x88;

/// A frame as a client sends it, with any first byte.
pub fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [0x1f, 0x2e, 0x3d, 0x4c];
    let mut frame = header(first, payload.len());
    frame.extend_from_slice(&mask);
    frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

/// The first bytes of a client's frame, up to its mask.
pub fn header(first: u8, payload_bytes: usize) -> Vec<u8> {
    match payload_bytes {
        0..126 => vec![first, 0x80 | payload_bytes as u8],
        126..65_536 => [&[first, 0xfe][..], &(payload_bytes as u16).to_be_bytes()].concat(),
        _ => [&[first, 0xff][..], &(payload_bytes as u64).to_be_bytes()].concat(),
    }
}

/// A text frame.
pub fn text(payload: &str) -> Vec<u8> {
    masked(TEXT, payload.as_bytes())
}

/// A close frame with a code.
pub fn close(code: u16) -> Vec<u8> {
    masked(CLOSE, &code.to_be_bytes())
}

/// One raw WebSocket.
#[derive(Debug)]
pub struct Raw {
    stream: TcpStream,
    /// What was read and not yet taken.
    read: Vec<u8>,
}

impl Raw {
    /// A TCP connection on which nothing was said yet.
    pub fn dial(server: &Server) -> Raw {
        Raw { stream: server.tcp(), read: Vec::new() }
    }

    /// The same over a stream with options of its own.
    pub fn over(stream: TcpStream) -> Raw {
        Raw { stream, read: Vec::new() }
    }

    /// A connection that was upgraded.
    #[track_caller]
    pub fn upgraded(server: &Server) -> Raw {
        let mut raw = Raw::dial(server);
        raw.send(UPGRADE);
        raw.expect_101();
        raw
    }

    /// A connection that was upgraded and has connected as the anonymous user.
    #[track_caller]
    pub fn connected(server: &Server) -> Raw {
        let mut raw = Raw::dial(server);
        raw.connect();
        raw
    }

    /// Upgrades and connects as the anonymous user.
    #[track_caller]
    pub fn connect(&mut self) {
        self.send(UPGRADE);
        self.expect_101();
        self.send(text(r#"{"id":1,"connect":{}}"#));
        assert!(self.reply().starts_with(r#"{"id":1,"connect":{"#));
    }

    /// The TCP connection.
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Sends bytes as they are.
    #[track_caller]
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).unwrap();
    }

    /// Sends until the server takes no more, because it has closed; returns whether all was sent.
    pub fn try_send(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).is_ok()
    }

    /// Sends bytes and shuts our side, in this order and with nothing in between.
    #[track_caller]
    pub fn send_last(&mut self, bytes: impl AsRef<[u8]>) {
        self.send(bytes);
        self.stream.shutdown(Shutdown::Write).unwrap();
    }

    /// Tears the connection down with a reset.
    pub fn reset(self) {
        socket2::SockRef::from(&self.stream).set_linger(Some(std::time::Duration::ZERO)).unwrap();
    }

    /// Takes the answer to an upgrade request that must have succeeded.
    #[track_caller]
    pub fn expect_101(&mut self) {
        let end = loop {
            if let Some(end) = self.read.windows(4).position(|window| window == b"\r\n\r\n") {
                break end + 4;
            }
            assert!(self.more(), "{}", String::from_utf8_lossy(&self.read));
        };
        let head: Vec<u8> = self.read.drain(..end).collect();
        assert!(head.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&head));
    }

    /// The next frame: its opcode and payload; `None` when the server has closed.
    #[track_caller]
    pub fn next_frame(&mut self) -> Option<(u8, Vec<u8>)> {
        loop {
            if let Some(header) = frame::parse_server_header(&self.read).expect("the server breaks RFC 6455")
            {
                let end = header.header_bytes + header.payload_bytes as usize;
                if self.read.len() >= end {
                    assert!(header.fin, "the server sends no fragments");
                    let payload = self.read[header.header_bytes..end].to_vec();
                    self.read.drain(..end);
                    return Some((opcode(header.opcode), payload));
                }
            }
            if !self.more() {
                assert!(self.read.is_empty(), "the server closed inside a frame");
                return None;
            }
        }
    }

    /// The next frame, which must be text.
    #[track_caller]
    pub fn reply(&mut self) -> String {
        match self.next_frame() {
            Some((1, payload)) => String::from_utf8(payload).expect("text is UTF-8"),
            other => panic!("a text frame was to come, not {other:?}"),
        }
    }

    /// Checks that the next frame closes with `code` and that the server then closes; returns the
    /// reason.
    #[track_caller]
    pub fn expect_close(&mut self, code: u16) -> String {
        let Some((8, payload)) = self.next_frame() else { panic!("close {code} was to come") };
        let (sent, reason) = payload.split_first_chunk().expect("a code");
        assert_eq!(u16::from_be_bytes(*sent), code, "{}", String::from_utf8_lossy(reason));
        String::from_utf8(reason.to_vec()).expect("a reason is UTF-8")
    }

    /// Checks that nothing more comes and the server closes in an orderly way.
    #[track_caller]
    pub fn expect_end(&mut self) {
        assert_eq!(self.next_frame(), None);
    }

    /// Reads some more; `false` at the end, which a reset is as well.
    #[track_caller]
    fn more(&mut self) -> bool {
        let mut buffer = [0; 16 * 1024];
        match self.stream.read(&mut buffer) {
            Ok(count) => {
                self.read.extend_from_slice(&buffer[..count]);
                count > 0
            }
            Err(error) if error.kind() == ErrorKind::ConnectionReset => false,
            Err(error) => panic!("nothing came in time: {error}"),
        }
    }
}

fn opcode(opcode: OpCode) -> u8 {
    opcode.into()
}

/// A client that behaves, in a room of its own.
#[derive(Debug)]
pub struct Neighbour {
    client: Client,
    said: u64,
}

impl Neighbour {
    /// A client of `server` that is a member of a room.
    pub fn of(server: &Server) -> Neighbour {
        let mut client = server.client();
        client.subscribe("neighbours");
        Neighbour { client, said: 0 }
    }

    /// Checks that the client is served: what it publishes comes back.
    #[track_caller]
    pub fn is_served(&mut self) {
        self.said += 1;
        self.client.publish("neighbours", json!(self.said));
        assert_eq!(self.client.next_data("neighbours"), json!(self.said));
    }
}
