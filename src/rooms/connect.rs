//! The connect and refresh commands: who a connection is, and until when.

use crate::conn::Key;
use crate::protocol::request::ConnectRequest;
use crate::protocol::{ConnectionClaims, Disconnect, ErrorCode, SubOptions, TokenError, reply};
use crate::rooms::peer::{CONNECTED, REFUSED};
use crate::rooms::{Failure, Peer, Rooms};
use crate::shard::Io;

impl Rooms {
    pub(super) fn connect(
        &mut self,
        io: &mut Io<Peer>,
        key: Key,
        id: u32,
        request: &ConnectRequest<'_>,
    ) -> Result<(), Failure> {
        if io.peer(key).has(CONNECTED) {
            return Err(Disconnect::BadRequest.into());
        }
        let result = self.admit(io, key, id, request);
        if matches!(result, Err(Failure::Error(_))) {
            // The client is expected to close; if it does not, it is stale before long.
            io.peer(key).flags |= REFUSED;
        }
        result
    }

    fn admit(
        &mut self,
        io: &mut Io<Peer>,
        key: Key,
        id: u32,
        request: &ConnectRequest<'_>,
    ) -> Result<(), Failure> {
        let claims = self.identify(&request.token, io.unix_s())?;
        let ttl_s = ttl(claims.expires_at, io.unix_s())?;
        let planned = self.plan_server_side(&claims, request)?;
        let settings = &self.shared.settings;
        let user = match claims.user.as_str() {
            "" => None,
            name => Some(
                self.shared
                    .users
                    .enter(name, settings.user_connection_limit)
                    .ok_or(Disconnect::ConnectionLimit)?,
            ),
        };
        let peer = io.peer(key);
        peer.user = user;
        peer.expires_at = unix_u32(claims.expires_at);
        peer.flags |= CONNECTED;
        if let Some(info) = claims.info {
            peer.more_mut().conn_info = Some(info);
        }
        if !claims.server_subs.is_empty() {
            let names = claims.server_subs.into_iter().map(|(name, _)| name.into_boxed_str());
            peer.more_mut().server_side = names.collect();
        }
        self.begin_connect(io, key, id, ttl_s, planned);
        Ok(())
    }

    /// Who a client with `token` is.
    fn identify(&self, token: &str, now_unix_s: i64) -> Result<ConnectionClaims, Failure> {
        if token.is_empty() {
            let settings = &self.shared.settings;
            return if settings.insecure || settings.allow_anonymous_connect_without_token {
                Ok(ConnectionClaims::default())
            } else {
                Err(Disconnect::BadRequest.into())
            };
        }
        let verifier = self.shared.connection_tokens.as_ref().ok_or(Disconnect::InvalidToken)?;
        verifier.connection(token, now_unix_s).map_err(|error| match error {
            TokenError::Invalid => Disconnect::InvalidToken.into(),
            TokenError::Expired => ErrorCode::TokenExpired.into(),
        })
    }

    pub(super) fn refresh(
        &mut self,
        io: &mut Io<Peer>,
        key: Key,
        id: u32,
        token: &str,
    ) -> Result<(), Failure> {
        if token.is_empty() {
            return Err(Disconnect::BadRequest.into());
        }
        let verifier = self.shared.connection_tokens.as_ref().ok_or(Disconnect::InvalidToken)?;
        let claims = verifier.connection(token, io.unix_s()).map_err(|error| match error {
            TokenError::Invalid => Disconnect::InvalidToken,
            TokenError::Expired => Disconnect::ConnectionExpired,
        })?;
        let ttl_s = ttl(claims.expires_at, io.unix_s()).map_err(|_| Disconnect::ConnectionExpired)?;
        if claims.user != io.peer(key).user_name() {
            return Err(Disconnect::InvalidToken.into());
        }
        if !lists_the_same(io.peer(key), &claims.server_subs) {
            return Err(Disconnect::InsufficientState.into());
        }
        let peer = io.peer(key);
        peer.expires_at = unix_u32(claims.expires_at);
        if claims.info.is_some() {
            peer.more_mut().conn_info = claims.info;
        }
        self.watch_expiry(io, key);
        self.reply(io, |out| reply::refresh(out, id, ttl_s));
        Ok(())
    }
}

/// Whether a new token lists the server-side subscriptions that the last one listed. What the client
/// still has of them does not count: it may have left one of them, which its application cannot know.
fn lists_the_same(peer: &Peer, subs: &[(String, SubOptions)]) -> bool {
    let last = peer.more.iter().flat_map(|more| &more.server_side);
    last.map(|name| &**name).eq(subs.iter().map(|(name, _)| name.as_str()))
}

/// Seconds until `expires_at`; `None` if it never comes.
///
/// # Errors
///
/// 110: it has come already.
pub(super) fn ttl(expires_at: Option<i64>, now_unix_s: i64) -> Result<Option<u32>, ErrorCode> {
    let Some(expires_at) = expires_at else { return Ok(None) };
    if expires_at <= now_unix_s {
        return Err(ErrorCode::Expired);
    }
    Ok(Some(u32::try_from(expires_at - now_unix_s).unwrap_or(u32::MAX)))
}

/// An expiry as a peer keeps it: 0 for never. A time after 2106 counts as 2106.
pub(super) fn unix_u32(expires_at: Option<i64>) -> u32 {
    expires_at.map_or(0, |at| u32::try_from(at.max(1)).unwrap_or(u32::MAX))
}
