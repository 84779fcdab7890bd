//! The `throng` binary: parse, dispatch, exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    throng::cli::run()
}
