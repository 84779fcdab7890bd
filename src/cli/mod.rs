//! The command line.

pub mod bench;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(version, about)]
struct Line {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Load a server and measure what it costs
    #[command(subcommand)]
    Bench(bench::Bench),
}

/// Runs the command line.
pub fn run() -> ExitCode {
    let outcome = match Line::parse().command {
        Command::Bench(bench) => bench::run(bench),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("throng: {message}");
            ExitCode::FAILURE
        }
    }
}
