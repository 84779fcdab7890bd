//! `throng doctor`: what this box holds, what stands in the way, and how to move it.

use std::ffi::OsString;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use crate::control::capacity::setup;
use crate::control::config::{Config, SHARDS_MAX};
use crate::doctor::apply::Plan;
use crate::doctor::sysctl::{self, Facts};
use crate::doctor::{self, Look, Report, Running, Setup, TARGET_MAX};
use crate::host::tree::Tree;

/// What a doctor exits with that could not look: a process that is gone, a file that is none.
const EXIT_CANNOT: u8 = 3;

/// Columns of a table that is not on a terminal.
const WIDTH: usize = 120;

/// The narrowest table.
const WIDTH_MIN: usize = 64;

/// Say how many connections this box holds, and what stands in the way of more
///
/// Without --target nothing is asked of the box but what it has: every limit is compared with the
/// connections that its memory holds, and one that is lower is a warning. With --target N a limit
/// that refuses connection N is a failure, and one that only makes it slower a warning.
///
/// Without --pid the limits of a process (ulimit -n, the control group) are those of this shell, which a
/// service does not have: of a server that runs as a systemd unit, ask with --pid.
///
/// It changes nothing, except with --apply, which writes a drop-in to /etc/sysctl.d and loads it.
/// What cannot be read, as in a container, is told as "cannot tell" with the reason and the place
/// to ask.
///
/// Exit code: 0 all pass or cannot tell; 1 some warn; 2 some fail (and for a command line that is
/// wrong); 3 the doctor could not look or act: no such process, a configuration that cannot be read, a
/// drop-in that cannot be written. With --apply: 0 every key that is known here is enough now and at the
/// next boot; 1 one is not: it cannot be set here, another drop-in sets it later, or the answer was no.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Args {
    /// Connections that the server shall hold; with --pid: in all, the open ones included
    #[arg(short = 'n', long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=TARGET_MAX))]
    target: Option<u64>,
    /// A server that runs: its own limits, and how many more connections fit
    ///
    /// Of a throng the descriptors of each shard are told. Of another program's process, those of
    /// its one table.
    #[arg(long, value_name = "PID", value_parser = clap::value_parser!(u32).range(1..=PID_MAX))]
    pid: Option<u32>,
    /// Configuration of the server; its shards, addresses, buffers and limits.connections_max count
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Shards of the server, over the configuration's; 0 for as many as there are cores
    #[arg(long, value_name = "N", conflicts_with = "pid", value_parser = clap::value_parser!(u64).range(0..=SHARDS_MAX as u64))]
    shards: Option<u64>,
    /// The server's shards share one table of file descriptors
    #[arg(long, conflicts_with = "pid")]
    shared_fd_table: bool,
    /// The clients are on this box too, as in a benchmark: each connection costs it twice
    #[arg(long)]
    with_clients: bool,
    /// Print the sysctl drop-in for --target connections on this box, with its reasons
    #[arg(long, requires = "target", conflicts_with_all = ["pid", "json", "verbose", "config", "shards", "shared_fd_table"])]
    print_sysctl: bool,
    /// Write that drop-in to /etc/sysctl.d and load it; shows what changes, and asks
    ///
    /// A key that is enough as it is stays as it is. What was before is kept in a file, and the
    /// command that restores it is told.
    #[arg(long, requires = "target", conflicts_with_all = ["pid", "json", "verbose", "print_sysctl", "config", "shards", "shared_fd_table"])]
    apply: bool,
    /// With --apply: do not ask
    #[arg(long, requires = "apply")]
    yes: bool,
    /// Print JSON; its shape is that of `throng::doctor::Report`, and stable
    #[arg(long)]
    json: bool,
    /// Tell why, cost and source of everything, of what passes too
    #[arg(short, long, conflicts_with = "json")]
    verbose: bool,
    /// A recorded box instead of this one: /proc and /sys in DIR, such as tests/doctor/record makes
    ///
    /// With --apply the files in DIR are changed, and nothing of this box.
    #[arg(long, value_name = "DIR", help_heading = "Recorded boxes")]
    root: Option<PathBuf>,
}

/// Highest process number. Source: Linux `PID_MAX_LIMIT`.
const PID_MAX: i64 = 4 * 1024 * 1024;

impl Args {
    fn tree(&self) -> Result<Tree, String> {
        match &self.root {
            None => Ok(Tree::live()),
            Some(root) if root.join("proc").is_dir() => Ok(Tree::recorded(root)),
            Some(root) => {
                Err(format!("{} has no directory `proc`: --root is for a recorded tree", root.display()))
            }
        }
    }

    fn setup(&self, tree: &Tree) -> Result<Setup, String> {
        let config = match &self.config {
            Some(file) => Config::load(file).map_err(|error| error.to_string())?,
            None => Config::default(),
        };
        let running = match self.pid {
            Some(pid) => Some(Running::read(tree, pid).map_err(|error| error.to_string())?),
            None => None,
        };
        Ok(Setup {
            target: self.target,
            shards: self.shards.unwrap_or(config.shards as u64),
            private_tables: config.private_fd_tables && !self.shared_fd_table,
            with_clients: self.with_clients,
            running,
            ..setup(&config)
        })
    }

    fn report(&self) -> Result<Report, String> {
        let tree = self.tree()?;
        let setup = self.setup(&tree)?;
        Ok(doctor::examine(&tree, &setup))
    }
}

/// Runs the subcommand.
pub(super) fn run(args: &Args) -> ExitCode {
    if args.print_sysctl || args.apply {
        return keys(args).unwrap_or_else(|error| {
            eprintln!("error: {error}");
            ExitCode::from(EXIT_CANNOT)
        });
    }
    judge(args).unwrap_or_else(|error| {
        eprintln!("error: {error}");
        ExitCode::from(EXIT_CANNOT)
    })
}

/// Prints what is found.
fn judge(args: &Args) -> Result<ExitCode, String> {
    let report = args.report()?;
    let text = if args.json {
        serde_json::to_string_pretty(&report).expect("a report has no map and no number that is none")
    } else {
        doctor::show(&report, look(args.verbose))
    };
    super::print(text.trim_end())?;
    Ok(ExitCode::from(report.exit_code))
}

/// Prints or applies the drop-in.
fn keys(args: &Args) -> Result<ExitCode, String> {
    let tree = args.tree()?;
    let ends = 1 + u64::from(args.with_clients);
    let facts = Facts { ends, ..doctor::facts(&tree, args.target.unwrap_or(1))? };
    if args.print_sysctl {
        super::print(sysctl::print(&facts).trim_end())?;
        return Ok(ExitCode::SUCCESS);
    }
    let plan = Plan::new(&tree, &facts);
    super::print(plan.render().trim_end())?;
    let mut is_enough = !plan.leaves_short();
    if !plan.is_empty() {
        if !args.yes && !may_go_on()? {
            super::print("nothing was changed")?;
            return Ok(ExitCode::FAILURE);
        }
        let outcome = plan.carry_out(&tree).map_err(|failure| failure.to_string())?;
        super::print(outcome.to_string().trim_end())?;
        is_enough &= outcome.refused.is_empty();
    }
    Ok(if is_enough { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Asks whoever is at the terminal.
fn may_go_on() -> Result<bool, String> {
    if !std::io::stdin().is_terminal() {
        return Err("nothing was changed: nobody can be asked, stdin is no terminal; give --yes".to_owned());
    }
    eprint!("Write and load this? [y/N] ");
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer).map_err(|error| format!("the answer cannot be read: {error}"))?;
    Ok(["y", "yes"].contains(&answer.trim().to_lowercase().as_str()))
}

/// How a table is shown where stdout goes.
fn look(verbose: bool) -> Look {
    let stdout = std::io::stdout();
    let is_terminal = stdout.is_terminal();
    let columns = rustix::termios::tcgetwinsize(&stdout).ok().map(|size| usize::from(size.ws_col));
    let width = columns.filter(|columns| is_terminal && *columns > 0).unwrap_or(WIDTH).max(WIDTH_MIN);
    let colours = is_terminal && takes_colours(std::env::var_os("NO_COLOR"), std::env::var_os("TERM"));
    Look { width, colours, verbose }
}

/// Whether a terminal of the kind `term` is to be given colours, unless `no_color` says otherwise.
/// Source: no-color.org; `dumb` is what terminfo(5) calls a terminal that can nothing.
fn takes_colours(no_color: Option<OsString>, term: Option<OsString>) -> bool {
    no_color.is_none_or(|value| value.is_empty()) && term.is_none_or(|kind| kind != "dumb")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_that_is_dumb_or_shall_have_no_colours_gets_none() {
        let takes = |no_color: Option<&str>, term: Option<&str>| {
            takes_colours(no_color.map(OsString::from), term.map(OsString::from))
        };
        assert!(takes(None, Some("xterm")) && takes(Some(""), None));
        assert!(!takes(None, Some("dumb")) && !takes(Some("1"), Some("xterm")));
    }
}
