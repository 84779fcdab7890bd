//! A shard's inbox: batches of relayed publications, from the same thread and from another.

use std::hint::black_box;
use std::sync::LazyLock;
use std::thread;
use std::time::Instant;

use bytes::Bytes;
use mio::{Poll, Token, Waker};
use throng::hub::RoomId;
use throng::rooms::{Audience, Event};
use throng::shard::inbox::{Receiver, Sender, inbox};
use throng::shard::message::Message;

use crate::bench::{Bench, count_here, elements};

/// What a relayed publication is counted with; any number does.
const PUSH_BYTES: usize = 64;

type Ends = (Sender<Message<Event>>, Receiver<Message<Event>>);

/// An inbox and the poll that it would wake.
fn open() -> (Poll, Ends) {
    let poll = Poll::new().expect("an epoll instance");
    let waker = Waker::new(poll.registry(), Token(0)).expect("an eventfd");
    (poll, inbox(waker, 1 << 20))
}

/// When all of them were published.
static SINCE: LazyLock<Instant> = LazyLock::new(Instant::now);

/// A publication that another shard is told of. All of these tests share one set of bytes, as shards do
/// that are told of the same publication.
fn message(room: RoomId, pushes: &Bytes) -> Message<Event> {
    let pushes = pushes.clone();
    let audience = Audience::Everyone;
    // A shard looks at the clock once a turn, not for each.
    let since = *SINCE;
    Message::Service(Event::Published {
        room,
        audience,
        excluded: None,
        pushes,
        messages: 1,
        first: 0,
        since,
    })
}

/// Takes `count` messages, waiting for those that are not there yet.
fn take(receiver: &Receiver<Message<Event>>, count: usize) {
    for _ in 0..count {
        loop {
            if let Some(message) = receiver.pop() {
                drop(black_box(message));
                break;
            }
            std::hint::spin_loop();
        }
    }
}

/// Runs the benches of this noun.
pub fn run(bench: &mut Bench) {
    let pushes = Bytes::from(vec![b'x'; PUSH_BYTES]);
    let room = throng::hub::Directory::new(1).enter("room", 0, 0).id;
    for batch in [1, 16, 256] {
        let (_poll, ends) = open();
        bench.work(
            "inbox",
            format!("push and drain {batch}"),
            elements(batch),
            ends,
            |(sender, receiver)| {
                (0..batch).for_each(|_| sender.push(message(room, &pushes), PUSH_BYTES));
                take(receiver, batch);
            },
        );
    }
    let (_poll, ends) = open();
    bench.work("inbox", "wake (one write to an eventfd)", None, ends, |(sender, receiver)| {
        sender.wake();
        receiver.begin();
    });
    for batch in [1, 16, 256] {
        let name = format!("push {batch} in one thread and drain in another");
        let (_poll, (sender, receiver)) = open();
        bench.custom("inbox", name, elements(batch), |iterations, is_counted| {
            thread::scope(|scope| {
                let start = Instant::now();
                scope.spawn(|| {
                    count_here(is_counted);
                    for _ in 0..iterations {
                        (0..batch).for_each(|_| sender.push(message(room, &pushes), PUSH_BYTES));
                    }
                });
                count_here(is_counted);
                (0..iterations).for_each(|_| take(&receiver, batch));
                count_here(false);
                start.elapsed()
            })
        });
    }
}
