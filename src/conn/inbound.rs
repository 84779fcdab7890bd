//! Inbound half of one connection: bytes from the socket become messages and control frames.
//!
//! The shard reads into one buffer that all its connections share and hands each read to
//! `Inbound::next` until nothing is left of it. A frame that is whole in the read is unmasked where
//! it lies and lent out. Only what a read cuts off is kept, in a box, until the rest comes.
//!
//! Invariants:
//! - an `Inbound` that holds no part of a frame or message is 8 bytes and owns nothing;
//! - memory follows the bytes received, at most twofold (at least 64 bytes), never a length that a
//!   peer only declared;
//! - text is refused at its first bad byte, also inside an incomplete frame;
//! - events and errors depend on the bytes alone, not on how the socket splits them.
//!
//! Absent on purpose: answers. A ping is lent out, not answered, and after an error the connection
//! must not be fed again: `shard` sends the close frame.

use crate::limits::{CONTROL_PAYLOAD_BYTES_MAX, FRAME_HEADER_BYTES_MAX};
use crate::wire::utf8::Utf8Stream;
use crate::wire::{Control, Data, Header, OpCode, ProtocolError, frame, mask};

/// First allocation for a message of which only a few bytes have come.
const PAYLOAD_BYTES_MIN: usize = 64;

/// What a client sent: a whole message or a control frame, lent until the next call.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// A message, put together and unmasked. When `text`, its payload is valid UTF-8.
    Message {
        /// Text, else binary.
        text: bool,
        /// The whole payload, lent mutably so that a parser may work in it.
        payload: &'a mut [u8],
    },
    /// A ping with its payload of at most 125 bytes, to be sent back in a pong.
    Ping(&'a [u8]),
    /// A pong with its payload.
    Pong(&'a [u8]),
    /// A close frame. What comes after it must be ignored (RFC 6455 §5.5.1).
    Close {
        /// The code, which may legally be sent; `None` when the frame was empty.
        code: Option<u16>,
        /// The reason, empty when there is none.
        reason: &'a str,
    },
}

/// Decoder for the frames of one client.
#[derive(Debug, Default)]
pub struct Inbound(Option<Box<Partial>>);

// Idle connections pay for this word a million times.
const _: () = assert!(size_of::<Inbound>() == 8);

/// What came of a frame or message that is not complete.
#[derive(Debug)]
struct Partial {
    /// The first bytes of a header whose rest has not come.
    header: [u8; FRAME_HEADER_BYTES_MAX],
    header_bytes: u8,
    control_bytes: u8,
    /// Payload of an incomplete control frame, which may lie between two fragments.
    control: [u8; CONTROL_PAYLOAD_BYTES_MAX],
    /// The frame whose header is complete and whose payload is not.
    frame: Option<Frame>,
    /// Kind of the message that is being put together: text or binary.
    message: Option<Data>,
    /// Unmasked payload of that message so far.
    payload: Vec<u8>,
    utf8: Utf8Stream,
}

/// A frame of which the payload is arriving.
#[derive(Debug, Clone, Copy)]
struct Frame {
    fin: bool,
    opcode: OpCode,
    mask: [u8; 4],
    received_bytes: usize,
    /// Payload bytes still to come.
    missing_bytes: usize,
}

impl Inbound {
    /// Decodes from the front of `bytes`, which follow what earlier calls consumed.
    ///
    /// Returns how many bytes were consumed and at most one event. No event means that all bytes
    /// were consumed and more are needed; after an event call again with the rest, if there is any.
    /// Consumed bytes are changed: they are unmasked in place. A message over `message_bytes_max`
    /// is refused at the header that shows it.
    ///
    /// # Errors
    ///
    /// The peer broke RFC 6455 (close code 1002), sent text that is not UTF-8 (1007) or too big a
    /// message (1009). Close the connection; what a further call returns is unspecified.
    pub fn next<'a>(
        &'a mut self,
        bytes: &'a mut [u8],
        message_bytes_max: usize,
    ) -> Result<(usize, Option<Event<'a>>), ProtocolError> {
        self.settle();
        if bytes.is_empty() {
            return Ok((0, None));
        }
        if self.0.is_none()
            && let Some(header) = frame::parse_header(bytes)?
        {
            let frame = Frame::begin(&header, None, 0, message_bytes_max)?;
            let end = header.header_bytes + frame.missing_bytes;
            if end <= bytes.len() && frame.is_whole_event() {
                let payload = &mut bytes[header.header_bytes..end];
                mask::apply(payload, frame.mask, 0);
                return Ok((end, Some(whole_frame(frame.opcode, payload)?)));
            }
        }
        self.0.get_or_insert_default().next(bytes, message_bytes_max)
    }

    /// Frees what a completed message or frame leaves behind. Call it when a read is used up, so
    /// that a connection that goes idle owns nothing; `next` does the same before it decodes.
    #[inline]
    pub fn settle(&mut self) {
        if self.0.as_ref().is_some_and(|partial| partial.is_idle()) {
            self.0 = None;
        }
    }

    /// Heap bytes that this connection pins with a partial frame or message.
    pub fn held_bytes(&self) -> usize {
        self.0.as_ref().map_or(0, |partial| size_of::<Partial>() + partial.payload.capacity())
    }
}

impl Frame {
    /// Judges a frame by the open message (`message`, of which `held_bytes` have come) and the limit.
    #[inline]
    fn begin(
        header: &Header,
        message: Option<Data>,
        held_bytes: usize,
        message_bytes_max: usize,
    ) -> Result<Self, ProtocolError> {
        match (header.opcode, message) {
            (OpCode::Data(Data::Continue), None) => return Err(ProtocolError::ContinuationWithoutStart),
            (OpCode::Data(Data::Text | Data::Binary), Some(_)) => {
                return Err(ProtocolError::MessageInsideMessage);
            }
            _ => {}
        }
        let payload_bytes =
            usize::try_from(header.payload_bytes).map_err(|_| ProtocolError::MessageTooBig)?;
        let is_data = matches!(header.opcode, OpCode::Data(_));
        if is_data && payload_bytes > message_bytes_max.saturating_sub(held_bytes) {
            return Err(ProtocolError::MessageTooBig);
        }
        Ok(Self {
            fin: header.fin,
            opcode: header.opcode,
            mask: header.mask.ok_or(ProtocolError::UnmaskedClientFrame)?,
            received_bytes: 0,
            missing_bytes: payload_bytes,
        })
    }

    /// Whether this frame is an event by itself, and not part of a fragmented message.
    fn is_whole_event(&self) -> bool {
        match self.opcode {
            OpCode::Control(_) => true,
            OpCode::Data(data) => self.fin && data != Data::Continue,
        }
    }

    /// Unmasks the front of `bytes` as far as this frame's payload goes, and returns that part.
    fn take<'b>(&mut self, bytes: &'b mut [u8]) -> &'b mut [u8] {
        let taken_bytes = self.missing_bytes.min(bytes.len());
        let piece = &mut bytes[..taken_bytes];
        mask::apply(piece, self.mask, self.received_bytes);
        self.received_bytes += taken_bytes;
        self.missing_bytes -= taken_bytes;
        piece
    }
}

impl Default for Partial {
    fn default() -> Self {
        Self {
            header: [0; FRAME_HEADER_BYTES_MAX],
            header_bytes: 0,
            control_bytes: 0,
            control: [0; CONTROL_PAYLOAD_BYTES_MAX],
            frame: None,
            message: None,
            payload: Vec::new(),
            utf8: Utf8Stream::default(),
        }
    }
}

impl Partial {
    /// Whether nothing is incomplete. The payload of a message that was lent out may still be here.
    fn is_idle(&self) -> bool {
        self.header_bytes == 0 && self.frame.is_none() && self.message.is_none()
    }

    /// As `Inbound::next`, for bytes that continue what is held or begin what must be held.
    fn next<'a>(
        &'a mut self,
        bytes: &'a mut [u8],
        message_bytes_max: usize,
    ) -> Result<(usize, Option<Event<'a>>), ProtocolError> {
        let mut used = 0;
        while used < bytes.len() {
            let mut frame = match self.frame.take() {
                Some(frame) => frame,
                None => match self.take_header(&bytes[used..], message_bytes_max)? {
                    (taken, Some(frame)) => {
                        used += taken;
                        frame
                    }
                    (taken, None) => return Ok((used + taken, None)),
                },
            };
            let start = used;
            used += frame.take(&mut bytes[start..]).len();
            let is_complete = frame.missing_bytes == 0;
            if !is_complete {
                self.frame = Some(frame);
            }
            match frame.opcode {
                OpCode::Control(_) => {
                    let was_held = self.control_bytes > 0;
                    if was_held || !is_complete {
                        self.hold_control(&bytes[start..used]);
                    }
                    if is_complete {
                        let held = &self.control[..usize::from(std::mem::take(&mut self.control_bytes))];
                        let payload = if was_held { held } else { &bytes[start..used] };
                        return Ok((used, Some(control_event(frame.opcode, payload)?)));
                    }
                }
                OpCode::Data(_) => {
                    if self.message == Some(Data::Text) {
                        self.utf8.push(&bytes[start..used])?;
                    }
                    let is_message = is_complete && frame.fin;
                    let lies_in_bytes = is_message && self.payload.is_empty();
                    if !lies_in_bytes {
                        self.hold_payload(&bytes[start..used], &frame, message_bytes_max);
                    }
                    if is_message {
                        self.utf8.finish()?;
                        let text = self.message.take() == Some(Data::Text);
                        let payload = if lies_in_bytes { &mut bytes[start..used] } else { &mut self.payload };
                        return Ok((used, Some(Event::Message { text, payload })));
                    }
                }
            }
        }
        Ok((used, None))
    }

    /// Continues the held header with the front of `bytes`. Returns how many bytes it took, and the
    /// frame when its header is complete and legal here.
    fn take_header(
        &mut self,
        bytes: &[u8],
        message_bytes_max: usize,
    ) -> Result<(usize, Option<Frame>), ProtocolError> {
        let held = usize::from(self.header_bytes);
        let end = FRAME_HEADER_BYTES_MAX.min(held + bytes.len());
        self.header[held..end].copy_from_slice(&bytes[..end - held]);
        let Some(header) = frame::parse_header(&self.header[..end])? else {
            self.header_bytes = end as u8;
            return Ok((end - held, None));
        };
        self.header_bytes = 0;
        let frame = Frame::begin(&header, self.message, self.payload.len(), message_bytes_max)?;
        if let OpCode::Data(data @ (Data::Text | Data::Binary)) = header.opcode {
            self.message = Some(data);
        }
        Ok((header.header_bytes - held, Some(frame)))
    }

    /// Appends a piece of an incomplete control frame; `parse_header` bounds their sum to 125 bytes.
    fn hold_control(&mut self, piece: &[u8]) {
        let held = usize::from(self.control_bytes);
        self.control[held..held + piece.len()].copy_from_slice(piece);
        self.control_bytes += piece.len() as u8;
    }

    /// Appends a piece of `frame` to the message.
    ///
    /// Capacity doubles, so that many pieces cost linear time, but stops at the message's length
    /// where the last frame tells it, and at the limit where it does not.
    fn hold_payload(&mut self, piece: &[u8], frame: &Frame, message_bytes_max: usize) {
        let wanted = self.payload.len() + piece.len();
        if wanted > self.payload.capacity() {
            let total = if frame.fin { wanted + frame.missing_bytes } else { message_bytes_max };
            let capacity = (2 * wanted).max(PAYLOAD_BYTES_MIN).min(total).max(wanted);
            self.payload.reserve_exact(capacity - self.payload.len());
        }
        self.payload.extend_from_slice(piece);
    }
}

/// The event of a frame that is a message or a control frame by itself.
#[inline]
fn whole_frame(opcode: OpCode, payload: &mut [u8]) -> Result<Event<'_>, ProtocolError> {
    let OpCode::Data(data) = opcode else { return control_event(opcode, payload) };
    let text = data == Data::Text;
    if text && simdutf8::basic::from_utf8(payload).is_err() {
        return Err(ProtocolError::InvalidUtf8);
    }
    Ok(Event::Message { text, payload })
}

/// The event of a complete control frame.
fn control_event(opcode: OpCode, payload: &[u8]) -> Result<Event<'_>, ProtocolError> {
    match opcode {
        OpCode::Control(Control::Ping) => Ok(Event::Ping(payload)),
        OpCode::Control(Control::Pong) => Ok(Event::Pong(payload)),
        _ => close_event(payload),
    }
}

/// Decodes the payload of a close frame (RFC 6455 §5.5.1): nothing, or a code and a reason.
fn close_event(payload: &[u8]) -> Result<Event<'_>, ProtocolError> {
    let Some((code, reason)) = payload.split_first_chunk::<2>() else {
        return match payload {
            [] => Ok(Event::Close { code: None, reason: "" }),
            _ => Err(ProtocolError::CloseTooShort),
        };
    };
    let code = u16::from_be_bytes(*code);
    if !frame::is_close_code_valid(code) {
        return Err(ProtocolError::CloseCodeInvalid);
    }
    let reason = std::str::from_utf8(reason).map_err(|_| ProtocolError::InvalidUtf8)?;
    Ok(Event::Close { code: Some(code), reason })
}

#[cfg(test)]
#[path = "inbound_tests.rs"]
mod tests;
