//! RFC 6455 frames as a client sees them: masked out, unmasked in.
//!
//! Small on purpose: one frame is one message (a fragmented message is an error, no measured server
//! sends one), and a payload is lent, never copied.
//!
//! Absent on purpose: UTF-8 checks. The generator counts messages; what they say is the server's business.

use std::fmt;

/// Opcode of a text frame. Source: RFC 6455 §5.2.
pub const TEXT: u8 = 0x1;
/// Opcode of a binary frame. Source: RFC 6455 §5.2.
pub const BINARY: u8 = 0x2;
/// Opcode of a close frame. Source: RFC 6455 §5.2.
pub const CLOSE: u8 = 0x8;
/// Opcode of a ping frame. Source: RFC 6455 §5.2.
pub const PING: u8 = 0x9;
/// Opcode of a pong frame. Source: RFC 6455 §5.2.
pub const PONG: u8 = 0xA;

const FIN: u8 = 0x80;
const MASKED: u8 = 0x80;

/// One whole frame from the server.
#[derive(Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// One of this module's opcodes, or one RFC 6455 reserves.
    pub opcode: u8,
    /// The payload, without the header.
    pub payload: &'a [u8],
    /// Bytes of header and payload: where the next frame starts.
    pub frame_bytes: usize,
}

/// What a server may not send, or what no measured server does. Ends the connection it came on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameError {
    /// A server frame had a mask (RFC 6455 §5.1).
    Masked,
    /// A reserved bit was set; no extension was offered (RFC 6455 §5.2).
    Reserved,
    /// A message in several frames.
    Fragmented,
    /// A payload longer than this machine can address.
    TooLong,
}

impl fmt::Display for FrameError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Masked => "the server sent a masked frame",
            Self::Reserved => "the server set a reserved bit",
            Self::Fragmented => "the server sent a fragmented message",
            Self::TooLong => "the server sent a frame too long to hold",
        })
    }
}

/// Takes the frame at the front of `bytes`, or `Ok(None)` while it is incomplete.
///
/// # Errors
///
/// See [`FrameError`]. Known from the first two bytes, so it never waits for the payload.
pub fn decode(bytes: &[u8]) -> Result<Option<Frame<'_>>, FrameError> {
    let &[first, second, ref rest @ ..] = bytes else { return Ok(None) };
    if first & 0x70 != 0 {
        return Err(FrameError::Reserved);
    }
    let opcode = first & 0x0F;
    if first & FIN == 0 || opcode == 0 {
        return Err(FrameError::Fragmented);
    }
    if second & MASKED != 0 {
        return Err(FrameError::Masked);
    }
    let (length, header_bytes) = match second {
        126 => match rest.first_chunk::<2>() {
            Some(length) => (u64::from(u16::from_be_bytes(*length)), 4),
            None => return Ok(None),
        },
        127 => match rest.first_chunk::<8>() {
            Some(length) => (u64::from_be_bytes(*length), 10),
            None => return Ok(None),
        },
        short => (u64::from(short), 2),
    };
    let payload_bytes = usize::try_from(length).map_err(|_| FrameError::TooLong)?;
    let frame_bytes = payload_bytes.checked_add(header_bytes).ok_or(FrameError::TooLong)?;
    Ok(bytes.get(header_bytes..frame_bytes).map(|payload| Frame { opcode, payload, frame_bytes }))
}

/// Appends `payload` to `out` as one masked frame.
///
/// `mask` need not be secret here: both ends are ours and no proxy is between them (RFC 6455 §10.3).
pub fn encode(out: &mut Vec<u8>, opcode: u8, mask: [u8; 4], payload: &[u8]) {
    out.push(FIN | opcode);
    match payload.len() {
        short @ 0..126 => out.push(MASKED | short as u8),
        medium @ 126..=0xFFFF => {
            out.push(MASKED | 126);
            out.extend_from_slice(&(medium as u16).to_be_bytes());
        }
        long => {
            out.push(MASKED | 127);
            out.extend_from_slice(&(long as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&mask);
    out.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a server would send: the client's encoding with the mask taken out of it.
    fn server_frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        encode(&mut out, opcode, [0; 4], payload);
        let mask_at = out.len() - payload.len() - 4;
        out.drain(mask_at..mask_at + 4);
        out[1] &= !MASKED;
        out
    }

    #[test]
    fn a_masked_text_frame_is_the_one_of_rfc_6455_section_5_7() {
        let mut out = Vec::new();
        encode(&mut out, TEXT, [0x37, 0xfa, 0x21, 0x3d], b"Hello");
        assert_eq!(out, [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58]);
    }

    #[test]
    fn every_length_form_comes_back_whole_and_no_prefix_does() {
        for payload_bytes in [0, 1, 125, 126, 127, 65_535, 65_536, 70_000] {
            let payload = vec![b'x'; payload_bytes];
            let bytes = server_frame(TEXT, &payload);
            let frame = decode(&bytes).unwrap().unwrap();
            assert_eq!((frame.opcode, frame.payload.len()), (TEXT, payload_bytes));
            assert_eq!(frame.frame_bytes, bytes.len());
            for cut in [0, 1, 2, 3, 9, bytes.len() - 1] {
                assert_eq!(decode(&bytes[..cut.min(bytes.len() - 1)]), Ok(None));
            }
        }
    }

    #[test]
    fn a_frame_that_no_server_may_send_is_refused_at_its_second_byte() {
        assert_eq!(decode(&[0x81, 0x85]), Err(FrameError::Masked));
        assert_eq!(decode(&[0xC1, 0x05]), Err(FrameError::Reserved));
        assert_eq!(decode(&[0x01, 0x05]), Err(FrameError::Fragmented));
        assert_eq!(decode(&[0x80, 0x05]), Err(FrameError::Fragmented));
    }

    #[test]
    fn a_length_past_the_address_space_is_refused() {
        let mut bytes = vec![0x82, 127];
        bytes.extend_from_slice(&u64::MAX.to_be_bytes());
        assert_eq!(decode(&bytes), Err(FrameError::TooLong));
    }
}
