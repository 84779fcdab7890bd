//! The log: one line per event on stderr, because stdout carries what programs read.

use std::io::IsTerminal;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::EnvFilter;

/// Environment variable with the filter, such as `debug` or `info,throng::shard=debug`.
const FILTER: &str = "THRONG_LOG";

/// The filter without it. The store's engine tells of its own work at `info`.
const DEFAULT: &str = "info,fjall=warn,lsm_tree=warn";

/// Starts the log. Called once, before anything logs.
///
/// # Errors
///
/// `THRONG_LOG` is not a filter; the text says why.
pub(super) fn start() -> Result<(), String> {
    let filter = match std::env::var(FILTER) {
        Ok(filter) => EnvFilter::builder().with_default_directive(LevelFilter::INFO.into()).parse(filter),
        Err(_) => EnvFilter::builder().parse(DEFAULT),
    };
    let filter =
        filter.map_err(|error| format!("{FILTER}: {error}; needed: a level, such as info or debug"))?;
    let colors = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    tracing_subscriber::fmt()
        .compact()
        .with_writer(std::io::stderr)
        .with_ansi(colors)
        .with_env_filter(filter)
        .init();
    Ok(())
}
