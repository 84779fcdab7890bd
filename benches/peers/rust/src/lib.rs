//! What both servers have in common: the raw protocol, who is in which room, and the listener.
//!
//! A room is a map of its members' queues behind one lock, as in tokio-tungstenite's own chat example,
//! but bounded: a member whose queue is full is too slow and loses its connection, so no member can
//! make the server's memory grow. A message is shared, not copied, by all queues it stands in.
//!
//! Invariants:
//! - a room's lock is held while a message enters all of its queues, so all members see one order;
//! - a [`Membership`] that is dropped has left all its rooms.

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::{Notify, mpsc};

/// Messages that wait for one member before it counts as too slow: a burst that a publisher's task brings
/// before the scheduler lets members' tasks run is not their fault. The queue grows only as it fills.
const QUEUE_MESSAGES_MAX: usize = 16 * 1_024;

/// Connections that wait to be accepted. `TcpListener::bind` takes 128, and what a storm brings beyond
/// that tries again a second later.
const BACKLOG: u32 = 4_096;

/// What a client's text asks for.
#[derive(Debug, PartialEq, Eq)]
pub enum Said {
    /// `join 0 1 2`: be a member of these rooms; to be answered [`JOINED`].
    Join(Vec<u64>),
    /// `ROOM PAYLOAD`: deliver the whole text to this room.
    Publish(u64),
    /// Neither.
    Nonsense,
}

/// The answer to a join.
pub const JOINED: &str = "joined";

/// Tells what `text` asks for.
pub fn parse(text: &str) -> Said {
    let (first, rest) = text.split_once(' ').unwrap_or((text, ""));
    if first == "join" {
        let rooms: Result<_, _> = rest.split_whitespace().map(str::parse).collect();
        return rooms.map_or(Said::Nonsense, Said::Join);
    }
    first.parse().map_or(Said::Nonsense, Said::Publish)
}

/// All rooms of a server whose messages are `M`.
pub struct Rooms<M> {
    rooms: RwLock<HashMap<u64, Arc<Room<M>>>>,
}

type Room<M> = Mutex<HashMap<u64, Member<M>>>;

struct Member<M> {
    queue: mpsc::Sender<M>,
    too_slow: Arc<Notify>,
}

impl<M> Default for Rooms<M> {
    fn default() -> Self {
        Self { rooms: RwLock::default() }
    }
}

impl<M: Clone> Rooms<M> {
    /// Puts `message` into the queue of every member of `room`; a full queue ends its member.
    pub fn publish(&self, room: u64, message: &M) {
        let rooms = self.rooms.read().unwrap_or_else(PoisonError::into_inner);
        let Some(members) = rooms.get(&room) else { return };
        lock(members).retain(|_, member| {
            let kept = member.queue.try_send(message.clone()).is_ok();
            if !kept {
                member.too_slow.notify_one();
            }
            kept
        });
    }
}

/// One connection's places in rooms.
pub struct Membership<M> {
    id: u64,
    all: Arc<Rooms<M>>,
    joined: Vec<Arc<Room<M>>>,
    queue: mpsc::Sender<M>,
    too_slow: Arc<Notify>,
}

impl<M> Membership<M> {
    /// A connection with the number `id` that is in no room yet, and the queue of its messages.
    pub fn new(id: u64, all: Arc<Rooms<M>>) -> (Self, mpsc::Receiver<M>) {
        let (queue, messages) = mpsc::channel(QUEUE_MESSAGES_MAX);
        (Self { id, all, joined: Vec::new(), queue, too_slow: Arc::default() }, messages)
    }

    /// Joins `rooms`, which begin to exist with their first member.
    pub fn join(&mut self, rooms: &[u64]) {
        for number in rooms {
            let mut all = self.all.rooms.write().unwrap_or_else(PoisonError::into_inner);
            let room = Arc::clone(all.entry(*number).or_default());
            drop(all);
            lock(&room)
                .insert(self.id, Member { queue: self.queue.clone(), too_slow: Arc::clone(&self.too_slow) });
            self.joined.push(room);
        }
    }

    /// What is notified once this member was too slow.
    pub fn too_slow(&self) -> Arc<Notify> {
        Arc::clone(&self.too_slow)
    }
}

impl<M> Drop for Membership<M> {
    fn drop(&mut self) {
        for room in &self.joined {
            lock(room).remove(&self.id);
        }
    }
}

fn lock<T>(room: &Mutex<T>) -> MutexGuard<'_, T> {
    room.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs a server: listens on 127.0.0.1 and PORT (environment; 0 or none for any free port), prints
/// `ready PORT PID`, and spawns `serve` with a number of its own for every connection.
///
/// The runtime is tokio's default of one worker per core. TCP_NODELAY is set.
///
/// # Errors
///
/// The runtime or the listener cannot be made.
pub fn run<F>(serve: impl Fn(TcpStream, u64) -> F) -> io::Result<()>
where
    F: Future<Output = ()> + Send + 'static,
{
    // A server may hold as many connections as the hard limit allows.
    rlimit::increase_nofile_limit(u64::MAX)?;
    let port = std::env::var("PORT").ok().and_then(|port| port.parse().ok()).unwrap_or(0);
    tokio::runtime::Builder::new_multi_thread().enable_io().build()?.block_on(async {
        let socket = TcpSocket::new_v4()?;
        socket.set_reuseaddr(true)?;
        socket.bind((Ipv4Addr::LOCALHOST, port).into())?;
        let listener = socket.listen(BACKLOG)?;
        println!("ready {} {}", listener.local_addr()?.port(), std::process::id());
        for id in 0.. {
            match listener.accept().await {
                Ok((stream, _)) => {
                    stream.set_nodelay(true)?;
                    tokio::spawn(serve(stream, id));
                }
                // One connection that could not be had (reset, no descriptor) is not the end.
                Err(error) => eprintln!("accept: {error}"),
            }
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_a_join_a_publish_or_nonsense() {
        assert_eq!(parse("join 0 1 2"), Said::Join(vec![0, 1, 2]));
        assert_eq!(parse("7 {\"seq\":\"1\"} x"), Said::Publish(7));
        assert_eq!(parse("join"), Said::Join(Vec::new()));
        assert_eq!(parse("join x"), Said::Nonsense);
        assert_eq!(parse("hello"), Said::Nonsense);
    }

    #[test]
    fn a_member_that_is_too_slow_is_told_and_left_out() {
        let all = Arc::new(Rooms::default());
        let (mut member, mut messages) = Membership::new(1, Arc::clone(&all));
        member.join(&[5]);
        for number in 0..=QUEUE_MESSAGES_MAX {
            all.publish(5, &number);
        }
        for number in 0..QUEUE_MESSAGES_MAX {
            assert_eq!(messages.try_recv(), Ok(number));
        }
        all.publish(5, &0);
        assert!(messages.try_recv().is_err());
    }

    #[test]
    fn who_leaves_gets_no_more() {
        let all = Arc::new(Rooms::default());
        let (mut member, mut messages) = Membership::new(1, Arc::clone(&all));
        member.join(&[5]);
        all.publish(5, &1);
        drop(member);
        all.publish(5, &2);
        assert_eq!(messages.try_recv(), Ok(1));
        assert_eq!(messages.try_recv(), Err(mpsc::error::TryRecvError::Disconnected));
    }
}
