//! The way into a shard from other threads: a lock-free queue and a waker.
//!
//! `Sender::push` queues and `Sender::wake` wakes: whoever has several messages wakes once, and a
//! shard that was woken and has not looked yet is not woken again.
//!
//! Invariants:
//! - messages of one sender arrive in the order they were pushed;
//! - a message pushed before a `wake` is seen by the turn which that wake starts, or an earlier one.
//!
//! Absent on purpose: a bound. A shard never blocks, so its inbox cannot refuse what is already
//! accepted; publishers ask `is_full` before they accept a message.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crossbeam_queue::SegQueue;
use mio::Waker;

#[derive(Debug)]
struct Shared<T> {
    queue: SegQueue<(T, usize)>,
    /// Bytes of all queued messages, as their senders gave them.
    bytes: AtomicUsize,
    bytes_max: usize,
    /// The shard was woken and has not begun to look.
    woken: AtomicBool,
    waker: Waker,
}

/// The end that other threads hold.
#[derive(Debug)]
pub struct Sender<T>(Arc<Shared<T>>);

/// The shard's own end.
#[derive(Debug)]
pub struct Receiver<T>(Arc<Shared<T>>);

/// An inbox that wakes its shard through `waker` and calls itself full at `bytes_max`.
pub fn inbox<T>(waker: Waker, bytes_max: usize) -> (Sender<T>, Receiver<T>) {
    let shared = Arc::new(Shared {
        queue: SegQueue::new(),
        bytes: AtomicUsize::new(0),
        bytes_max,
        woken: AtomicBool::new(false),
        waker,
    });
    (Sender(Arc::clone(&shared)), Receiver(shared))
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Sender(Arc::clone(&self.0))
    }
}

impl<T> Sender<T> {
    /// Queues `message`, which keeps about `bytes` of memory while it waits. Does not wake.
    pub fn push(&self, message: T, bytes: usize) {
        self.0.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.0.queue.push((message, bytes));
    }

    /// Makes the shard look into its inbox.
    ///
    /// # Panics
    ///
    /// If the shard's eventfd is gone, which is a broken invariant: it lives as long as the process.
    pub fn wake(&self) {
        if !self.0.woken.swap(true, Ordering::AcqRel) {
            self.0.waker.wake().expect("the shard's eventfd is open while the shard runs");
        }
    }

    /// Whether so much waits that publishers should be refused.
    pub fn is_full(&self) -> bool {
        self.0.bytes.load(Ordering::Relaxed) >= self.0.bytes_max
    }
}

impl<T> Receiver<T> {
    /// Called when the waker fired, before the inbox is read: later pushes wake again.
    pub fn begin(&self) {
        // A swap, not a store: it reads what the last sender wrote and so sees that sender's push.
        self.0.woken.swap(false, Ordering::AcqRel);
    }

    /// The next message, if one is there.
    pub fn pop(&self) -> Option<T> {
        let (message, bytes) = self.0.queue.pop()?;
        self.0.bytes.fetch_sub(bytes, Ordering::Relaxed);
        Some(message)
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.0.queue.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mio::{Events, Poll, Token};
    use std::time::Duration;

    fn woken(poll: &mut Poll) -> bool {
        let mut events = Events::with_capacity(8);
        poll.poll(&mut events, Some(Duration::ZERO)).unwrap();
        !events.is_empty()
    }

    #[test]
    fn a_batch_wakes_once_and_arrives_in_order() {
        let mut poll = Poll::new().unwrap();
        let (sender, receiver) = inbox(Waker::new(poll.registry(), Token(0)).unwrap(), 100);
        for message in 0..3 {
            sender.push(message, 10);
        }
        assert!(!woken(&mut poll), "a push alone must not wake");
        sender.wake();
        sender.wake();
        assert!(woken(&mut poll));
        receiver.begin();
        assert_eq!(std::iter::from_fn(|| receiver.pop()).collect::<Vec<_>>(), [0, 1, 2]);
        assert!(!woken(&mut poll));
        sender.push(3, 10);
        sender.wake();
        assert!(woken(&mut poll), "after begin a push wakes again");
    }

    #[test]
    fn it_is_full_by_bytes_and_empties_as_it_is_read() {
        let poll = Poll::new().unwrap();
        let (sender, receiver) = inbox(Waker::new(poll.registry(), Token(0)).unwrap(), 20);
        sender.push((), 10);
        assert!(!sender.is_full());
        sender.push((), 10);
        assert!(sender.is_full());
        receiver.pop();
        assert!(!sender.is_full());
    }
}
