//! The ways in which a peer can break RFC 6455, each with the close code it is answered with.

use std::fmt;

use super::CloseCode;

/// How the peer broke RFC 6455. Fatal for its connection, for no other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProtocolError {
    /// A reserved bit is set and no extension was negotiated (§5.2).
    ReservedBit,
    /// An opcode that no RFC defines (§5.2).
    UnknownOpcode,
    /// A control frame without FIN (§5.5).
    FragmentedControl,
    /// A control frame that declares more than 125 bytes (§5.5).
    LongControl,
    /// A client frame without a mask (§5.1).
    UnmaskedClientFrame,
    /// A server frame with a mask (§5.1). Only the load generator meets it.
    MaskedServerFrame,
    /// A length that is not in its shortest form (§5.2).
    LengthNotMinimal,
    /// A 64-bit length with its highest bit set (§5.2).
    LengthTooLarge,
    /// A continuation frame while no fragmented message is open (§5.4).
    ContinuationWithoutStart,
    /// A new text or binary frame while a fragmented message is open (§5.4).
    MessageInsideMessage,
    /// A close payload of one byte, too short for a code (§5.5.1).
    CloseTooShort,
    /// A close code that must not appear in a frame (§7.4).
    CloseCodeInvalid,
    /// Text, or a close reason, that is not UTF-8 (§8.1).
    InvalidUtf8,
    /// A message that is longer than the server takes (§7.4.1, code 1009).
    MessageTooBig,
}

// Part of every decoder result: keep it far below one word.
const _: () = assert!(size_of::<ProtocolError>() <= 8);

impl ProtocolError {
    /// The code for the close frame that tells the peer: 1002, 1007 or 1009 (RFC 6455 §7.4.1).
    pub fn close_code(self) -> u16 {
        match self {
            Self::InvalidUtf8 => CloseCode::Invalid.into(),
            Self::MessageTooBig => CloseCode::Size.into(),
            _ => CloseCode::Protocol.into(),
        }
    }

    /// What was wrong in plain words, short enough for the reason of a close frame.
    pub fn reason(self) -> &'static str {
        match self {
            Self::ReservedBit => "a reserved bit is set and no extension was negotiated",
            Self::UnknownOpcode => "unknown opcode",
            Self::FragmentedControl => "a control frame must not be fragmented",
            Self::LongControl => "a control frame holds at most 125 bytes",
            Self::UnmaskedClientFrame => "a client frame must be masked",
            Self::MaskedServerFrame => "a server frame must not be masked",
            Self::LengthNotMinimal => "the frame length is not in its shortest form",
            Self::LengthTooLarge => "the frame length has its highest bit set",
            Self::ContinuationWithoutStart => "a continuation frame needs a message to continue",
            Self::MessageInsideMessage => "a new message began inside a fragmented one",
            Self::CloseTooShort => "a close payload is empty or at least 2 bytes long",
            Self::CloseCodeInvalid => "this close code must not be sent",
            Self::InvalidUtf8 => "text is not valid UTF-8",
            Self::MessageTooBig => "the message is too big",
        }
    }
}

impl fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason())
    }
}

impl std::error::Error for ProtocolError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_text_is_1007_a_big_message_1009_and_the_rest_1002() {
        assert_eq!(ProtocolError::InvalidUtf8.close_code(), 1007);
        assert_eq!(ProtocolError::MessageTooBig.close_code(), 1009);
        assert_eq!(ProtocolError::ReservedBit.close_code(), 1002);
        assert_eq!(ProtocolError::CloseCodeInvalid.close_code(), 1002);
    }
}
