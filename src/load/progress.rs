//! Waiting for a fleet, with one plain line on stderr per second so that a long run is seen to move.

use std::sync::atomic::Ordering::SeqCst;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use super::fleet::{Fleet, Notice};
use super::report::number;

/// Between two lines.
const LINE_EVERY: Duration = Duration::from_secs(1);
/// Between two points of a timeline.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Seconds without any progress after which waiting is given up.
const STALLED_LINES: u32 = 10;

/// How a wait ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waited {
    /// What was waited for has come.
    Done,
    /// Nothing moved for ten seconds.
    Stalled,
    /// The user asked to stop.
    Interrupted,
}

/// Waits until every connection of `fleet` is whole or failed.
pub fn until_open(fleet: &Fleet, notices: &Receiver<Notice>, connections: u64) -> Waited {
    let mut opened = 0;
    let started = Instant::now();
    let mut before = 0;
    wait(
        notices,
        |notice| {
            opened += usize::from(*notice == Notice::Opened);
            opened == fleet.threads()
        },
        || {
            let (whole, failed) = (fleet.counters.whole.load(SeqCst), fleet.counters.failed.load(SeqCst));
            let rate = (whole + failed - before) as f64 / LINE_EVERY.as_secs_f64();
            eprintln!(
                "{:>4.0} s  {} of {} connections whole, {} failed, {}/s",
                started.elapsed().as_secs_f64(),
                number(whole as f64, 0),
                number(connections as f64, 0),
                number(failed as f64, 0),
                number(rate, 0)
            );
            let moved = whole + failed != before;
            before = whole + failed;
            moved
        },
    )
}

/// Waits until the `connections` of `fleet` that dropped are back; adds (seconds, how many are back) to
/// `timeline` as often as it looks.
pub fn until_back(
    fleet: &Fleet,
    notices: &Receiver<Notice>,
    connections: u64,
    timeline: &mut Vec<(f64, u64)>,
) -> Waited {
    let (started, mut opened, mut moved) = (Instant::now(), 0, Instant::now());
    let mut next_line = started + LINE_EVERY;
    loop {
        let back = fleet.counters.back.load(SeqCst);
        let seconds = started.elapsed().as_secs_f64();
        if timeline.last().is_none_or(|(_, before)| *before != back) {
            moved = Instant::now();
            timeline.push((seconds, back));
        }
        if Instant::now() >= next_line {
            next_line += LINE_EVERY;
            let failed = fleet.counters.failed_tries.load(SeqCst);
            eprintln!("{seconds:>4.0} s  {back} of {connections} back, {failed} tries failed");
        }
        match notices.recv_timeout(LOOK_EVERY) {
            Ok(Notice::Interrupted) | Err(RecvTimeoutError::Disconnected) => return Waited::Interrupted,
            Ok(Notice::Opened) => {
                opened += 1;
                if opened == fleet.threads() {
                    timeline.push((started.elapsed().as_secs_f64(), fleet.counters.back.load(SeqCst)));
                    return Waited::Done;
                }
            }
            Ok(Notice::Drained) => {}
            Err(RecvTimeoutError::Timeout) if moved.elapsed() > STALLED_LINES * LINE_EVERY => {
                return Waited::Stalled;
            }
            Err(RecvTimeoutError::Timeout) => {}
        }
    }
}

/// Waits for `duration`, calling `line` every second; a `line` that returns false for ten seconds on
/// end ends the wait early.
pub fn for_a_while(notices: &Receiver<Notice>, duration: Duration, mut line: impl FnMut() -> bool) -> Waited {
    let end = Instant::now() + duration;
    let mut still = 0;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        match notices.recv_timeout(left.min(LINE_EVERY)) {
            Ok(Notice::Interrupted) | Err(RecvTimeoutError::Disconnected) => return Waited::Interrupted,
            Ok(_) => {}
            Err(RecvTimeoutError::Timeout) if left <= LINE_EVERY => return Waited::Done,
            Err(RecvTimeoutError::Timeout) => {
                still = if line() { 0 } else { still + 1 };
                if still == STALLED_LINES {
                    return Waited::Stalled;
                }
            }
        }
    }
}

/// Waits for the notice that `done` accepts, calling `line` every second.
pub fn wait(
    notices: &Receiver<Notice>,
    mut done: impl FnMut(&Notice) -> bool,
    mut line: impl FnMut() -> bool,
) -> Waited {
    let mut next_line = Instant::now() + LINE_EVERY;
    let mut still = 0;
    loop {
        match notices.recv_timeout(next_line.saturating_duration_since(Instant::now())) {
            Ok(Notice::Interrupted) | Err(RecvTimeoutError::Disconnected) => return Waited::Interrupted,
            Ok(notice) if done(&notice) => return Waited::Done,
            Ok(_) => {}
            Err(RecvTimeoutError::Timeout) => {
                next_line += LINE_EVERY;
                still = if line() { 0 } else { still + 1 };
                if still == STALLED_LINES {
                    return Waited::Stalled;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn a_wait_ends_at_its_notice_and_passes_over_the_others() {
        let (sender, notices) = mpsc::channel();
        sender.send(Notice::Opened).unwrap();
        sender.send(Notice::Drained).unwrap();
        assert_eq!(wait(&notices, |notice| *notice == Notice::Drained, || true), Waited::Done);
    }

    #[test]
    fn an_interruption_ends_every_wait_at_once() {
        let (sender, notices) = mpsc::channel();
        for _ in 0..2 {
            sender.send(Notice::Interrupted).unwrap();
        }
        assert_eq!(wait(&notices, |_| false, || true), Waited::Interrupted);
        assert_eq!(for_a_while(&notices, Duration::MAX / 4, || true), Waited::Interrupted);
    }
}
