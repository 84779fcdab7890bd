//! The committer against a store whose disk can be made to fail, and an outlet that writes down what
//! it is told.

use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use super::*;
use crate::hub::{RecoveryMode, Retention};
use crate::store::{Memory, Publication, Range, Request, Since, Stream, Version};

const ON_DISK: Retention =
    Retention { size: 100, ttl_ms: 60_000, meta_ttl_ms: 600_000, durability: crate::hub::Durability::Fsync };
const IN_MEMORY: Retention = Retention { durability: crate::hub::Durability::Memory, ..ON_DISK };

/// What the outlet is told, in one word each.
type Log = Arc<Mutex<Vec<String>>>;

struct Writer(Log);

impl Outlet for Writer {
    type Ticket = u32;

    fn published(&mut self, room: &str, position: Position, body: &Bytes, _since: Instant, ticket: u32) {
        let body = String::from_utf8_lossy(body);
        self.0.lock().unwrap().push(format!("{ticket}: {room} {} {body}", position.offset));
    }

    fn answered(&mut self, room: &str, ticket: u32, answer: Result<Answer, ErrorCode>) {
        let said = match answer {
            Ok(Answer::Subscribed { position, recovered, publications }) => {
                let missed: Vec<_> = publications.iter().map(|publication| publication.offset).collect();
                format!("at {} {recovered} {missed:?}", position.offset)
            }
            Ok(answer) => format!("{answer:?}"),
            Err(code) => format!("error {}", code.code()),
        };
        self.0.lock().unwrap().push(format!("{ticket}: {room} {said}"));
    }

    fn flush(&mut self) {
        self.0.lock().unwrap().push("flush".to_owned());
    }
}

/// A store in memory whose commits fail while `fails` is set. What was staged then stays, which
/// these tests do not look at.
struct Disk {
    memory: Memory,
    fails: Arc<AtomicBool>,
}

impl Store for Disk {
    fn position(&mut self, room: &str, keep: &Retention, now_ms: u64) -> Result<Position, StoreError> {
        self.memory.position(room, keep, now_ms)
    }

    fn peek(&mut self, room: &str, keep: &Retention, now_ms: u64) -> Result<Option<Position>, StoreError> {
        self.memory.peek(room, keep, now_ms)
    }

    fn append(
        &mut self,
        room: &str,
        keep: &Retention,
        now_ms: u64,
        body: &Bytes,
        version: Option<&Version>,
    ) -> Result<Option<Position>, StoreError> {
        self.memory.append(room, keep, now_ms, body, version)
    }

    fn read(
        &mut self,
        room: &str,
        keep: &Retention,
        now_ms: u64,
        range: Range,
    ) -> Result<Vec<Publication>, StoreError> {
        self.memory.read(room, keep, now_ms, range)
    }

    fn clear(&mut self, room: &str, keep: &Retention, now_ms: u64) -> Result<(), StoreError> {
        self.memory.clear(room, keep, now_ms)
    }

    fn cursor(&mut self, user: &str, room: &str) -> Result<Option<Position>, StoreError> {
        self.memory.cursor(user, room)
    }

    fn set_cursor(
        &mut self,
        user: &str,
        room: &str,
        keep: &Retention,
        cursor: Position,
    ) -> Result<(), StoreError> {
        self.memory.set_cursor(user, room, keep, cursor)
    }

    fn commit(&mut self) -> Result<(), StoreError> {
        if self.fails.load(Ordering::Relaxed) {
            return Err(StoreError::Io("the test says so".to_owned()));
        }
        self.memory.commit()
    }

    fn sweep(&mut self, now_ms: u64) -> Result<bool, StoreError> {
        self.memory.sweep(now_ms)
    }
}

/// A committer that has not started, so that everything asked is one round.
struct Bench {
    handle: Handle<u32>,
    committer: Committer<Writer>,
    fails: Arc<AtomicBool>,
    log: Log,
    asked: u32,
}

impl Bench {
    fn new(queue_bytes_max: usize, deadline: Duration) -> Self {
        let (handle, intake) = channel(queue_bytes_max);
        let (fails, log) = (Arc::new(AtomicBool::new(false)), Log::default());
        let disk = Disk { memory: Memory::new(1 << 20), fails: Arc::clone(&fails) };
        let writer = Writer(Arc::clone(&log));
        let memory = Box::new(Memory::new(1 << 20));
        let committer = Committer::new(intake, writer, memory, Box::new(disk), deadline);
        Bench { handle, committer, fails, log, asked: 0 }
    }

    fn ask(&mut self, ask: Ask) {
        self.asked += 1;
        assert!(self.handle.ask(ask, self.asked).is_ok());
    }

    /// Runs the committer until it has done what was asked; what its outlet was told.
    fn run(self) -> Vec<String> {
        self.handle.stop();
        self.committer.run();
        assert_eq!(self.handle.gauge().waiting_bytes(), 0, "what is done does not wait");
        Arc::try_unwrap(self.log).expect("the writer has gone").into_inner().unwrap()
    }
}

fn in_room(room: &str, keep: Retention, request: Request) -> Ask {
    Ask::Of(Stream { room: room.into(), keep }, request)
}

fn publish(room: &str, keep: Retention, body: &'static str) -> Ask {
    in_room(room, keep, Request::Publish { body: Bytes::from_static(body.as_bytes()), version: None })
}

fn recover(room: &str, offset: u64) -> Ask {
    let since = Some(Since { epoch: None, offset });
    in_room(
        room,
        ON_DISK,
        Request::Subscribe { since, mode: RecoveryMode::Stream, limit: 10, bytes_max: 1 << 20 },
    )
}

fn default_bench() -> Bench {
    Bench::new(1 << 20, Duration::from_secs(60))
}

#[test]
fn a_round_is_told_in_the_order_it_was_asked_and_numbers_have_no_holes() {
    let mut bench = default_bench();
    bench.ask(publish("a", ON_DISK, "x"));
    bench.ask(recover("a", 0));
    bench.ask(publish("b", ON_DISK, "y"));
    bench.ask(publish("a", ON_DISK, "z"));
    bench.ask(recover("a", 1));
    let told = bench.run();
    assert_eq!(
        told,
        ["1: a 1 x", "2: a at 1 true [1]", "3: b 1 y", "4: a 2 z", "5: a at 2 true [2]", "flush"]
    );
}

#[test]
fn of_a_round_whose_commit_failed_nobody_hears_anything_but_error_100() {
    let mut bench = default_bench();
    bench.fails.store(true, Ordering::Relaxed);
    bench.ask(publish("a", ON_DISK, "x"));
    bench.ask(recover("a", 0));
    bench.ask(publish("m", IN_MEMORY, "y"));
    let gauge = Arc::clone(bench.handle.gauge());
    assert_eq!(bench.run(), ["3: m 1 y", "flush", "1: a error 100", "2: a error 100", "flush"]);
    assert_eq!(gauge.failed_commits.load(Ordering::Relaxed), 1);
}

#[test]
fn what_waited_too_long_is_refused_and_not_done() {
    let mut bench = Bench::new(1 << 20, Duration::ZERO);
    bench.ask(publish("a", ON_DISK, "x"));
    let gauge = Arc::clone(bench.handle.gauge());
    assert_eq!(bench.run(), ["1: a error 100", "flush"]);
    assert_eq!(gauge.late.load(Ordering::Relaxed), 1);
}

#[test]
fn above_its_bound_nothing_is_taken_and_the_ticket_comes_back() {
    let mut bench = Bench::new(1, Duration::from_secs(60));
    bench.ask(publish("a", ON_DISK, "x"));
    assert_eq!(bench.handle.ask(publish("a", ON_DISK, "y"), 7), Err(7));
    assert_eq!(bench.run(), ["1: a 1 x", "flush"]);
}

#[test]
fn what_is_asked_after_the_end_is_refused() {
    let bench = default_bench();
    let handle = bench.handle.clone();
    bench.run();
    assert_eq!(handle.ask(publish("a", ON_DISK, "x"), 1), Err(1));
}

#[test]
fn a_cursor_moves_forward_only_and_not_beyond_the_end() {
    let read = |offset| in_room("a", ON_DISK, Request::Read { user: "ann".into(), offset });
    let mut bench = default_bench();
    for _ in 0..3 {
        bench.ask(publish("a", ON_DISK, "x"));
    }
    bench.ask(read(2));
    bench.ask(read(1));
    bench.ask(read(4));
    let streams = ["a", "b"].map(|room| Stream { room: room.into(), keep: ON_DISK }).into();
    bench.ask(Ask::Unread { streams, user: "ann".into() });
    let told = bench.run();
    assert_eq!(told[3..6], ["4: a Read(2)", "5: a Read(2)", "6: a error 107"]);
    assert_eq!(told[6], "7:  Unread([Unread { offset: 3, read: 2 }, Unread { offset: 0, read: 0 }])");
}

#[test]
fn history_of_another_epoch_is_error_112_and_of_none_the_position_only() {
    let history = |since, limit| {
        in_room("a", ON_DISK, Request::History { since, limit, bytes_max: 1 << 20, reverse: false })
    };
    let mut bench = default_bench();
    bench.ask(publish("a", ON_DISK, "x"));
    bench.ask(history(Some(Since::new("elsewher", 0)), 10));
    bench.ask(history(Some(Since::new("", 5)), 10));
    bench.ask(history(None, 0));
    let told = bench.run();
    assert_eq!(told[1], "2: a error 112");
    assert!(told[2].ends_with("publications: [] }"), "{}", told[2]);
    assert!(told[3].contains("offset: 1 }, publications: [] }"), "{}", told[3]);
}
