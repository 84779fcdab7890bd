//! `throng top`: what the dashboard shows, in a terminal.

mod dialog;
mod draw;
mod events;
mod feed;
mod lists;
mod plain;
mod screen;
#[cfg(test)]
mod tests;
mod view;
mod words;

use std::io::{self, IsTerminal as _, Write};
use std::process::ExitCode;

use super::admin::{Admin, Trouble, Which};
use super::report;
use crate::control::dashboard::Snapshot;
use feed::Notice;

/// Where one snapshot is.
const ONE: &str = "/dashboard/snapshot";

/// Watch a server in a terminal
///
/// Connections, rates, backlog, memory, every shard, the hottest rooms, and the walls, the nearest first;
/// anew each second. Keys: q quits, p holds, tab turns to the next list, d drains after a question, ? helps.
/// Where stdout is no terminal it is one line for each second.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Args {
    #[command(flatten)]
    which: Which,
    /// Print one snapshot and exit
    #[arg(long)]
    once: bool,
    /// Print snapshots as JSON, one a line
    #[arg(long)]
    json: bool,
}

/// Runs the subcommand.
pub(super) fn run(args: &Args) -> ExitCode {
    report(args.which.find().and_then(|admin| watch(args, admin)))
}

fn watch(args: &Args, admin: Admin) -> Result<(), String> {
    if args.once {
        let text = admin.text(ONE).map_err(Trouble::text)?;
        let text = if args.json { text } else { plain::report(&read(&text)?) };
        return super::print(text.trim_end());
    }
    let (sender, notices) = feed::channel();
    let is_screen = io::stdout().is_terminal() && !args.json;
    if is_screen {
        screen::watch_signals(sender.clone())?;
    }
    feed::start(admin.clone(), sender.clone())?;
    if is_screen {
        return screen::run(&admin, &sender, &notices);
    }
    let mut last_lost = None;
    for notice in notices {
        match notice {
            Notice::Event(text) => {
                last_lost = None;
                let line = if args.json { text } else { plain::line(&read(&text)?) };
                if !tell(&line)? {
                    break;
                }
            }
            // Said once, and again only after it worked.
            Notice::Lost(why) if last_lost.as_ref() != Some(&why) => {
                eprintln!("{why}; trying again");
                last_lost = Some(why);
            }
            _ => {}
        }
    }
    Ok(())
}

fn read(text: &str) -> Result<Snapshot, String> {
    serde_json::from_str(text)
        .map_err(|error| format!("the snapshot is not understood, is it of another version? {error}"))
}

/// Prints a line; whether anybody still reads.
fn tell(line: &str) -> Result<bool, String> {
    let mut out = io::stdout().lock();
    match writeln!(out, "{line}").and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(format!("stdout cannot be written: {error}")),
    }
}
