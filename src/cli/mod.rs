//! The command line: parse, dispatch, exit code. One file per subcommand.
//!
//! Exit codes: 0 done; 1 what was asked failed, with the reason on stderr; 2 the command line is
//! wrong (clap's own code).

mod admin;
mod bench;
mod check_config;
mod doctor;
mod drain;
mod logging;
mod plan;
mod serve;
mod top;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// What a user types.
#[derive(Debug, Parser)]
#[command(name = "throng", version, arg_required_else_help = true)]
#[command(about = "A WebSocket server that holds millions of connections on one Linux box")]
#[command(after_help = "\
Start a server for this machine:          throng serve
Start one with a configuration:           throng serve --config throng.toml
Watch the server that runs here:          throng top
Explain what a configuration does:        throng check-config throng.toml
Say how many connections this box holds:  throng doctor
Measure what idle connections cost:       throng bench idle --connections 15000
Compute how many nodes a load takes:      throng plan --users 10M --memory 28GiB
Send a server's clients elsewhere:        throng drain

throng.example.toml explains every option. Log level: THRONG_LOG=debug (default info).")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::Args),
    Top(top::Args),
    CheckConfig(check_config::Args),
    Doctor(doctor::Args),
    /// Load a server and measure what it costs
    #[command(subcommand)]
    Bench(bench::Bench),
    Plan(plan::Args),
    Drain(drain::Args),
}

/// Runs the command line.
pub fn run() -> ExitCode {
    match Cli::parse().command {
        Command::Serve(args) => serve::run(args),
        Command::Top(args) => top::run(&args),
        Command::CheckConfig(args) => check_config::run(&args),
        Command::Doctor(args) => doctor::run(&args),
        Command::Bench(bench) => report(bench::run(bench)),
        Command::Plan(args) => plan::run(&args),
        Command::Drain(args) => drain::run(&args),
    }
}

/// Prints `text` and the end of its line. Whoever reads it may stop before the end, as `head` does.
fn print(text: &str) -> Result<(), String> {
    let mut out = io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(format!("stdout cannot be written: {error}"))
        }
        _ => Ok(()),
    }
}

/// The exit code of a subcommand that tells why it failed.
fn report(result: Result<(), String>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_commands_of_the_examples_stand_in_one_column() {
        let help = Cli::command().get_after_help().unwrap().to_string();
        let columns: Vec<_> = help.lines().filter_map(|line| line.find(" throng ")).collect();
        assert!(columns.len() > 5 && columns.iter().all(|column| *column == columns[0]), "{columns:?}");
    }
}
