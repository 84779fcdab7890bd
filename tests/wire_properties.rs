//! Properties of `wire` and `conn::inbound` over arbitrary bytes, frames and splits.

use std::ops::Range;

use proptest::collection::vec;
use proptest::prelude::*;
use throng::conn::{Event, Inbound};
use throng::wire::utf8::Utf8Stream;
use throng::wire::{Control, Data, OpCode, frame, mask, origin, upgrade};

/// Longest message that the decoders under test take.
const MESSAGE_BYTES_MAX: usize = 300;

/// An event or error that outlives the bytes it was decoded from.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Seen {
    Message { text: bool, payload: Vec<u8> },
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close { code: Option<u16>, reason: String },
    Error(u16),
}

impl From<Event<'_>> for Seen {
    fn from(event: Event<'_>) -> Self {
        match event {
            Event::Message { text, payload } => Self::Message { text, payload: payload.to_vec() },
            Event::Ping(payload) => Self::Ping(payload.to_vec()),
            Event::Pong(payload) => Self::Pong(payload.to_vec()),
            Event::Close { code, reason } => Self::Close { code, reason: reason.to_owned() },
        }
    }
}

/// Decodes `bytes` in reads that end at `cuts` until the end or the first error.
fn decode(bytes: &[u8], cuts: &[usize]) -> Vec<Seen> {
    let mut inbound = Inbound::default();
    let mut seen = Vec::new();
    for range in pieces(bytes.len(), cuts) {
        let mut read = bytes[range].to_vec();
        let (mut at, read_bytes) = (0, read.len());
        while at < read_bytes {
            match inbound.next(&mut read[at..], MESSAGE_BYTES_MAX) {
                Ok((used, event)) => {
                    at += used;
                    assert!(event.is_some() || at == read_bytes, "no event, and yet bytes are left");
                    seen.extend(event.map(Seen::from));
                }
                Err(error) => {
                    seen.push(Seen::Error(error.close_code()));
                    return seen;
                }
            }
        }
        inbound.settle();
    }
    seen
}

/// The ranges between sorted cuts, which are taken modulo the length.
fn pieces(length: usize, cuts: &[usize]) -> Vec<Range<usize>> {
    let mut edges: Vec<usize> = cuts.iter().map(|cut| cut % (length + 1)).collect();
    edges.extend([0, length]);
    edges.sort_unstable();
    edges.windows(2).map(|pair| pair[0]..pair[1]).collect()
}

/// What a client does: a message in fragments with control frames between them, or a control frame.
#[derive(Debug, Clone)]
enum Action {
    Message { text: Option<String>, binary: Vec<u8>, cuts: Vec<usize>, pings: Vec<Vec<u8>> },
    Pong(Vec<u8>),
    Close(u16, String),
}

fn actions() -> impl Strategy<Value = Vec<Action>> {
    let control = || vec(any::<u8>(), 0..126);
    let payload = vec(any::<u8>(), 0..MESSAGE_BYTES_MAX);
    // At most 70 characters of 4 bytes: below the limit.
    let text = proptest::option::of(vec(any::<char>(), 0..70).prop_map(String::from_iter));
    let message = (text, payload, vec(any::<usize>(), 0..4), vec(control(), 0..3))
        .prop_map(|(text, binary, cuts, pings)| Action::Message { text, binary, cuts, pings });
    let close = ((3000..5000_u16), "[a-zäß€]{0,40}").prop_map(|(code, reason)| Action::Close(code, reason));
    vec(prop_oneof![4 => message, 1 => control().prop_map(Action::Pong), 1 => close], 1..6)
}

/// The bytes of `actions` and the events that they must give.
fn encode(actions: &[Action], mask: [u8; 4]) -> (Vec<u8>, Vec<Seen>) {
    let (mut out, mut expected) = (Vec::new(), Vec::new());
    for action in actions {
        match action {
            Action::Message { text, binary, cuts, pings } => {
                let payload = text.as_ref().map_or(binary.as_slice(), String::as_bytes);
                let fragments = pieces(payload.len(), cuts);
                let last = fragments.len() - 1;
                let mut pings = pings.iter();
                for (index, range) in fragments.into_iter().enumerate() {
                    let opcode = match (index, text) {
                        (0, Some(_)) => Data::Text,
                        (0, None) => Data::Binary,
                        _ => Data::Continue,
                    };
                    let start = out.len();
                    frame::write_client_frame(&mut out, OpCode::Data(opcode), &payload[range], mask);
                    if index < last {
                        out[start] &= 0x7f;
                        if let Some(ping) = pings.next() {
                            frame::write_client_frame(&mut out, OpCode::Control(Control::Ping), ping, mask);
                            expected.push(Seen::Ping(ping.clone()));
                        }
                    }
                }
                expected.push(Seen::Message { text: text.is_some(), payload: payload.to_vec() });
            }
            Action::Pong(payload) => {
                frame::write_client_frame(&mut out, OpCode::Control(Control::Pong), payload, mask);
                expected.push(Seen::Pong(payload.clone()));
            }
            Action::Close(code, reason) => {
                let payload = [&code.to_be_bytes(), reason.as_bytes()].concat();
                frame::write_client_frame(&mut out, OpCode::Control(Control::Close), &payload, mask);
                expected.push(Seen::Close { code: Some(*code), reason: reason.clone() });
            }
        }
    }
    (out, expected)
}

/// Whether no continuation can make `prefix` valid text.
fn is_hopeless(prefix: &[u8]) -> bool {
    std::str::from_utf8(prefix).is_err_and(|error| error.error_len().is_some())
}

proptest! {
    #[test]
    fn frames_decode_to_what_was_sent_however_the_stream_is_split(
        actions in actions(),
        mask: [u8; 4],
        cuts in vec(any::<usize>(), 0..12),
    ) {
        let (bytes, expected) = encode(&actions, mask);
        prop_assert_eq!(&decode(&bytes, &cuts), &expected);
        let everywhere: Vec<usize> = (0..bytes.len()).collect();
        prop_assert_eq!(&decode(&bytes, &everywhere), &expected);
    }

    #[test]
    fn a_damaged_stream_gives_the_same_events_and_error_under_any_split(
        actions in actions(),
        damage in vec((any::<usize>(), any::<u8>()), 1..4),
        cuts in vec(any::<usize>(), 0..12),
    ) {
        let (mut bytes, _) = encode(&actions, [9, 8, 7, 6]);
        for (at, value) in damage {
            let at = at % bytes.len();
            bytes[at] = value;
        }
        prop_assert_eq!(decode(&bytes, &cuts), decode(&bytes, &[]));
    }

    #[test]
    fn arbitrary_bytes_panic_nowhere(bytes in vec(any::<u8>(), 0..400), cuts in vec(any::<usize>(), 0..6)) {
        prop_assert_eq!(decode(&bytes, &cuts), decode(&bytes, &[]));
        if let Ok(Some(header)) = frame::parse_server_header(&bytes) {
            prop_assert!(header.header_bytes <= bytes.len());
        }
        if let Ok(Some((_, head_bytes))) = upgrade::parse(&bytes) {
            prop_assert!(head_bytes <= bytes.len());
        }
    }

    #[test]
    fn requests_of_arbitrary_lines_panic_nowhere_and_refuse_the_same_when_split(
        target in "[/a-z?=&:%]{1,12}",
        lines in vec("(Host|Upgrade|Connection|Origin|Sec-WebSocket-[A-Z][a-z]{2,8}): ?[ -~]{0,30}", 0..8),
        cut in any::<usize>(),
    ) {
        let text = format!("GET {target} HTTP/1.1\r\n{}\r\n\r\n", lines.join("\r\n"));
        let whole = upgrade::parse(text.as_bytes());
        match upgrade::parse(&text.as_bytes()[..cut % text.len()]) {
            Ok(early) => prop_assert_eq!(early, None),
            Err(early) => prop_assert_eq!(Err(early), whole),
        }
        if let Ok(Some((request, _))) = whole {
            prop_assert!(request.path.starts_with('/'));
            prop_assert!(request.protocols().all(|name| !name.is_empty()));
        }
    }

    #[test]
    fn masking_twice_in_any_pieces_gives_the_payload_back(
        payload in vec(any::<u8>(), 0..200),
        mask: [u8; 4],
        cuts in vec(any::<usize>(), 0..5),
    ) {
        let mut masked = payload.clone();
        mask::apply(&mut masked, mask, 0);
        for range in pieces(payload.len(), &cuts) {
            let offset_bytes = range.start;
            mask::apply(&mut masked[range], mask, offset_bytes);
        }
        prop_assert_eq!(masked, payload);
    }

    #[test]
    fn streamed_text_is_judged_as_std_judges_every_prefix(
        text in any::<String>(),
        damage in proptest::option::of((any::<usize>(), any::<u8>())),
        cuts in vec(any::<usize>(), 0..5),
    ) {
        let mut bytes = text.into_bytes();
        if let Some((at, value)) = damage {
            let at = at % (bytes.len() + 1);
            bytes.insert(at, value);
        }
        let mut stream = Utf8Stream::default();
        for range in pieces(bytes.len(), &cuts) {
            let so_far = &bytes[..range.end];
            let verdict = stream.push(&bytes[range]);
            prop_assert_eq!(verdict.is_err(), is_hopeless(so_far));
            if verdict.is_err() {
                return Ok(());
            }
            prop_assert_eq!(stream.finish().is_ok(), std::str::from_utf8(so_far).is_ok());
        }
    }

    #[test]
    fn origins_match_their_own_patterns_and_arbitrary_ones_panic_nowhere(
        host in "[a-z]{1,8}(\\.[a-z]{1,8}){0,2}",
        junk in any::<String>(),
    ) {
        let origin = format!("https://{host}");
        prop_assert!(origin::origin_allowed(&origin, std::slice::from_ref(&origin)));
        prop_assert!(origin::origin_allowed(&origin, std::slice::from_ref(&host)));
        let (wild, longer) = (format!("https://*{}", &host[1..]), format!("{host}x"));
        prop_assert!(origin::origin_allowed(&origin, &[wild]));
        prop_assert!(!origin::origin_allowed(&origin, &[longer]));
        let remote = format!("https://{host}.example");
        prop_assert!(!origin::is_loopback_origin(&remote));
        prop_assert!(!origin::origin_allowed(&junk, &[]));
        prop_assert!(origin::origin_allowed(&junk, &["*".to_owned()]));
    }
}
