//! A client that can break every rule: it writes frames bit by bit and reads what comes back.
//!
//! Every read has a deadline far above what a loaded machine needs, so that a server that says
//! nothing fails a test instead of holding it up for ever.

use std::io::{BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

pub const CONTINUATION: u8 = 0x0;
pub const TEXT: u8 = 0x1;
pub const BINARY: u8 = 0x2;
pub const CLOSE: u8 = 0x8;
pub const PING: u8 = 0x9;
pub const PONG: u8 = 0xa;

/// Payload bytes of one message; more than any case sends.
const PAYLOAD_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// The mask of every frame. A client's mask should be random; that it is not changes nothing here.
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// What a server sent.
#[derive(Debug, PartialEq, Eq)]
pub enum Seen {
    Text(String),
    Binary(Vec<u8>),
    Pong(Vec<u8>),
    /// A close frame's code; `None` when the frame was empty.
    Close(Option<u16>),
    /// The TCP connection ended in order.
    End,
}

/// A message that came back as text.
pub fn text(payload: &str) -> Seen {
    Seen::Text(payload.to_owned())
}

/// The first byte of a frame.
pub fn first(fin: bool, reserved: u8, opcode: u8) -> u8 {
    u8::from(fin) << 7 | reserved << 4 | opcode
}

/// A masked frame with `first` as its first byte and its length in the shortest form.
pub fn frame_of(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match payload.len() {
        length @ 0..=125 => bytes.push(0x80 | length as u8),
        length @ 126..=0xffff => {
            bytes.push(0x80 | 126);
            bytes.extend((length as u16).to_be_bytes());
        }
        length => {
            bytes.push(0x80 | 127);
            bytes.extend((length as u64).to_be_bytes());
        }
    }
    bytes.extend(MASK);
    bytes.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

/// A masked frame that is a whole message, or a control frame.
pub fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    frame_of(first(true, 0, opcode), payload)
}

/// A masked frame of which more is to come.
pub fn part(opcode: u8, payload: &[u8]) -> Vec<u8> {
    frame_of(first(false, 0, opcode), payload)
}

/// A close frame with `code`.
pub fn close(code: u16) -> Vec<u8> {
    frame(CLOSE, &code.to_be_bytes())
}

/// A message in frames of `part_bytes` each.
pub fn in_parts(opcode: u8, payload: &[u8], part_bytes: usize) -> Vec<u8> {
    let last = payload.len().div_ceil(part_bytes) - 1;
    let frames = payload.chunks(part_bytes).enumerate().map(|(index, chunk)| {
        let opcode = if index == 0 { opcode } else { CONTINUATION };
        frame_of(first(index == last, 0, opcode), chunk)
    });
    frames.flatten().collect()
}

/// An upgraded connection, seen from the client.
pub struct Peer {
    socket: TcpStream,
    reader: BufReader<TcpStream>,
}

impl Peer {
    /// Connects and upgrades, with the key and the answer of RFC 6455 §1.3.
    pub fn connect(address: SocketAddr) -> Peer {
        let mut socket = TcpStream::connect(address).unwrap();
        socket.set_nodelay(true).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        write!(
            socket,
            "GET / HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        .unwrap();
        let mut reader = BufReader::new(socket.try_clone().unwrap());
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            reader.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        let head = String::from_utf8(head).unwrap().to_lowercase();
        assert!(head.starts_with("http/1.1 101 "), "{head}");
        assert!(head.contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo="), "{head}");
        Peer { socket, reader }
    }

    /// Sends bytes as they are.
    pub fn send(&mut self, bytes: &[u8]) {
        match self.socket.write_all(bytes) {
            Ok(()) => {}
            // A server that has closed already need not take what was on its way.
            Err(error) if [ErrorKind::BrokenPipe, ErrorKind::ConnectionReset].contains(&error.kind()) => {}
            Err(error) => panic!("{error}"),
        }
    }

    /// Sends bytes in pieces of `size`, each in a write of its own.
    pub fn send_chopped(&mut self, bytes: &[u8], size: usize) {
        bytes.chunks(size).for_each(|piece| self.send(piece));
    }

    /// What the server sends next: whole messages, each in one unmasked frame.
    pub fn next(&mut self) -> Seen {
        let mut header = [0; 2];
        match self.reader.read_exact(&mut header) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Seen::End,
            Err(error) => panic!("waiting for the server: {error}"),
        }
        assert_eq!(header[0] & 0xf0, 0x80, "one frame with FIN and without reserved bits");
        let length = match header[1] {
            126 => u64::from(u16::from_be_bytes(self.read())),
            127 => u64::from_be_bytes(self.read()),
            length => u64::from(length),
        };
        assert!(header[1] & 0x80 == 0 && length <= PAYLOAD_BYTES_MAX, "unmasked, and no longer than sent");
        let mut payload = vec![0; length as usize];
        self.reader.read_exact(&mut payload).unwrap();
        match header[0] & 0x0f {
            TEXT => Seen::Text(String::from_utf8(payload).unwrap()),
            BINARY => Seen::Binary(payload),
            PONG => Seen::Pong(payload),
            CLOSE => Seen::Close(payload.first_chunk().map(|code| u16::from_be_bytes(*code))),
            opcode => panic!("the server sent opcode {opcode:#x}"),
        }
    }

    fn read<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.reader.read_exact(&mut bytes).unwrap();
        bytes
    }

    /// Sends a close frame with 1000 and waits for the answer and the end.
    pub fn leave(mut self) {
        self.send(&close(1000));
        assert_eq!(self.next(), Seen::Close(Some(1000)));
        assert_eq!(self.next(), Seen::End);
    }

    /// The server closes with `code`, says nothing more, and ends once its close is answered.
    pub fn must_fail_with(mut self, code: u16) {
        assert_eq!(self.next(), Seen::Close(Some(code)));
        self.send(&close(code));
        // Whoever sends nothing more may say so: a server that waits for more is then told.
        let _ = self.socket.shutdown(Shutdown::Write);
        assert_eq!(self.next(), Seen::End);
    }
}
