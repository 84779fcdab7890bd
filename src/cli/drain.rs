//! `throng drain`: has a running server send its clients elsewhere and end, and shows how it goes.

use std::io::IsTerminal as _;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Map, Value};

use super::admin::{Admin, Trouble, Which};
use super::{print, report};
use crate::control::config::duration_text;
use crate::control::dashboard::snapshot;

/// Path of a drain.
const DRAIN: &str = "/api/drain";

/// How often the server is asked how it stands.
const ASK_INTERVAL: Duration = Duration::from_millis(200);

/// Between two lines where there is no terminal.
const LINE_INTERVAL: Duration = Duration::from_secs(5);

/// A server that is gone so long before its last close was due has not drained.
const EARLY_MS: u64 = 2_000;

/// How long a server that has drained may take to end: its store closes.
const END_PATIENCE: Duration = Duration::from_secs(60);

/// Exit code if somebody else took the drain back.
const CANCELLED: u8 = 3;

/// Drain a running server: send its clients elsewhere, then end it
///
/// First the server says that it is not ready (/readyz) and goes on as before for `drain_grace_ms`, so
/// that a balancer notices. Then it accepts nobody any more and closes its connections with 3001, in
/// random order, evenly over `drain_ms`, or as fast as `drain_rate_max` allows. When the last is gone the
/// process ends, as after SIGTERM. Until then --cancel takes it back, and clients may connect again.
///
/// Shows how it goes until the server has ended; Ctrl-C ends the showing, not the drain.
///
/// Exit codes: 0 drained (with --cancel, --status and --detach: done), 1 could not, with the reason on
/// stderr, 2 the command line is wrong, 3 somebody else cancelled the drain.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Args {
    #[command(flatten)]
    which: Which,
    /// Time until the first close, in ms, in place of the server's drain_grace_ms
    #[arg(long, value_name = "MS", conflicts_with_all = ["cancel", "status"])]
    grace_ms: Option<u32>,
    /// Time over which connections are closed, in ms, in place of the server's drain_ms
    #[arg(long, value_name = "MS", conflicts_with_all = ["cancel", "status"])]
    over_ms: Option<u32>,
    /// Take a drain back: nobody is closed any more, and clients may connect
    #[arg(long, conflicts_with_all = ["status", "detach"])]
    cancel: bool,
    /// Say how a drain stands, and do nothing
    #[arg(long, conflicts_with = "detach")]
    status: bool,
    /// Begin the drain and do not wait for it
    #[arg(long, visible_alias = "no-wait")]
    detach: bool,
}

/// Runs the subcommand.
pub(super) fn run(args: &Args) -> ExitCode {
    let admin = match args.which.find() {
        Ok(admin) => admin,
        Err(error) => return report(Err(error)),
    };
    if args.cancel {
        return say(admin.post(&format!("{DRAIN}/cancel"), "{}"), |_| {
            "cancelled: clients may connect again".to_owned()
        });
    }
    if args.status {
        return say(admin.get(DRAIN), standing);
    }
    let begun = admin.post(DRAIN, &wish(args));
    if args.detach {
        return say(begun, standing);
    }
    match begun.and_then(|status| watch(&admin, status)) {
        Ok(Outcome::Drained { total }) => {
            report(print(&format!("drained: {total} connections, and the server has ended")))
        }
        Ok(Outcome::Cancelled) => {
            eprintln!("somebody else cancelled the drain; clients may connect again");
            ExitCode::from(CANCELLED)
        }
        Err(trouble) => report(Err(trouble.text())),
    }
}

/// The body that asks for a drain.
fn wish(args: &Args) -> String {
    let given = [("grace_ms", args.grace_ms), ("over_ms", args.over_ms)];
    let given = given.into_iter().filter_map(|(name, value)| Some((name.to_owned(), Value::from(value?))));
    Value::Object(given.collect::<Map<_, _>>()).to_string()
}

fn say(answer: Result<snapshot::Drain, Trouble>, text: impl FnOnce(&snapshot::Drain) -> String) -> ExitCode {
    report(answer.map_err(Trouble::text).and_then(|status| print(&text(&status))))
}

/// How it stands, in a line.
fn standing(status: &snapshot::Drain) -> String {
    // Seconds are enough for a person, and an end that is below one is now.
    let left = duration_text(status.left_ms.div_ceil(1_000) * 1_000);
    let snapshot::Drain { state, total, closed, .. } = status;
    match state.as_str() {
        "none" => "no drain".to_owned(),
        "grace" => {
            format!("not ready any more, {total} connections are served; the last is closed in {left}")
        }
        "closing" => format!("{closed} of {total} connections closed, {left} left"),
        "drained" => format!("{total} of {total} connections closed; the server ends"),
        other => other.to_owned(),
    }
}

/// How a drain ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Drained { total: u64 },
    Cancelled,
}

/// Shows a drain until the server has ended.
fn watch(admin: &Admin, mut status: snapshot::Drain) -> Result<Outcome, Trouble> {
    let mut show = Show::new();
    let mut drained_at = None;
    loop {
        show.update(&status);
        match status.state.as_str() {
            "none" => return Ok(Outcome::Cancelled),
            "drained" => {
                let since: &mut Instant = drained_at.get_or_insert_with(Instant::now);
                if since.elapsed() > END_PATIENCE {
                    let text = format!(
                        "{} is drained, but has not ended for a minute; its log says why",
                        admin.url()
                    );
                    return Err(Trouble::Refused(text));
                }
            }
            _ => {}
        }
        thread::sleep(ASK_INTERVAL);
        status = match admin.get(DRAIN) {
            Ok(status) => status,
            Err(Trouble::Silent(text)) => return outcome_of_silence(&status, text),
            Err(trouble) => return Err(trouble),
        };
    }
}

/// What it means that nobody answers any more after `last`.
fn outcome_of_silence(last: &snapshot::Drain, text: String) -> Result<Outcome, Trouble> {
    if last.left_ms < EARLY_MS {
        return Ok(Outcome::Drained { total: last.total });
    }
    Err(Trouble::Silent(format!(
        "the server was gone {} before its last close was due: a second signal ended it, or it crashed ({text})",
        // To the second: what is left is told in milliseconds, which nobody reads.
        duration_text(last.left_ms.div_ceil(1_000) * 1_000)
    )))
}

/// A bar where stderr is a terminal, a line now and then where it is not.
struct Show {
    bar: Option<ProgressBar>,
    said: Option<(Instant, String)>,
}

impl Show {
    fn new() -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{bar:30.cyan/dim} {percent:>3} %  {wide_msg}");
            ProgressBar::new(0).with_style(style.expect("the template is one"))
        });
        Show { bar, said: None }
    }

    fn update(&mut self, status: &snapshot::Drain) {
        let line = standing(status);
        if let Some(bar) = &self.bar {
            bar.set_length(status.total.max(1));
            bar.set_position(status.closed);
            bar.set_message(line);
            return;
        }
        let is_due = self
            .said
            .as_ref()
            .is_none_or(|(at, state)| *state != status.state || at.elapsed() >= LINE_INTERVAL);
        if is_due {
            eprintln!("{line}");
            self.said = Some((Instant::now(), status.state.clone()));
        }
    }
}

impl Drop for Show {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(state: &str, total: u64, closed: u64, left_ms: u64) -> snapshot::Drain {
        snapshot::Drain { state: state.to_owned(), total, closed, left_ms }
    }

    #[test]
    fn how_it_stands_is_one_line() {
        assert_eq!(standing(&status("none", 0, 0, 0)), "no drain");
        assert_eq!(
            standing(&status("grace", 12, 0, 65_001)),
            "not ready any more, 12 connections are served; the last is closed in 66s"
        );
        assert_eq!(standing(&status("closing", 12, 3, 1_500)), "3 of 12 connections closed, 2s left");
    }

    #[test]
    fn a_server_that_is_gone_too_early_has_not_drained() {
        let silence = |left_ms| outcome_of_silence(&status("closing", 5, 1, left_ms), "x".to_owned());
        assert_eq!(silence(300).unwrap(), Outcome::Drained { total: 5 });
        let error = silence(60_000).unwrap_err().text();
        assert!(error.contains("gone 1m before its last close was due"), "{error}");
    }
}
