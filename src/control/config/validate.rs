//! Relations between values: what serde, which reads one value at a time, cannot see.
//!
//! Each check names its key, the value found and the value needed. The first failure is the
//! answer: later ones are often its consequence.

mod rooms;

use std::net::SocketAddr;

use super::document::Document;
use super::error::ConfigError;
use super::{Admission, Config, HttpApi, SHARDS_MAX, Token};
use crate::host::processors;
use crate::shard::wheel::HORIZON_MS;

/// Shortest key of the server API, in bytes: as many as are random in a UUID.
const API_KEY_BYTES_MIN: usize = 16;

/// Most publications that one answer may be set to hold.
const ANSWER_PUBLICATIONS_MAX: usize = 1_000_000;

/// Highest part of the memory from which on new connections may be refused: all of it is never in use.
const MEMORY_PERCENT_MAX: usize = 99;

/// Highest rate that clients or a room may be held to: above it a typing error is likelier than a wish.
const PER_SECOND_MAX: usize = 1_000_000;

/// A failed check.
struct Failure {
    /// Keys that take part, the likeliest culprit first: the first that the file has is blamed.
    keys: Vec<String>,
    /// What was found and what is needed.
    message: String,
}

/// Checks everything in a configuration that came from `document`, except what depends on the
/// number of cores: the command line may still give a number of shards.
pub(super) fn validate(config: &Config, document: &Document<'_>) -> Result<(), ConfigError> {
    server(config)
        .and_then(|()| backlogs(config, config.shards.max(1)))
        .and_then(|()| limits(config))
        .and_then(|()| admission(&config.admission))
        .and_then(|()| client(config))
        .and_then(|()| store(config))
        .and_then(|()| http_api(&config.http_api))
        .and_then(|()| rooms::channels(config))
        .map_err(|failure| document.error(&failure.keys, failure.message))
}

/// Checks again what the command line can change, and what depends on the `cores` of this machine.
pub(super) fn overridden(config: &Config, cores: usize) -> Result<(), ConfigError> {
    let error = |origin, failure: Failure| ConfigError::new(origin, None, failure.message);
    server(config).map_err(|failure| error("command line", failure))?;
    match config.shards {
        0 => backlogs(config, cores).map_err(|failure| error("`shards` is 0, one for each core", failure)),
        shards => backlogs(config, shards).map_err(|failure| error("command line", failure)),
    }
}

/// Checks again what sockets that came from `origin` can change.
pub(super) fn handed_over(config: &Config, origin: &str) -> Result<(), ConfigError> {
    server(config)
        .and_then(|()| backlogs(config, config.shards))
        .map_err(|failure| ConfigError::new(origin, None, failure.message))
}

/// Cores that shards may run on; 1 if the kernel does not say, which the server reports once it runs.
pub(super) fn cores() -> usize {
    processors::available().map_or(1, |cores| cores.len())
}

fn fail(key: &str, message: String) -> Result<(), Failure> {
    Err(Failure { keys: vec![key.to_owned()], message })
}

fn server(config: &Config) -> Result<(), Failure> {
    addresses(config)?;
    at_most("shards", config.shards, SHARDS_MAX)?;
    if !config.path.starts_with('/') || config.path.contains(['?', '#', ' ']) {
        let needed = "needed: a path that starts with / and has no ?, # or space";
        return fail("path", format!("`path` is {:?}; {needed}", config.path));
    }
    if config.data.as_os_str().is_empty() {
        return fail("data", "`data` is empty; needed: a directory, or no such key".to_owned());
    }
    for (index, origin) in config.allowed_origins.iter().flatten().enumerate() {
        // A browser sends scheme, host and port only, so either of these would match nothing.
        if origin.is_empty() || origin.ends_with('/') {
            let needed = "needed: scheme and host without a path, such as \"https://example.com\", or \"*\"";
            let key = format!("allowed_origins.{index}");
            return fail(&key, format!("`allowed_origins` has {origin:?}; {needed}"));
        }
    }
    Ok(())
}

/// Checks that each of `shards` shards can hold at least one full backlog.
fn backlogs(config: &Config, shards: usize) -> Result<(), Failure> {
    let (total, each) = (config.limits.backlog_total_bytes_max, config.limits.backlog_bytes_max);
    if total / shards < each {
        let [total_key, each_key] = ["limits.backlog_total_bytes_max", "limits.backlog_bytes_max"];
        let least = each.saturating_mul(shards);
        return Err(Failure {
            keys: [total_key, each_key, "shards"].map(str::to_owned).into(),
            message: format!(
                "`{total_key}` is {total}; needed: {least} at least, which is `{each_key}` ({each}) for \
                 each of {shards} shard{}",
                if shards == 1 { "" } else { "s" }
            ),
        });
    }
    Ok(())
}

fn addresses(config: &Config) -> Result<(), Failure> {
    if config.listen.is_empty() {
        return fail("listen", "`listen` is empty; needed: at least one address".to_owned());
    }
    for (index, address) in config.listen.iter().enumerate() {
        if let Some(other) = config.listen[..index].iter().find(|other| overlap(other, address)) {
            return fail(
                &format!("listen.{index}"),
                format!("`listen` has {address}, which its {other} covers already; remove one of them"),
            );
        }
    }
    if let Some(other) = config.listen.iter().find(|other| overlap(other, &config.admin)) {
        return fail(
            "admin",
            format!(
                "`admin` is {}, which `listen` covers with {other}; give each its own port",
                config.admin
            ),
        );
    }
    Ok(())
}

/// Whether both would answer for one address. Port 0 is a new port each time, so it never does.
fn overlap(one: &SocketAddr, other: &SocketAddr) -> bool {
    one.port() == other.port()
        && one.port() != 0
        && one.is_ipv4() == other.is_ipv4()
        && (one.ip() == other.ip() || one.ip().is_unspecified() || other.ip().is_unspecified())
}

fn at_least(key: &str, found: usize, least: usize) -> Result<(), Failure> {
    if found < least {
        return fail(key, format!("`{key}` is {found}; needed: {least} at least"));
    }
    Ok(())
}

fn at_most(key: &str, found: usize, most: usize) -> Result<(), Failure> {
    if found > most {
        return fail(key, format!("`{key}` is {found}; needed: {most} at most"));
    }
    Ok(())
}

/// Checks a rate of commands or publications.
fn rate(key: &str, per_second: u32) -> Result<(), Failure> {
    at_most(key, per_second as usize, PER_SECOND_MAX)
}

/// Checks a time that a shard's timer wheel keeps, which would end a longer one early.
fn timer(key: &str, found_ms: u32) -> Result<(), Failure> {
    at_least(key, found_ms as usize, 1)?;
    at_most(key, found_ms as usize, HORIZON_MS as usize)
}

/// Checks that one bound is no smaller than another.
fn not_below((key, found): (&str, usize), (bound, least): (&str, usize)) -> Result<(), Failure> {
    if found >= least {
        return Ok(());
    }
    Err(Failure {
        keys: vec![key.to_owned(), bound.to_owned()],
        message: format!("`{key}` is {found}; needed: `{bound}` at least, which is {least}"),
    })
}

fn limits(config: &Config) -> Result<(), Failure> {
    let limits = &config.limits;
    at_least("limits.accept_batch", limits.accept_batch, 1)?;
    at_least("limits.message_bytes_max", limits.message_bytes_max, 1)?;
    timer("limits.upgrade_timeout_ms", limits.upgrade_timeout_ms)?;
    timer("limits.close_timeout_ms", limits.close_timeout_ms)?;
    at_least("limits.write_timeout_ms", limits.write_timeout_ms as usize, 1)?;
    let message = ("limits.message_bytes_max", limits.message_bytes_max);
    not_below(("limits.backlog_bytes_max", limits.backlog_bytes_max), message)?;
    not_below(("limits.inbox_bytes_max", limits.inbox_bytes_max), message)?;
    at_least("socket.listen_backlog", config.socket.listen_backlog as usize, 1)
}

fn admission(admission: &Admission) -> Result<(), Failure> {
    rate("admission.accepts_per_second", admission.accepts_per_second)?;
    rate("admission.connects_per_second", admission.connects_per_second)?;
    let per_address = "admission.connects_per_second_per_address";
    rate(per_address, admission.connects_per_second_per_address)?;
    at_most("admission.memory_max_percent", admission.memory_max_percent as usize, MEMORY_PERCENT_MAX)
}

fn client(config: &Config) -> Result<(), Failure> {
    let client = &config.client;
    let interval = ("client.ping_interval_ms", client.ping_interval_ms as usize);
    let pong = ("client.pong_timeout_ms", client.pong_timeout_ms as usize);
    if interval.1 > 0 {
        timer(interval.0, client.ping_interval_ms)?;
        at_least(pong.0, pong.1, 1)?;
        if interval.1 <= pong.1 {
            return Err(Failure {
                keys: vec![interval.0.to_owned(), pong.0.to_owned()],
                message: format!(
                    "`{}` is {}; needed: more than `{}`, which is {}, or 0 to turn pings off",
                    interval.0, interval.1, pong.0, pong.1
                ),
            });
        }
    }
    timer("client.stale_close_delay_ms", client.stale_close_delay_ms)?;
    at_least("client.channel_limit", client.channel_limit, 1)?;
    for (key, found) in [
        ("client.history_max_publication_limit", client.history_max_publication_limit),
        ("client.recovery_max_publication_limit", client.recovery_max_publication_limit),
    ] {
        at_least(key, found, 1)?;
        at_most(key, found, ANSWER_PUBLICATIONS_MAX)?;
    }
    rate("client.publishes_per_second", client.publishes_per_second)?;
    rate("client.subscribes_per_second", client.subscribes_per_second)?;
    secrets("client.token", client.token.as_ref())?;
    secrets("client.subscription_token", client.subscription_token.as_ref())
}

fn store(config: &Config) -> Result<(), Failure> {
    let store = &config.store;
    // One publication has to fit, or none ever would.
    let message = ("limits.message_bytes_max", config.limits.message_bytes_max);
    not_below(("store.cache_bytes_max", store.cache_bytes_max), message)?;
    not_below(("store.queue_bytes_max", store.queue_bytes_max), message)?;
    timer("store.commit_timeout_ms", store.commit_timeout_ms)
}

/// Says of the key how long it is and no more.
fn http_api(api: &HttpApi) -> Result<(), Failure> {
    let needed = "such as `openssl rand -hex 32` prints, or \"\" for no key";
    let found = api.key.len();
    if (1..API_KEY_BYTES_MIN).contains(&found) {
        let message = format!("has {found} bytes; needed: {API_KEY_BYTES_MIN} at least, {needed}");
        return fail("http_api.key", format!("`http_api.key` {message}"));
    }
    if !api.key.bytes().all(|byte| byte.is_ascii_graphic()) {
        let message = "has a character that an HTTP header may not; needed: ASCII letters, digits and signs";
        return fail("http_api.key", format!("`http_api.key` {message}, {needed}"));
    }
    Ok(())
}

/// An empty key would make every token that anyone signs with nothing a valid one.
fn secrets(table: &str, token: Option<&Token>) -> Result<(), Failure> {
    let Some(token) = token else { return Ok(()) };
    let needed = "needed: a secret, such as `openssl rand -hex 32` prints";
    if token.hmac_secret_key.is_empty() {
        let key = format!("{table}.hmac_secret_key");
        return fail(&key, format!("`{key}` is empty; {needed}"));
    }
    if token.hmac_previous_secret_key.as_deref() == Some("") {
        let key = format!("{table}.hmac_previous_secret_key");
        return fail(&key, format!("`{key}` is empty; {needed}, or no such key"));
    }
    Ok(())
}
