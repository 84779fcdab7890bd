//! Waiting for a fleet, so that a long run is seen to move: a bar with rate and ETA where stderr is a
//! terminal, one plain line per second where it is not.
//!
//! Invariant: whatever way a wait ends, its bar is gone before the caller prints anything.

use std::io::IsTerminal as _;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use super::fleet::{Fleet, Notice};
use super::report::timeline::SAMPLE_EVERY;
use super::report::{Timeline, number};

/// Between two lines.
const LINE_EVERY: Duration = Duration::from_secs(1);
/// Seconds without any progress after which waiting is given up.
const STALLED_LINES: u32 = 10;
/// The bar while a number of things is waited for. Messages are cut to the width of the terminal: a bar
/// that wraps could not be cleared.
const COUNTING: &str = "{bar:20.cyan/dim} {percent:>3} %  {rate}/s  ETA {eta}  {wide_msg}";
/// The bar while time passes.
const PASSING: &str = "{bar:20.cyan/dim} {left} left  {wide_msg}";
/// The bar while the end is not known.
const OPEN_ENDED: &str = "{spinner:.cyan} {elapsed}  {wide_msg}";

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

/// What is said once per second.
#[derive(Debug)]
pub struct Line {
    /// How things stand, without the time.
    pub text: String,
    /// They stand otherwise than a second ago. Ten lines on end that say no end the wait.
    pub moved: bool,
}

/// Waits until every connection of `fleet` is whole or failed. The timeline is of whole ones.
pub fn until_open(fleet: &Fleet, notices: &Receiver<Notice>, connections: u64) -> (Waited, Timeline) {
    let counters = &fleet.counters;
    let counts = || (counters.whole.load(SeqCst), counters.failed.load(SeqCst));
    let settled = |(whole, failed)| whole + failed;
    until_settled(fleet, notices, connections, &Notice::Opened, counts, settled, ["whole", "failed"])
}

/// Waits until the `connections` of `fleet` that dropped are back. The timeline is of those.
pub fn until_back(fleet: &Fleet, notices: &Receiver<Notice>, connections: u64) -> (Waited, Timeline) {
    let counters = &fleet.counters;
    let counts = || (counters.back.load(SeqCst), counters.failed_tries.load(SeqCst));
    // A try that failed is repeated, so it settles nothing.
    let settled = |(back, _)| back;
    until_settled(fleet, notices, connections, &Notice::Opened, counts, settled, ["back", "tries failed"])
}

/// Waits until the server has ended each of the `connections` of `fleet`. The timeline is of ended ones.
pub fn until_ended(fleet: &Fleet, notices: &Receiver<Notice>, connections: u64) -> (Waited, Timeline) {
    let counts = || {
        let ended = fleet.counters.dropped.load(SeqCst);
        (ended, connections.saturating_sub(ended))
    };
    until_settled(fleet, notices, connections, &Notice::Gone, counts, |(ended, _)| ended, ["ended", "open"])
}

/// Waits until every worker has said `last`. `counts` gives the good and the failed, `settled` how
/// many of `connections` that makes, `words` what both are called.
fn until_settled(
    fleet: &Fleet,
    notices: &Receiver<Notice>,
    connections: u64,
    last: &Notice,
    counts: impl Fn() -> (u64, u64),
    settled: impl Fn((u64, u64)) -> u64,
    words: [&str; 2],
) -> (Waited, Timeline) {
    let (mut said, mut before) = (0, 0);
    let started = Instant::now();
    let seconds = || started.elapsed().as_secs_f64();
    let mut timeline = Timeline::default();
    timeline.sample(0.0, 0);
    let display = Display::new(COUNTING, Some(connections));
    let text = || {
        let (good, failed) = counts();
        let [good, failed, all] = [good, failed, connections].map(|count: u64| number(count as f64, 0));
        format!("{good} of {all} {}, {failed} {}", words[0], words[1])
    };
    let waited = Waiting { notices, display: &display, end: None }.run(
        |notice| {
            said += usize::from(notice == last);
            said == fleet.threads()
        },
        || {
            timeline.sample(seconds(), counts().0);
            display.say(text);
            display.set(settled(counts()));
        },
        || {
            let now = settled(counts());
            let moved = now - before;
            before = now;
            let rate =
                if display.is_bar() { String::new() } else { format!(", {}/s", number(moved as f64, 0)) };
            Line { text: text() + &rate, moved: moved > 0 }
        },
    );
    timeline.end(seconds(), counts().0);
    (waited, timeline)
}

/// Waits for `duration`, saying `line` every second; ten on end that did not move end the wait early.
pub fn for_a_while(notices: &Receiver<Notice>, duration: Duration, line: impl FnMut() -> Line) -> Waited {
    let (waited, _) = counting(notices, duration, || 0, line);
    waited
}

/// Waits until `done`, which is asked every `look`, saying `line` every second; ten on end that did not move end
/// the wait.
pub fn until(
    notices: &Receiver<Notice>,
    look: Duration,
    done: impl Fn() -> bool,
    mut line: impl FnMut() -> Line,
) -> Waited {
    let display = Display::new(OPEN_ENDED, None);
    let (started, mut still) = (Instant::now(), 0);
    let mut next_line = started + LINE_EVERY;
    while !done() {
        match notices.recv_timeout(look) {
            Ok(Notice::Interrupted) | Err(RecvTimeoutError::Disconnected) => return Waited::Interrupted,
            Ok(_) | Err(RecvTimeoutError::Timeout) => {}
        }
        display.turn();
        if Instant::now() >= next_line {
            next_line += LINE_EVERY;
            let line = line();
            display.line(started.elapsed(), &line.text);
            still = if line.moved { 0 } else { still + 1 };
            if still == STALLED_LINES {
                return Waited::Stalled;
            }
        }
    }
    Waited::Done
}

/// As [`for_a_while`]; the timeline is of what `count` gives, from 0 at the start.
pub fn counting(
    notices: &Receiver<Notice>,
    duration: Duration,
    count: impl Fn() -> u64,
    line: impl FnMut() -> Line,
) -> (Waited, Timeline) {
    let (first, mut timeline) = (count(), Timeline::default());
    timeline.sample(0.0, 0);
    let started = Instant::now();
    let length_ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let display = Display::new(PASSING, Some(length_ms));
    let tick = || {
        timeline.sample(started.elapsed().as_secs_f64(), count() - first);
        display.set(started.elapsed().as_millis() as u64);
    };
    let waited =
        Waiting { notices, display: &display, end: Some(started + duration) }.run(|_| false, tick, line);
    timeline.end(started.elapsed().as_secs_f64(), count() - first);
    (waited, timeline)
}

/// Waits for the notice that `done` accepts, saying `line` every second; ten on end that did not move
/// end the wait.
pub fn wait(
    notices: &Receiver<Notice>,
    done: impl FnMut(&Notice) -> bool,
    line: impl FnMut() -> Line,
) -> Waited {
    let display = Display::new(OPEN_ENDED, None);
    Waiting { notices, display: &display, end: None }.run(done, || display.turn(), line)
}

/// One wait.
struct Waiting<'a> {
    notices: &'a Receiver<Notice>,
    display: &'a Display,
    /// When it has lasted long enough.
    end: Option<Instant>,
}

impl Waiting<'_> {
    /// Calls `tick` ten times per second and `line` once, until the end, the notice that `done`
    /// accepts, an interruption or a stall.
    fn run(
        &self,
        mut done: impl FnMut(&Notice) -> bool,
        mut tick: impl FnMut(),
        mut line: impl FnMut() -> Line,
    ) -> Waited {
        let started = Instant::now();
        let (mut next_tick, mut next_line) = (started + SAMPLE_EVERY, started + LINE_EVERY);
        let mut still = 0;
        loop {
            let next = self.end.map_or(next_tick, |end| end.min(next_tick));
            match self.notices.recv_timeout(next.saturating_duration_since(Instant::now())) {
                Ok(Notice::Interrupted) | Err(RecvTimeoutError::Disconnected) => return Waited::Interrupted,
                Ok(notice) if done(&notice) => return Waited::Done,
                Ok(_) => continue,
                Err(RecvTimeoutError::Timeout) => {}
            }
            let now = Instant::now();
            if self.end.is_some_and(|end| now >= end) {
                return Waited::Done;
            }
            tick();
            // After a pause of the whole machine, one tick and one line make up for those missed.
            next_tick = (next_tick + SAMPLE_EVERY).max(now);
            if now >= next_line {
                next_line = (next_line + LINE_EVERY).max(now);
                let line = line();
                self.display.line(started.elapsed(), &line.text);
                still = if line.moved { 0 } else { still + 1 };
                if still == STALLED_LINES {
                    return Waited::Stalled;
                }
            }
        }
    }
}

/// A bar, or lines where nobody would see a bar. The bar is cleared when this is dropped.
struct Display(Option<ProgressBar>);

impl Display {
    /// `length` is what [`Display::set`] counts up to, if that is known.
    fn new(template: &str, length: Option<u64>) -> Self {
        if !std::io::stderr().is_terminal() {
            return Self(None);
        }
        let bar = ProgressBar::with_draw_target(length, ProgressDrawTarget::stderr());
        // A terminal that cannot move its cursor (TERM=dumb) gets lines.
        if bar.is_hidden() {
            return Self(None);
        }
        // The templates are constants, tried by a test.
        bar.set_style(style(template).unwrap_or_else(|_| ProgressStyle::default_bar()));
        Self(Some(bar))
    }

    fn is_bar(&self) -> bool {
        self.0.is_some()
    }

    /// Moves the bar to `position`.
    fn set(&self, position: u64) {
        if let Some(bar) = &self.0 {
            bar.set_position(position);
        }
    }

    /// Turns the spinner.
    fn turn(&self) {
        if let Some(bar) = &self.0 {
            bar.tick();
        }
    }

    /// Puts a text beside the bar; without one, nothing is said before the next line.
    fn say(&self, text: impl FnOnce() -> String) {
        if let Some(bar) = &self.0 {
            bar.set_message(text());
        }
    }

    /// Says how things stand after `elapsed`.
    fn line(&self, elapsed: Duration, text: &str) {
        match &self.0 {
            Some(bar) => bar.set_message(text.to_owned()),
            None => eprintln!("{:>4.0} s  {text}", elapsed.as_secs_f64()),
        }
    }
}

impl Drop for Display {
    fn drop(&mut self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}

fn style(template: &str) -> Result<ProgressStyle, indicatif::style::TemplateError> {
    let rate = |state: &ProgressState, to: &mut dyn std::fmt::Write| {
        // Writing to a String cannot fail.
        let _ = write!(to, "{}", number(state.per_sec(), 0));
    };
    let left = |state: &ProgressState, to: &mut dyn std::fmt::Write| {
        let left_ms = state.len().unwrap_or(0).saturating_sub(state.pos());
        let _ = write!(to, "{} s", left_ms.div_ceil(1_000));
    };
    Ok(ProgressStyle::with_template(template)?
        .with_key("rate", rate)
        .with_key("left", left)
        .progress_chars("━╸─"))
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    fn moved() -> Line {
        Line { text: String::new(), moved: true }
    }

    #[test]
    fn a_wait_ends_at_its_notice_and_passes_over_the_others() {
        let (sender, notices) = mpsc::channel();
        sender.send(Notice::Opened).unwrap();
        sender.send(Notice::Drained).unwrap();
        assert_eq!(wait(&notices, |notice| *notice == Notice::Drained, moved), Waited::Done);
    }

    #[test]
    fn an_interruption_ends_every_wait_at_once() {
        let (sender, notices) = mpsc::channel();
        for _ in 0..2 {
            sender.send(Notice::Interrupted).unwrap();
        }
        assert_eq!(wait(&notices, |_| false, moved), Waited::Interrupted);
        assert_eq!(for_a_while(&notices, Duration::MAX / 4, moved), Waited::Interrupted);
    }

    #[test]
    fn no_time_at_all_is_over_at_once_and_says_nothing() {
        let (_sender, notices) = mpsc::channel();
        let said = || panic!("there was no second to say anything in");
        assert_eq!(for_a_while(&notices, Duration::ZERO, said), Waited::Done);
    }

    #[test]
    fn every_bar_has_a_template_that_can_be_drawn() {
        for template in [COUNTING, PASSING, OPEN_ENDED] {
            assert!(style(template).is_ok(), "{template}");
        }
    }
}
