//! The three families of numbers that the protocol answers with: errors, disconnects, unsubscribes.
//!
//! The numbers are advice that the official SDKs act on, so they are as fixed as a wire format:
//! an SDK retries after a temporary error, reconnects below 3500 and resubscribes from 2500 on.
//! Source: PROTOCOL.md, "Codes".
//!
//! Absent on purpose: codes of an application (errors 400 to 1999, closes 4000 to 4999). They
//! arrive as plain numbers through the HTTP API.

/// Why one command failed; the connection goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u16)]
pub enum ErrorCode {
    /// The server failed; the same command may work later.
    Internal = 100,
    /// No valid credentials.
    Unauthorized = 101,
    /// The channel's namespace does not exist.
    UnknownChannel = 102,
    /// The user may not do this.
    PermissionDenied = 103,
    /// No such method.
    MethodNotFound = 104,
    /// The connection is subscribed to the channel, by its own command or by the server.
    AlreadySubscribed = 105,
    /// The connection has as many subscriptions as it may have.
    LimitExceeded = 106,
    /// The command is well-formed and makes no sense: a name too long, no data.
    BadRequest = 107,
    /// The feature is off for this channel or this server.
    NotAvailable = 108,
    /// The token's time is over (or has not come); the SDK fetches another and tries again.
    TokenExpired = 109,
    /// What was asked for has expired.
    Expired = 110,
    /// Too many commands; later is better.
    TooManyRequests = 111,
    /// The history no longer holds the asked position, or the epoch is another.
    UnrecoverablePosition = 112,
    /// Two pages of one channel were asked for at once.
    ConcurrentPagination = 113,
}

impl ErrorCode {
    /// Every error, in ascending order.
    pub const ALL: [ErrorCode; 14] = [
        ErrorCode::Internal,
        ErrorCode::Unauthorized,
        ErrorCode::UnknownChannel,
        ErrorCode::PermissionDenied,
        ErrorCode::MethodNotFound,
        ErrorCode::AlreadySubscribed,
        ErrorCode::LimitExceeded,
        ErrorCode::BadRequest,
        ErrorCode::NotAvailable,
        ErrorCode::TokenExpired,
        ErrorCode::Expired,
        ErrorCode::TooManyRequests,
        ErrorCode::UnrecoverablePosition,
        ErrorCode::ConcurrentPagination,
    ];

    /// The number on the wire.
    pub const fn code(self) -> u16 {
        self as u16
    }

    /// The text on the wire: plain ASCII words that need no JSON escape.
    pub const fn message(self) -> &'static str {
        match self {
            ErrorCode::Internal => "internal server error",
            ErrorCode::Unauthorized => "unauthorized",
            ErrorCode::UnknownChannel => "unknown channel",
            ErrorCode::PermissionDenied => "permission denied",
            ErrorCode::MethodNotFound => "method not found",
            ErrorCode::AlreadySubscribed => "already subscribed",
            ErrorCode::LimitExceeded => "limit exceeded",
            ErrorCode::BadRequest => "bad request",
            ErrorCode::NotAvailable => "not available",
            ErrorCode::TokenExpired => "token expired",
            ErrorCode::Expired => "expired",
            ErrorCode::TooManyRequests => "too many requests",
            ErrorCode::UnrecoverablePosition => "unrecoverable position",
            ErrorCode::ConcurrentPagination => "concurrent pagination",
        }
    }

    /// Whether an SDK may try the same command again after a pause.
    pub const fn temporary(self) -> bool {
        matches!(self, ErrorCode::Internal | ErrorCode::TooManyRequests | ErrorCode::ConcurrentPagination)
    }
}

/// Why the server ends a connection: the code and the reason of its WebSocket close frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u16)]
pub enum Disconnect {
    /// The connection is over; no advice.
    ConnectionClosed = 3000,
    /// The server drains; the client finds another.
    Shutdown = 3001,
    /// The server failed.
    Internal = 3004,
    /// The connection token's time ran out and no refresh came.
    ConnectionExpired = 3005,
    /// A server-side subscription's time ran out.
    SubscriptionExpired = 3006,
    /// The client reads more slowly than its rooms publish.
    Slow = 3008,
    /// The socket did not take a write in time.
    WriteError = 3009,
    /// The client's stream position does not fit the server's.
    InsufficientState = 3010,
    /// The client is to connect anew.
    ForceReconnect = 3011,
    /// A ping was not answered in time.
    NoPong = 3012,
    /// Too many commands.
    TooManyRequests = 3013,
    /// What the client knows is void; it starts from nothing.
    StateInvalidated = 3014,
    /// A token is not ours, or is for something else.
    InvalidToken = 3500,
    /// The client broke the protocol.
    BadRequest = 3501,
    /// No connect command came in time.
    Stale = 3502,
    /// The application threw the client out.
    ForceDisconnect = 3503,
    /// The user has as many connections as allowed.
    ConnectionLimit = 3504,
    /// The token lists more channels than a connection may have.
    ChannelLimit = 3505,
    /// The payload does not fit the connection's encoding.
    InappropriateProtocol = 3506,
    /// The user may not connect.
    PermissionDenied = 3507,
    /// The feature is not here, and asking again will not help.
    NotAvailable = 3508,
    /// Too many failed commands.
    TooManyErrors = 3509,
}

impl Disconnect {
    /// Every disconnect, in ascending order.
    pub const ALL: [Disconnect; 22] = [
        Disconnect::ConnectionClosed,
        Disconnect::Shutdown,
        Disconnect::Internal,
        Disconnect::ConnectionExpired,
        Disconnect::SubscriptionExpired,
        Disconnect::Slow,
        Disconnect::WriteError,
        Disconnect::InsufficientState,
        Disconnect::ForceReconnect,
        Disconnect::NoPong,
        Disconnect::TooManyRequests,
        Disconnect::StateInvalidated,
        Disconnect::InvalidToken,
        Disconnect::BadRequest,
        Disconnect::Stale,
        Disconnect::ForceDisconnect,
        Disconnect::ConnectionLimit,
        Disconnect::ChannelLimit,
        Disconnect::InappropriateProtocol,
        Disconnect::PermissionDenied,
        Disconnect::NotAvailable,
        Disconnect::TooManyErrors,
    ];

    /// The close code of the WebSocket close frame.
    pub const fn code(self) -> u16 {
        self as u16
    }

    /// The reason of the WebSocket close frame.
    ///
    /// Never empty and never valid JSON: with an empty reason centrifuge-js reconnects for ever
    /// after a terminal code, and a reason that parses as JSON is read as advice of an old protocol.
    pub const fn reason(self) -> &'static str {
        match self {
            Disconnect::ConnectionClosed => "connection closed",
            Disconnect::Shutdown => "shutdown",
            Disconnect::Internal => "internal server error",
            Disconnect::ConnectionExpired => "connection expired",
            Disconnect::SubscriptionExpired => "subscription expired",
            Disconnect::Slow => "slow",
            Disconnect::WriteError => "write error",
            Disconnect::InsufficientState => "insufficient state",
            Disconnect::ForceReconnect => "force reconnect",
            Disconnect::NoPong => "no pong",
            Disconnect::TooManyRequests => "too many requests",
            Disconnect::StateInvalidated => "state invalidated",
            Disconnect::InvalidToken => "invalid token",
            Disconnect::BadRequest => "bad request",
            Disconnect::Stale => "stale",
            Disconnect::ForceDisconnect => "force disconnect",
            Disconnect::ConnectionLimit => "connection limit",
            Disconnect::ChannelLimit => "channel limit",
            Disconnect::InappropriateProtocol => "inappropriate protocol",
            Disconnect::PermissionDenied => "permission denied",
            Disconnect::NotAvailable => "not available",
            Disconnect::TooManyErrors => "too many errors",
        }
    }

    /// Whether what is queued is sent before the close frame. What a slow client or a stuck socket
    /// could not take it will not take now, and after a plain close nobody reads: it is dropped.
    pub const fn flushes_queue(self) -> bool {
        !matches!(self, Disconnect::ConnectionClosed | Disconnect::Slow | Disconnect::WriteError)
    }
}

/// Why the server ends one subscription; the connection goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u16)]
pub enum Unsubscribe {
    /// The application ended it; the SDK stays unsubscribed.
    Server = 2000,
    /// Messages were lost on the way; the SDK subscribes again and recovers.
    InsufficientState = 2500,
    /// The subscription token's time ran out; the SDK subscribes again.
    Expired = 2501,
    /// The SDK drops its token and its position, then subscribes again.
    StateInvalidated = 2502,
}

impl Unsubscribe {
    /// Every unsubscribe, in ascending order.
    pub const ALL: [Unsubscribe; 4] = [
        Unsubscribe::Server,
        Unsubscribe::InsufficientState,
        Unsubscribe::Expired,
        Unsubscribe::StateInvalidated,
    ];

    /// The number on the wire.
    pub const fn code(self) -> u16 {
        self as u16
    }

    /// The text on the wire: plain ASCII words that need no JSON escape.
    pub const fn reason(self) -> &'static str {
        match self {
            Unsubscribe::Server => "server unsubscribe",
            Unsubscribe::InsufficientState => "insufficient state",
            Unsubscribe::Expired => "subscription expired",
            Unsubscribe::StateInvalidated => "state invalidated",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::CLOSE_REASON_BYTES_MAX;

    fn needs_no_escape(text: &str) -> bool {
        text.bytes().all(|byte| byte == b' ' || byte.is_ascii_lowercase())
    }

    #[test]
    fn error_codes_run_from_100_to_113_and_three_are_temporary() {
        let codes: Vec<u16> = ErrorCode::ALL.iter().map(|error| error.code()).collect();
        assert_eq!(codes, (100..=113).collect::<Vec<u16>>());
        let temporary: Vec<u16> = ErrorCode::ALL.iter().filter(|e| e.temporary()).map(|e| e.code()).collect();
        assert_eq!(temporary, [100, 111, 113]);
        assert!(ErrorCode::ALL.iter().all(|error| needs_no_escape(error.message())));
    }

    #[test]
    fn a_close_reason_is_words_that_are_not_json_and_fit_a_close_frame() {
        for disconnect in Disconnect::ALL {
            let reason = disconnect.reason();
            assert!(!reason.is_empty() && reason.len() <= CLOSE_REASON_BYTES_MAX, "{disconnect:?}");
            assert!(needs_no_escape(reason), "{disconnect:?}");
            assert!(serde_json::from_str::<serde_json::Value>(reason).is_err(), "{disconnect:?}");
        }
    }

    #[test]
    fn disconnects_are_listed_once_each_in_order() {
        assert!(Disconnect::ALL.windows(2).all(|pair| pair[0].code() < pair[1].code()));
    }

    #[test]
    fn only_plain_closes_slow_clients_and_stuck_sockets_drop_the_queue() {
        let dropping: Vec<u16> =
            Disconnect::ALL.iter().filter(|d| !d.flushes_queue()).map(|d| d.code()).collect();
        assert_eq!(dropping, [3000, 3008, 3009]);
    }

    #[test]
    fn unsubscribe_codes_are_those_of_the_protocol() {
        assert_eq!(Unsubscribe::ALL.map(Unsubscribe::code), [2000, 2500, 2501, 2502]);
        assert!(Unsubscribe::ALL.iter().all(|unsubscribe| needs_no_escape(unsubscribe.reason())));
    }
}
