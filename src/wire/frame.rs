//! Frame headers, in and out (RFC 6455 §5.2), and whole frames for close and for clients.
//!
//! Headers are parsed by hand and formatted by tungstenite, whose opcodes and close codes are the
//! vocabulary here. Its `FrameHeader::parse` is a poor fit for the way in: it wants a whole header
//! before it can refuse the first byte, reads through a cursor with a trace line per field, and
//! knows neither the mask rule, the shortest-length rule nor the rules for control frames.
//!
//! Invariant: a refusal depends on the first bad byte only, in the order of arrival. The same
//! bytes give the same error however the socket splits them.

use tungstenite::protocol::frame::FrameHeader;

use super::{CloseCode, Control, Data, OpCode, ProtocolError, mask};
use crate::limits::{CLOSE_REASON_BYTES_MAX, CONTROL_PAYLOAD_BYTES_MAX, FRAME_HEADER_BYTES_MAX};

/// The header of one frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Last frame of its message.
    pub fin: bool,
    /// What the frame is; never a reserved opcode.
    pub opcode: OpCode,
    /// Length of the payload that follows the header; at most `u64::MAX / 2`.
    pub payload_bytes: u64,
    /// The key that the payload is masked with, which only client frames are.
    pub mask: Option<[u8; 4]>,
    /// Length of the header itself: 2 to 14.
    pub header_bytes: usize,
}

/// Who sent the frame that is parsed, which decides whether it must be masked.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sender {
    Client,
    Server,
}

/// Decodes the header of a client's frame at the front of `bytes`.
///
/// `bytes` is whatever the socket has given so far. `Ok(None)` means that the header (6 to 14
/// bytes) is incomplete and good so far: keep the bytes and wait for more. On `Ok(Some(header))`
/// the payload starts at offset `header.header_bytes`.
///
/// # Errors
///
/// The peer broke RFC 6455: a reserved bit or opcode (§5.2), an unmasked frame (§5.1), a length
/// not in its shortest form or beyond 63 bits (§5.2), a control frame that is fragmented or longer
/// than 125 bytes (§5.5). Each is found as soon as the byte that shows it is there.
#[inline]
pub fn parse_header(bytes: &[u8]) -> Result<Option<Header>, ProtocolError> {
    parse(bytes, Sender::Client)
}

/// Decodes the header of a server's frame, for clients such as the load generator.
///
/// As `parse_header`, but the header is 2 to 10 bytes long and must not carry a mask.
///
/// # Errors
///
/// As `parse_header`; a masked frame is refused instead of an unmasked one.
#[inline]
pub fn parse_server_header(bytes: &[u8]) -> Result<Option<Header>, ProtocolError> {
    parse(bytes, Sender::Server)
}

#[inline]
fn parse(bytes: &[u8], sender: Sender) -> Result<Option<Header>, ProtocolError> {
    let Some(&first) = bytes.first() else { return Ok(None) };
    if first & 0x70 != 0 {
        return Err(ProtocolError::ReservedBit);
    }
    let fin = first & 0x80 != 0;
    let opcode = OpCode::from(first & 0x0f);
    let is_control = match opcode {
        OpCode::Data(Data::Reserved(_)) | OpCode::Control(Control::Reserved(_)) => {
            return Err(ProtocolError::UnknownOpcode);
        }
        OpCode::Control(_) if !fin => return Err(ProtocolError::FragmentedControl),
        OpCode::Control(_) => true,
        OpCode::Data(_) => false,
    };
    let Some(&second) = bytes.get(1) else { return Ok(None) };
    let is_masked = second & 0x80 != 0;
    match sender {
        Sender::Client if !is_masked => return Err(ProtocolError::UnmaskedClientFrame),
        Sender::Server if is_masked => return Err(ProtocolError::MaskedServerFrame),
        _ => {}
    }
    let short_length = second & 0x7f;
    if is_control && usize::from(short_length) > CONTROL_PAYLOAD_BYTES_MAX {
        return Err(ProtocolError::LongControl);
    }
    let rest = &bytes[2..];
    let (payload_bytes, rest) = match short_length {
        126 => match long_length::<2>(rest, 126)? {
            Some(split) => split,
            None => return Ok(None),
        },
        127 => match long_length::<8>(rest, 1 << 16)? {
            Some(split) => split,
            None => return Ok(None),
        },
        length => (u64::from(length), rest),
    };
    let (mask, rest) = if is_masked {
        match rest.split_first_chunk::<4>() {
            Some((mask, rest)) => (Some(*mask), rest),
            None => return Ok(None),
        }
    } else {
        (None, rest)
    };
    let header_bytes = bytes.len() - rest.len();
    Ok(Some(Header { fin, opcode, payload_bytes, mask, header_bytes }))
}

/// Reads an extended length of `N` bytes which must be at least `smallest`; returns it and the rest.
///
/// The bytes that have arrived are judged even when others are missing: padded with ones they are
/// the largest value that can still come.
#[inline]
fn long_length<const N: usize>(bytes: &[u8], smallest: u64) -> Result<Option<(u64, &[u8])>, ProtocolError> {
    let mut largest = [0; 8];
    let arrived = match bytes.first_chunk::<N>() {
        // Apart from the rest because the compiler knows the length of this copy: no call of memcpy.
        Some(whole) => {
            largest[8 - N..].copy_from_slice(whole);
            N
        }
        None => {
            largest[8 - N..].fill(0xff);
            largest[8 - N..8 - N + bytes.len()].copy_from_slice(bytes);
            bytes.len()
        }
    };
    let largest = u64::from_be_bytes(largest);
    if arrived > 0 && largest >> 63 != 0 {
        return Err(ProtocolError::LengthTooLarge);
    }
    if largest < smallest {
        return Err(ProtocolError::LengthNotMinimal);
    }
    Ok((arrived == N).then(|| (largest, &bytes[N..])))
}

/// Appends the header of an unfragmented server frame: FIN, no mask, 2 to 10 bytes.
///
/// `payload_bytes` is the length of the payload that the caller appends or sends next.
pub fn write_header(out: &mut Vec<u8>, opcode: OpCode, payload_bytes: usize) {
    format_header(out, opcode, payload_bytes, None);
}

/// Appends an unfragmented server frame with its payload.
pub fn write_frame(out: &mut Vec<u8>, opcode: OpCode, payload: &[u8]) {
    out.reserve(FRAME_HEADER_BYTES_MAX + payload.len());
    write_header(out, opcode, payload.len());
    out.extend_from_slice(payload);
}

/// Appends an unfragmented client frame, masked with `mask`.
///
/// RFC 6455 §5.3 wants masks that nobody can guess; a load generator on loopback may pass any.
pub fn write_client_frame(out: &mut Vec<u8>, opcode: OpCode, payload: &[u8], mask: [u8; 4]) {
    out.reserve(FRAME_HEADER_BYTES_MAX + payload.len());
    format_header(out, opcode, payload.len(), Some(mask));
    let start = out.len();
    out.extend_from_slice(payload);
    mask::apply(&mut out[start..], mask, 0);
}

/// Appends a server's close frame. A reason over 123 bytes is cut at a character boundary.
pub fn write_close(out: &mut Vec<u8>, code: u16, reason: &str) {
    let reason = &reason[..reason.floor_char_boundary(CLOSE_REASON_BYTES_MAX)];
    write_header(out, OpCode::Control(Control::Close), 2 + reason.len());
    out.extend_from_slice(&code.to_be_bytes());
    out.extend_from_slice(reason.as_bytes());
}

/// Whether a peer may send `code` in a close frame.
///
/// 1012 to 1014 are registered with IANA but refused by Autobahn 7.9.x; no client has a use for
/// them, since they tell about servers. Source: RFC 6455 §7.4.2.
pub fn is_close_code_valid(code: u16) -> bool {
    let is_for_servers = matches!(CloseCode::from(code), CloseCode::Restart | CloseCode::Again);
    CloseCode::from(code).is_allowed() && !is_for_servers
}

fn format_header(out: &mut Vec<u8>, opcode: OpCode, payload_bytes: usize, mask: Option<[u8; 4]>) {
    let header = FrameHeader { is_final: true, rsv1: false, rsv2: false, rsv3: false, opcode, mask };
    header.format(payload_bytes as u64, out).expect("a Vec takes every write");
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: OpCode = OpCode::Data(Data::Text);
    const PING: OpCode = OpCode::Control(Control::Ping);

    fn refusal(bytes: &[u8]) -> Option<ProtocolError> {
        parse_header(bytes).err()
    }

    #[test]
    fn a_header_is_incomplete_until_its_last_byte() {
        for payload_bytes in [0, 1, 125, 126, 65_535, 65_536] {
            let mut frame = Vec::new();
            write_client_frame(&mut frame, TEXT, &vec![b'a'; payload_bytes], [1, 2, 3, 4]);
            let header_bytes = frame.len() - payload_bytes;
            for taken in 0..header_bytes {
                assert_eq!(parse_header(&frame[..taken]), Ok(None), "{taken} of {header_bytes} bytes");
            }
            let expected = Header {
                fin: true,
                opcode: TEXT,
                payload_bytes: payload_bytes as u64,
                mask: Some([1, 2, 3, 4]),
                header_bytes,
            };
            assert_eq!(parse_header(&frame), Ok(Some(expected)));
        }
    }

    #[test]
    fn a_bad_first_byte_is_refused_without_the_second() {
        for reserved_bit in [0x40, 0x20, 0x10] {
            assert_eq!(refusal(&[0x81 | reserved_bit]), Some(ProtocolError::ReservedBit));
        }
        for opcode in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] {
            assert_eq!(refusal(&[0x80 | opcode]), Some(ProtocolError::UnknownOpcode));
        }
        for control in [8, 9, 10] {
            assert_eq!(refusal(&[control]), Some(ProtocolError::FragmentedControl));
        }
    }

    #[test]
    fn a_bad_second_byte_is_refused_without_the_rest() {
        assert_eq!(refusal(&[0x81, 0x05]), Some(ProtocolError::UnmaskedClientFrame));
        assert_eq!(refusal(&[0x89, 0x80 | 126]), Some(ProtocolError::LongControl));
        assert_eq!(refusal(&[0x89, 0x80 | 127]), Some(ProtocolError::LongControl));
        assert_eq!(parse_server_header(&[0x81, 0x85]), Err(ProtocolError::MaskedServerFrame));
    }

    #[test]
    fn a_length_not_in_its_shortest_form_is_refused_at_the_byte_that_shows_it() {
        assert_eq!(refusal(&[0x82, 0xfe, 0, 125]), Some(ProtocolError::LengthNotMinimal));
        assert_eq!(parse_header(&[0x82, 0xfe, 0]), Ok(None));
        assert_eq!(parse_header(&[0x82, 0xfe, 0, 126]), Ok(None));
        assert_eq!(refusal(&[0x82, 0xff, 0, 0, 0, 0, 0, 0]), Some(ProtocolError::LengthNotMinimal));
        assert_eq!(parse_header(&[0x82, 0xff, 0, 0, 0, 0, 0]), Ok(None));
        assert_eq!(refusal(&[0x82, 0xff, 0x80]), Some(ProtocolError::LengthTooLarge));
        assert_eq!(parse_header(&[0x82, 0xff]), Ok(None));
    }

    #[test]
    fn a_server_frame_is_what_a_client_parses() {
        let mut frame = Vec::new();
        write_frame(&mut frame, PING, b"beat");
        assert_eq!(frame, [&[0x89, 4][..], b"beat"].concat());
        let header = parse_server_header(&frame).expect("legal").expect("complete");
        assert_eq!((header.opcode, header.mask, header.header_bytes), (PING, None, 2));
    }

    #[test]
    fn a_close_reason_is_cut_between_characters() {
        let mut frame = Vec::new();
        write_close(&mut frame, 3008, &"€".repeat(60));
        // 41 three-byte characters fill the 123 bytes exactly; one letter before them drops the last.
        assert_eq!(frame[1], 125);
        frame.clear();
        write_close(&mut frame, 3008, &format!("x{}", "€".repeat(60)));
        assert_eq!(frame[1], 2 + 1 + 40 * 3);
        assert_eq!(frame[2..4], 3008_u16.to_be_bytes());
        assert!(std::str::from_utf8(&frame[4..]).is_ok());
    }

    #[test]
    fn close_codes_are_judged_as_autobahn_judges_them() {
        for code in [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999] {
            assert!(is_close_code_valid(code), "{code}");
        }
        for code in [0, 999, 1004, 1005, 1006, 1012, 1013, 1014, 1015, 1016, 1100, 2000, 2999, 5000, u16::MAX]
        {
            assert!(!is_close_code_valid(code), "{code}");
        }
    }
}
