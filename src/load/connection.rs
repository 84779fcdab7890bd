//! One connection of the generator, without its socket: from upgrade over greeting to counting.
//!
//! Bytes that the server sent go in through [`Connection::receive`]; what has to be sent comes out as
//! bytes. A whole connection holds no memory beyond this struct: a buffer exists only while a frame
//! is incomplete.
//!
//! Absent on purpose: the socket, the clock and the counters' owner, so that every step is tested
//! on bytes alone.

use super::bare::{HELLO, THANKS};
use super::dialect::Line;
use super::frame;
use super::target;
use super::watch::Watch;
use crate::wire::frame::write_client_frame;
use crate::wire::{Control, OpCode};

pub use super::script::{Handshake, Script};

/// How far a connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// The TCP connect is under way; nothing is sent yet.
    Connecting,
    /// The upgrade request is sent.
    Upgrading,
    /// The greeting is sent and replies are due.
    Greeting,
    /// It connected and joined its rooms.
    Whole,
    /// It was whole, the server ended its subscription, and it asks for the room again.
    Rejoining,
}

impl Stage {
    /// True once it has been whole.
    pub fn is_open(self) -> bool {
        matches!(self, Self::Whole | Self::Rejoining)
    }
}

/// State of one connection.
#[derive(Debug)]
pub struct Connection {
    /// Bytes of an incomplete frame; empty for almost every connection at almost every time.
    pub partial: Box<[u8]>,
    /// Messages received since it became whole; wraps never (4 billion per connection).
    pub messages: u32,
    /// The number of the last message plus one in paced runs; where streams are followed, the offset that
    /// is next. 0 is none.
    last: u32,
    replies_due: u16,
    /// How far it is.
    pub stage: Stage,
}

// A million of these live in the generator beside the server that it measures.
const _: () = assert!(size_of::<Connection>() <= 32);

/// What a worker's connections received since it was last published.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Messages of rooms.
    pub messages: u64,
    /// Pings of either kind: the dialect's own and RFC 6455's.
    pub pings: u64,
    /// Replies with an error to commands after the greeting.
    pub refusals: u64,
    /// Good replies to them.
    pub replies: u64,
    /// Lines that told who joined or left.
    pub comings: u64,
    /// Frames that had such lines.
    pub coming_frames: u64,
    /// Subscriptions that the server ended, each asked for again.
    pub rejoins: u64,
}

impl Connection {
    /// A connection whose TCP connect is under way.
    pub fn new() -> Self {
        Self { partial: Box::default(), messages: 0, last: 0, replies_due: 0, stage: Stage::Connecting }
    }

    /// The offset that is next in its room's stream, where that is followed; 0 if it has none.
    pub fn next_offset(&self) -> u32 {
        self.last
    }

    /// The same connection before it connects once more: it knows where it was.
    pub fn again(&self) -> Self {
        Self { last: self.last, ..Self::new() }
    }

    /// Takes what it can of `bytes` and says how many that were; the caller keeps the rest and brings
    /// it again with what follows. What has to be sent is appended to `out`.
    ///
    /// # Errors
    ///
    /// Why the connection ends, in words that many connections may share, so that they can be counted.
    pub fn receive(
        &mut self,
        bytes: &[u8],
        index: u64,
        script: &Script,
        out: &mut Vec<u8>,
        tally: &mut Tally,
        watch: &mut Watch<'_>,
    ) -> Result<usize, String> {
        let mut taken = 0;
        if self.stage == Stage::Upgrading {
            if script.handshake == Handshake::Hello {
                if bytes.first() != Some(&HELLO) {
                    return Err("the answer is not the bare server's".to_owned());
                }
                taken = 1;
                out.push(THANKS);
                self.stage = Stage::Whole;
            } else {
                let Some(head_bytes) = target::parse_upgrade_response(bytes)? else { return Ok(0) };
                taken = head_bytes;
                self.greet(index, script, out)?;
            }
        }
        while let Some(frame) = frame::decode(&bytes[taken..]).map_err(|error| error.to_string())? {
            taken += frame.frame_bytes;
            match frame.opcode {
                OpCode::Data(_) => {
                    let before = tally.comings;
                    self.text(frame.payload, index, script, out, tally, watch)?;
                    tally.coming_frames += u64::from(tally.comings > before);
                }
                OpCode::Control(Control::Ping) => {
                    tally.pings += 1;
                    write_client_frame(out, frame::PONG, frame.payload, mask(index));
                }
                OpCode::Control(Control::Close) => return Err(close_reason(frame.payload)),
                OpCode::Control(_) => {}
            }
        }
        Ok(taken)
    }

    fn greet(&mut self, index: u64, script: &Script, out: &mut Vec<u8>) -> Result<(), String> {
        let dialect = &script.dialect;
        self.replies_due = dialect.replies_due(script.rooms);
        self.stage = if self.replies_due == 0 { Stage::Whole } else { Stage::Greeting };
        let text = script.greeting(index, self.last)?;
        // Linux acknowledges what a socket receives at once and in the client's own context until the
        // socket has sent data; clients that never did could not be compared with those that did. A
        // pong that nobody asked for says nothing (RFC 6455 §5.5.3).
        let opcode = if text.is_empty() { frame::PONG } else { dialect.opcode };
        write_client_frame(out, opcode, &text, mask(index));
        Ok(())
    }

    fn text(
        &mut self,
        mut text: &[u8],
        index: u64,
        script: &Script,
        out: &mut Vec<u8>,
        tally: &mut Tally,
        watch: &mut Watch<'_>,
    ) -> Result<(), String> {
        let dialect = &script.dialect;
        while !text.is_empty() {
            let line;
            (line, text) = dialect.split_line(text);
            match dialect.classify(line) {
                Line::Message => {
                    self.messages += 1;
                    tally.messages += 1;
                    watch.saw(line, index, &mut self.last);
                }
                Line::Ping => {
                    tally.pings += 1;
                    write_client_frame(out, dialect.opcode, &dialect.pong, mask(tally.pings));
                }
                Line::Reply if self.stage == Stage::Greeting => {
                    watch.joined(line, index, &mut self.last);
                    self.replies_due -= 1;
                    if self.replies_due == 0 {
                        self.stage = Stage::Whole;
                    }
                }
                Line::Reply if self.stage == Stage::Rejoining => {
                    watch.joined(line, index, &mut self.last);
                    self.stage = Stage::Whole;
                }
                Line::Refusal if self.stage == Stage::Greeting => {
                    return Err(format!("the greeting was refused: {}", String::from_utf8_lossy(line)));
                }
                Line::Refusal if self.stage == Stage::Rejoining => {
                    return Err(format!("the room was refused again: {}", String::from_utf8_lossy(line)));
                }
                Line::Refusal => {
                    tally.refusals += 1;
                    watch.replied(line, true, dialect);
                }
                Line::Reply => {
                    tally.replies += 1;
                    watch.replied(line, false, dialect);
                }
                Line::Coming => {
                    tally.comings += 1;
                    watch.came(line);
                }
                // Who does not follow its room's stream could not ask for what it has missed.
                Line::Unsubscribed if !watch.follows() => {
                    return Err(format!("unsubscribed by the server: {}", String::from_utf8_lossy(line)));
                }
                Line::Unsubscribed => {
                    tally.rejoins += 1;
                    write_client_frame(out, dialect.opcode, &script.rejoin(index, self.last), mask(index));
                    self.stage = Stage::Rejoining;
                }
                Line::Other => {}
            }
        }
        Ok(())
    }
}

impl Default for Connection {
    fn default() -> Self {
        Self::new()
    }
}

/// A mask that differs between frames, so that a server has to apply it.
pub fn mask(number: u64) -> [u8; 4] {
    ((number as u32).wrapping_mul(0x9E37_79B9) | 1).to_le_bytes()
}

/// Stands for a close frame without a code. Source: RFC 6455 §7.1.5.
const NO_CODE: u16 = 1005;
/// What reasons begin with that are the server's close frame.
const CLOSED: &str = "closed by the server: ";

fn close_reason(payload: &[u8]) -> String {
    match payload {
        [high, low, reason @ ..] => {
            let code = u16::from_be_bytes([*high, *low]);
            format!("{CLOSED}{code} {}", String::from_utf8_lossy(reason)).trim_end().to_owned()
        }
        _ => format!("{CLOSED}{NO_CODE} (a close frame without a code)"),
    }
}

/// The code of the close frame that `reason`, of [`Connection::receive`], tells of; `None` if it tells of
/// another end. A frame without a code has the one that RFC 6455 §7.1.5 keeps for that.
pub fn close_code(reason: &str) -> Option<u16> {
    reason.strip_prefix(CLOSED)?.split(' ').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::dialect::{Identity, Rooms, built_in};
    use crate::load::target::Target;

    const UPGRADED: &[u8] = b"HTTP/1.1 101 x\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

    fn script(dialect: &str, rooms: Rooms, path: &str) -> Script {
        let target = Target::parse(&format!("ws://127.0.0.1:1{path}")).unwrap();
        Script::new(built_in(dialect).unwrap(), rooms, Identity::Anonymous, &target).unwrap()
    }

    fn text_frame(text: &str) -> Vec<u8> {
        let mut out = Vec::new();
        crate::wire::frame::write_frame(&mut out, frame::TEXT, text.as_bytes());
        out
    }

    /// Feeds `bytes` cut into pieces of `piece` bytes, as `worker` does; gives what was sent.
    fn feed(connection: &mut Connection, bytes: &[u8], piece: usize, tally: &mut Tally) -> Vec<u8> {
        let (script, mut out) = (script("centrifuge", Rooms::Spread(1), "/"), Vec::new());
        for piece in bytes.chunks(piece) {
            let held = [&connection.partial, piece].concat();
            let taken = connection.receive(&held, 0, &script, &mut out, tally, &mut Watch::Count).unwrap();
            connection.partial = held[taken..].into();
        }
        out
    }

    #[test]
    fn a_connection_becomes_whole_and_counts_however_its_bytes_are_cut() {
        let message = r#"{"push":{"channel":"bench-0","pub":{"data":1}}}"#;
        let bytes = [
            UPGRADED.to_vec(),
            text_frame(r#"{"id":1,"connect":{"client":"a","ping":25,"pong":true}}"#),
            text_frame("{\"id\":2,\"subscribe\":{}}\n{}"),
            text_frame(&[message; 3].join("\n")),
        ]
        .concat();
        for piece in 1..=bytes.len() {
            let (mut connection, mut tally) = (Connection::new(), Tally::default());
            connection.stage = Stage::Upgrading;
            let sent = feed(&mut connection, &bytes, piece, &mut tally);
            assert_eq!(connection.stage, Stage::Whole);
            assert_eq!((connection.messages, connection.partial.len()), (3, 0), "pieces of {piece}");
            assert_eq!(tally, Tally { messages: 3, pings: 1, ..Tally::default() });
            assert_eq!(&sent[sent.len() - 8..sent.len() - 6], [0x81, 0x82], "the pong is the last frame");
        }
    }

    #[test]
    fn a_refused_greeting_ends_the_connection_with_the_servers_words() {
        let (mut out, mut tally) = (Vec::new(), Tally::default());
        let mut connection = Connection { stage: Stage::Greeting, replies_due: 2, ..Connection::new() };
        let bytes = text_frame(r#"{"id":2,"error":{"code":103,"message":"permission denied"}}"#);
        let script = script("centrifuge", Rooms::Spread(1), "/");
        let ended =
            connection.receive(&bytes, 0, &script, &mut out, &mut tally, &mut Watch::Count).unwrap_err();
        assert!(ended.contains("permission denied"));
    }

    #[test]
    fn a_raw_connection_is_whole_once_it_joined_and_each_frame_is_a_message() {
        let (mut out, mut tally) = (Vec::new(), Tally::default());
        let mut connection = Connection { stage: Stage::Upgrading, ..Connection::new() };
        let bytes = [UPGRADED, &text_frame("joined"), &text_frame("a\nb"), &text_frame("{}")].concat();
        let script = script("raw", Rooms::Spread(1), "/");
        assert_eq!(
            connection.receive(&bytes, 0, &script, &mut out, &mut tally, &mut Watch::Count),
            Ok(bytes.len())
        );
        assert_eq!((connection.stage, tally.messages), (Stage::Whole, 2));
        assert_eq!(out.len(), 2 + 4 + "join 0".len(), "one frame, masked");
    }

    #[test]
    fn a_connection_whose_room_is_in_the_path_is_whole_at_once_and_says_a_pong() {
        let (mut out, mut tally) = (Vec::new(), Tally::default());
        let script = script("nchan", Rooms::Spread(3), "/pubsub/{room}");
        script.upgrade_request(7, &mut out);
        assert!(out.starts_with(b"GET /pubsub/1 HTTP/1.1\r\nHost: 127.0.0.1:1\r\n"));
        out.clear();
        let mut connection = Connection { stage: Stage::Upgrading, ..Connection::new() };
        connection.receive(UPGRADED, 7, &script, &mut out, &mut tally, &mut Watch::Count).unwrap();
        assert_eq!((connection.stage, &out[..2], out.len()), (Stage::Whole, &[0x8A, 0x80][..], 6));
    }

    #[test]
    fn a_frame_of_several_protocol_messages_is_taken_line_by_line() {
        let (mut out, mut tally) = (Vec::new(), Tally::default());
        let script = script("nats", Rooms::Each(2), "/");
        let mut connection = Connection { stage: Stage::Greeting, replies_due: 1, ..Connection::new() };
        let message = "MSG bench.0 2 22\r\n{\"seq\":\"0000000042xx\"}\r\n";
        let bytes = text_frame(&["PONG\r\n", message, message, "PING\r\n"].concat());
        connection.receive(&bytes, 0, &script, &mut out, &mut tally, &mut Watch::Count).unwrap();
        assert_eq!((connection.stage, connection.messages), (Stage::Whole, 2));
        assert_eq!(tally, Tally { messages: 2, pings: 1, ..Tally::default() });
        assert_eq!((&out[..2], out.len()), (&[0x82, 0x86][..], 2 + 4 + "PONG\r\n".len()));
    }

    #[test]
    fn a_bare_connection_is_whole_at_the_hello_and_counts_the_same_frames() {
        let (mut out, mut tally) = (Vec::new(), Tally::default());
        let script = Script::bare(Handshake::Hello, built_in("centrifuge").unwrap());
        let mut connection = Connection { stage: Stage::Upgrading, ..Connection::new() };
        let message = text_frame(r#"{"push":{"channel":"bench-0","pub":{"data":1}}}"#);
        let bytes = [&[HELLO], &message[..]].concat();
        let taken = connection.receive(&bytes, 0, &script, &mut out, &mut tally, &mut Watch::Count);
        assert_eq!(taken, Ok(bytes.len()));
        assert_eq!((connection.stage, tally.messages, out.as_slice()), (Stage::Whole, 1, &[THANKS][..]));
        connection.stage = Stage::Upgrading;
        let refused = connection.receive(b"HTTP/1.1", 0, &script, &mut out, &mut tally, &mut Watch::Count);
        assert!(refused.unwrap_err().contains("bare"));
    }

    #[test]
    fn a_native_ping_is_answered_with_its_payload_and_a_close_gives_its_code() {
        let (mut out, mut tally) = (Vec::new(), Tally::default());
        let script = script("raw", Rooms::Spread(1), "/");
        let mut connection = Connection { stage: Stage::Whole, ..Connection::new() };
        connection
            .receive(&[0x89, 2, b'h', b'i'], 0, &script, &mut out, &mut tally, &mut Watch::Count)
            .unwrap();
        assert_eq!((out[0], out[1], out.len(), tally.pings), (0x8A, 0x82, 8, 1));
        let close = [0x88, 6, 0x0B, 0xC0, b's', b'l', b'o', b'w'];
        let ended = connection.receive(&close, 0, &script, &mut out, &mut tally, &mut Watch::Count);
        assert_eq!(ended, Err("closed by the server: 3008 slow".to_owned()));
    }

    #[test]
    fn a_close_frame_is_told_from_every_other_end() {
        assert_eq!(close_code(&close_reason(&[0x0B, 0xB9, b'b', b'y'])), Some(3001));
        assert_eq!(close_code(&close_reason(&[])), Some(NO_CODE));
        assert_eq!(close_code("closed by the server without a close frame"), None);
        assert_eq!(close_code("read: ECONNRESET"), None);
    }
}
