//! Why a connection ends, and what the peer is told of it.

use crate::protocol::code::Disconnect;
use crate::wire::ProtocolError;

/// Why a connection ends. Its shard counts the reason, sends the close code and serves the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseReason {
    /// The peer sent a close frame with this code (1005: without one) and we answered it.
    Peer(u16),
    /// The socket ended or failed without a close frame.
    Gone,
    /// The peer broke RFC 6455, or its message was longer than allowed.
    Protocol(ProtocolError),
    /// A reason of the client protocol; its code decides whether an SDK comes back.
    Disconnect(Disconnect),
    /// The application's own code, from 3000 to 4999. Its text comes with it: `Io::close_saying`.
    Application(u16),
    /// The service is done with the connection (1000).
    Normal,
    /// The service does not take this kind of message (1003).
    Unsupported,
    /// The service failed (1011).
    Internal,
}

// Passed along on every path that can end a connection: keep it one word.
const _: () = assert!(size_of::<CloseReason>() <= 8);

impl CloseReason {
    /// The close code: the one we send, the peer's own, or 1006 where no close frame was seen
    /// (RFC 6455 §7.1.5).
    pub fn code(self) -> u16 {
        match self {
            CloseReason::Peer(code) => code,
            CloseReason::Gone => 1006,
            CloseReason::Protocol(error) => error.close_code(),
            CloseReason::Disconnect(disconnect) => disconnect.code(),
            CloseReason::Application(code) => code,
            CloseReason::Normal => 1000,
            CloseReason::Unsupported => 1003,
            CloseReason::Internal => 1011,
        }
    }

    /// The text of the close frame. Client SDKs look at a code only if there is one.
    pub fn text(self) -> &'static str {
        match self {
            CloseReason::Peer(_) | CloseReason::Gone | CloseReason::Normal => "",
            CloseReason::Protocol(error) => error.reason(),
            CloseReason::Disconnect(disconnect) => disconnect.reason(),
            CloseReason::Application(_) => Disconnect::ForceDisconnect.reason(),
            CloseReason::Unsupported => "unsupported data",
            CloseReason::Internal => "internal error",
        }
    }

    /// Whether what waits to be written is dropped instead of written before the close frame.
    pub fn drops_backlog(self) -> bool {
        match self {
            CloseReason::Disconnect(disconnect) => !disconnect.flushes_queue(),
            CloseReason::Application(code) => {
                Disconnect::ALL.iter().any(|known| known.code() == code && !known.flushes_queue())
            }
            _ => false,
        }
    }
}
