//! Frames as a client takes them: one frame is one message, and its payload is lent, never copied.
//!
//! Absent on purpose: UTF-8 checks and fragmented messages. The generator counts messages, no
//! measured server fragments them, and one that does ends its connection with a reason.

use std::fmt;

use crate::wire::frame::parse_server_header;
use crate::wire::{Control, Data, OpCode, ProtocolError};

/// Text: what the generator sends.
pub const TEXT: OpCode = OpCode::Data(Data::Text);

/// The answer to a ping frame.
pub const PONG: OpCode = OpCode::Control(Control::Pong);

/// One whole frame from the server.
#[derive(Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// What it is; never a continuation.
    pub opcode: OpCode,
    /// The payload, without the header.
    pub payload: &'a [u8],
    /// Bytes of header and payload: where the next frame starts.
    pub frame_bytes: usize,
}

/// What a server may not send, or what no measured server does. Ends the connection it came on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameError {
    /// It broke RFC 6455.
    Protocol(ProtocolError),
    /// A message in several frames.
    Fragmented,
}

impl fmt::Display for FrameError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Protocol(error) => write!(out, "the server broke RFC 6455: {error}"),
            Self::Fragmented => out.write_str("the server sent a fragmented message"),
        }
    }
}

/// Takes the frame at the front of `bytes`, or `Ok(None)` while it is incomplete.
///
/// # Errors
///
/// See [`FrameError`]. Known from the header, so it never waits for the payload.
pub fn decode(bytes: &[u8]) -> Result<Option<Frame<'_>>, FrameError> {
    let Some(header) = parse_server_header(bytes).map_err(FrameError::Protocol)? else { return Ok(None) };
    if !header.fin || header.opcode == OpCode::Data(Data::Continue) {
        return Err(FrameError::Fragmented);
    }
    // A length beyond the address space never comes whole.
    let payload_bytes = usize::try_from(header.payload_bytes).unwrap_or(usize::MAX);
    let frame_bytes = payload_bytes.saturating_add(header.header_bytes);
    let payload = bytes.get(header.header_bytes..frame_bytes);
    Ok(payload.map(|payload| Frame { opcode: header.opcode, payload, frame_bytes }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::frame::write_frame;

    #[test]
    fn every_length_form_comes_back_whole_and_no_prefix_does() {
        for payload_bytes in [0, 1, 125, 126, 127, 65_535, 65_536, 70_000] {
            let mut bytes = Vec::new();
            write_frame(&mut bytes, TEXT, &vec![b'x'; payload_bytes]);
            let frame = decode(&bytes).unwrap().unwrap();
            assert_eq!((frame.opcode, frame.payload.len()), (TEXT, payload_bytes));
            assert_eq!(frame.frame_bytes, bytes.len());
            for cut in [0, 1, 2, 3, 9, bytes.len() - 1] {
                assert_eq!(decode(&bytes[..cut.min(bytes.len() - 1)]), Ok(None));
            }
        }
    }

    #[test]
    fn what_no_server_may_send_and_what_none_does_is_refused() {
        assert_eq!(decode(&[0x81, 0x85]), Err(FrameError::Protocol(ProtocolError::MaskedServerFrame)));
        assert_eq!(decode(&[0xC1, 0x05]), Err(FrameError::Protocol(ProtocolError::ReservedBit)));
        assert_eq!(decode(&[0x01, 0x05]), Err(FrameError::Fragmented));
        assert_eq!(decode(&[0x80, 0x05]), Err(FrameError::Fragmented));
    }
}
