//! The reading half of a shard: bytes from sockets to upgrade requests, frames and messages.
//!
//! All connections are read into one buffer. A connection that fills it is read on in the next
//! turn, behind those that already wait, and so is everybody once a turn has read its share: a
//! flood of some is a queue that all go through, not a turn that never ends.
//!
//! Invariant: a connection's socket is read until it has no more, or the connection is in `more`;
//! readiness is edge-triggered and would not be told again.

use std::collections::{HashMap, VecDeque};
use std::io::ErrorKind;

use crate::conn::{CloseReason, ConnectionId, Event, Inbound, Key, Phase};
use crate::host;
use crate::shard::settings::Origins;
use crate::shard::{Io, Service, is_current};
use crate::wire::refusal::Fault;
use crate::wire::{Control, OpCode, Refusal, Request, origin, proxy, upgrade};

/// Size of the shared read buffer, and bytes read from one connection in one turn: as many of the
/// shortest commands as another connection's message should wait for.
const BUFFER_BYTES: usize = 32 * 1024;

/// Bytes read in one turn from all connections together.
const TURN_BYTES_MAX: usize = 1024 * 1024;

/// The reading half of a shard.
#[derive(Debug)]
pub(super) struct Reader {
    buffer: Box<[u8]>,
    /// Bytes that this turn may still read.
    budget_bytes: usize,
    /// Upgrade requests of which only a part has come.
    heads: HashMap<Key, Vec<u8>>,
    /// Connections that may have more to read, the longest waiting first.
    more: VecDeque<ConnectionId>,
}

impl Reader {
    pub(super) fn new() -> Self {
        Reader {
            buffer: vec![0; BUFFER_BYTES].into(),
            budget_bytes: 0,
            heads: HashMap::new(),
            more: VecDeque::new(),
        }
    }

    /// Whether connections wait to be read on.
    pub(super) fn has_more(&self) -> bool {
        !self.more.is_empty()
    }

    /// Begins a turn: reads on where the last one stopped.
    pub(super) fn begin<S: Service>(&mut self, io: &mut Io<S::Peer>, service: &mut S) {
        self.budget_bytes = TURN_BYTES_MAX;
        for _ in 0..self.more.len() {
            if self.budget_bytes == 0 {
                return;
            }
            let Some(id) = self.more.pop_front() else { return };
            if is_current(io, id) {
                io.connections[id.key as usize].reads_on = false;
                self.read(io, service, id, true);
            }
        }
    }

    /// Reads from `id` what there is, up to its share. With `to_the_end` a short read is not taken as
    /// proof that the socket is empty: the peer has closed its side, or more was known to be there.
    pub(super) fn read<S: Service>(
        &mut self,
        io: &mut Io<S::Peer>,
        service: &mut S,
        id: ConnectionId,
        to_the_end: bool,
    ) {
        let mut share_bytes = BUFFER_BYTES;
        while is_current(io, id) {
            let connection = &mut io.connections[id.key as usize];
            if connection.reads_on {
                return;
            }
            if share_bytes == 0 || self.budget_bytes == 0 {
                connection.reads_on = true;
                self.more.push_back(id);
                return;
            }
            match host::socket::receive(&connection.socket, &mut self.buffer) {
                Ok(0) => return io.finish(id.key),
                Ok(count) => {
                    share_bytes = share_bytes.saturating_sub(count);
                    self.budget_bytes = self.budget_bytes.saturating_sub(count);
                    self.take(io, service, id.key, count);
                    // With edge-triggered epoll a short read means that the socket is empty (epoll(7)).
                    if count < BUFFER_BYTES && !to_the_end {
                        return;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => io.fail(id.key),
            }
        }
    }

    /// Takes in the first `count` bytes of the buffer.
    fn take<S: Service>(&mut self, io: &mut Io<S::Peer>, service: &mut S, key: Key, count: usize) {
        match io.connections[key as usize].phase {
            Phase::Upgrading => self.upgrade(io, service, key, count),
            Phase::Open | Phase::Closing => frames(io, service, key, &mut self.buffer[..count]),
            // Nothing that comes now means anything; reading it lets the peer's close be seen.
            Phase::Finishing | Phase::Lingering | Phase::Dead => {}
        }
    }

    fn upgrade<S: Service>(&mut self, io: &mut Io<S::Peer>, service: &mut S, key: Key, count: usize) {
        let head = self.heads.remove(&key);
        let Some(mut head) = head else {
            // The usual case: the whole request in one read, straight from the shared buffer.
            match begin(io, service, key, &self.buffer[..count], true) {
                Head::Taken(taken) => frames(io, service, key, &mut self.buffer[taken..count]),
                // Only a PROXY header has come.
                Head::Lacking(from) if from == count => {}
                Head::Lacking(from) => drop(self.heads.insert(key, self.buffer[from..count].to_vec())),
            }
            return;
        };
        head.extend_from_slice(&self.buffer[..count]);
        match begin(io, service, key, &head, false) {
            Head::Taken(taken) => frames(io, service, key, &mut head[taken..]),
            Head::Lacking(from) if from == head.len() => {}
            Head::Lacking(from) => {
                head.drain(..from);
                self.heads.insert(key, head);
            }
        }
    }

    /// The deadline for the upgrade request of `key` has passed.
    pub(super) fn time_out<P>(&mut self, io: &mut Io<P>, key: Key) {
        self.heads.remove(&key);
        io.refuse(key, Refusal::Timeout);
    }

    /// Gives back memory that connections which are gone needed.
    pub(super) fn shrink(&mut self) {
        self.heads.shrink_to_fit();
        self.more.shrink_to_fit();
    }

    /// Frees what is kept for a connection that is gone.
    pub(super) fn forget(&mut self, key: Key) {
        self.heads.remove(&key);
    }
}

/// What became of the first bytes of a connection.
enum Head {
    /// It is open, or refused: so many bytes are done with.
    Taken(usize),
    /// More has to come. The bytes from here on are to be shown again with it.
    Lacking(usize),
}

/// Begins connection `key`, whose first bytes are `bytes`: a balancer's PROXY header, if there must be
/// one, and the upgrade request. `is_first` says that nothing was shown before.
fn begin<S: Service>(
    io: &mut Io<S::Peer>,
    service: &mut S,
    key: Key,
    bytes: &[u8],
    mut is_first: bool,
) -> Head {
    let mut request_at = 0;
    let Io { admission, settings, clock, .. } = io;
    if admission.is_unannounced(key) {
        match admission.announce(&settings.admission, key, bytes, clock) {
            Ok(None) => return Head::Lacking(0),
            Ok(Some(taken)) if taken == bytes.len() => return Head::Lacking(taken),
            Ok(Some(taken)) => (request_at, is_first) = (taken, true),
            Err(refusal) => {
                io.refuse(key, refusal);
                return Head::Taken(bytes.len());
            }
        }
    }
    // Once for each request, with its first bytes, so that one too many costs no more than reading those.
    if is_first && let Err(refusal) = admission.connect(&settings.admission, clock) {
        io.refuse(key, refusal);
        return Head::Taken(bytes.len());
    }
    match try_upgrade(io, service, key, &bytes[request_at..]) {
        Some(taken) => Head::Taken(request_at + taken),
        None => Head::Lacking(request_at),
    }
}

/// Upgrades connection `key` by the request at the front of `bytes`, or refuses it. Returns how many
/// bytes the request took (all of them if it was refused), `None` if it is not complete.
fn try_upgrade<S: Service>(io: &mut Io<S::Peer>, service: &mut S, key: Key, bytes: &[u8]) -> Option<usize> {
    let (request, taken) = match upgrade::parse(bytes) {
        Ok(None) => return None,
        Ok(Some(parsed)) => parsed,
        Err(Refusal::BadRequest(_)) if proxy::is_header(bytes) => {
            io.refuse(key, Refusal::BadRequest(Fault::ProxyUntrusted));
            return Some(bytes.len());
        }
        Err(refusal) => {
            io.refuse(key, refusal);
            return Some(bytes.len());
        }
    };
    if let Some(refusal) = refusal(io, &request) {
        io.refuse(key, refusal);
        return Some(bytes.len());
    }
    let protocol = upgrade::select_protocol(&request, io.settings.subprotocols);
    io.answer_upgrade(key, |out| upgrade::write_response(out, request.key, protocol));
    io.wheel.cancel(key);
    io.connections[key as usize].phase = Phase::Open;
    io.stats.upgrades.add(1);
    service.opened(io, key, &request);
    Some(taken)
}

fn refusal<P>(io: &Io<P>, request: &Request<'_>) -> Option<Refusal> {
    if !io.settings.path.is_empty() && request.path != io.settings.path {
        return Some(Refusal::NotFound);
    }
    let allowed = match (request.origin, &io.settings.origins) {
        (None, _) => true,
        (Some(page), Origins::Matching(patterns)) => origin::origin_allowed(page, patterns),
        (Some(page), Origins::Loopback) => origin::is_loopback_origin(page),
    };
    (!allowed).then_some(Refusal::Origin)
}

/// Decodes `bytes` and hands what they hold to the service.
fn frames<S: Service>(io: &mut Io<S::Peer>, service: &mut S, key: Key, bytes: &mut [u8]) {
    // Out of the slab while the service may use it, and back afterwards. The connection cannot
    // go away meanwhile: slots are freed at the end of the turn.
    let mut inbound = std::mem::take(&mut io.connections[key as usize].inbound);
    let mut rest = bytes;
    loop {
        match io.connections[key as usize].phase {
            Phase::Open => match inbound.next(rest, io.settings.message_bytes_max) {
                Ok((taken, event)) => {
                    let Some(event) = event else { break };
                    dispatch(io, service, key, event);
                    rest = &mut rest[taken..];
                }
                Err(error) => io.close(key, CloseReason::Protocol(error)),
            },
            Phase::Closing => match inbound.next(rest, io.settings.message_bytes_max) {
                // The peer answered our close frame, or breaks the protocol while we close.
                Ok((_, Some(Event::Close { .. }))) | Err(_) => io.finish(key),
                Ok((_, None)) => break,
                Ok((taken, Some(_))) => rest = &mut rest[taken..],
            },
            _ => {
                inbound = Inbound::default();
                break;
            }
        }
    }
    inbound.settle();
    io.connections[key as usize].inbound = inbound;
}

fn dispatch<S: Service>(io: &mut Io<S::Peer>, service: &mut S, key: Key, event: Event<'_>) {
    match event {
        Event::Message { text, payload } => {
            io.stats.messages_in.add(1);
            service.message(io, key, text, payload);
        }
        Event::Ping(payload) => io.send(key, OpCode::Control(Control::Pong), payload),
        Event::Pong(_) => service.pong(io, key),
        Event::Close { code, .. } => io.close(key, CloseReason::Peer(code.unwrap_or(1005))),
    }
}
