//! Relations within `[channel]`, and of other tables to the namespaces in it.

use std::collections::HashSet;
use std::sync::LazyLock;

use regex::Regex;

use super::super::{Config, duration_text};
use super::{Failure, at_least, at_most, fail, rate};
use crate::hub::{Conflate, NamespaceOptions};

/// What a namespace may be called. Source: PROTOCOL.md 19.
static NAMESPACE_NAME: LazyLock<Regex> =
    LazyLock::new(|| Regex::new("^[-a-zA-Z0-9_]{2,}$").expect("a constant pattern compiles"));

/// Most publications of one room: above it a typing error is likelier than a wish.
const HISTORY_SIZE_MAX: u32 = 1_000_000;

/// Longest time between two beats, and that a join has to last: what comes a minute late is a mistake.
const INTERVAL_MS_MAX: usize = 60_000;

/// Longest time that something is kept: 100 years, so that adding it to the time of day is safe.
const HISTORY_TTL_MS_MAX: u64 = 100 * 365 * 24 * 3600 * 1000;

pub(super) fn channels(config: &Config) -> Result<(), Failure> {
    let channel = &config.channel;
    at_least("channel.max_length", channel.max_length, 1)?;
    options("channel.without_namespace", &channel.without_namespace)?;
    let mut names = HashSet::new();
    for (index, namespace) in channel.namespaces.iter().enumerate() {
        let table = format!("channel.namespaces.{index}");
        let name = &namespace.name;
        if !NAMESPACE_NAME.is_match(name) {
            let needed = "needed: two or more of the ASCII letters and digits, - and _";
            return fail(&format!("{table}.name"), format!("a namespace is called {name:?}; {needed}"));
        }
        if !names.insert(name.as_str()) {
            let message = format!("a second namespace is called `{name}`; needed: a name of its own");
            return fail(&format!("{table}.name"), message);
        }
        options(&table, &namespace.options)?;
    }
    personal(config, &names)
}

/// Checks that the namespace of the users' own rooms is one of `names`.
fn personal(config: &Config, names: &HashSet<&str>) -> Result<(), Failure> {
    let name = &*config.client.subscribe_to_user_personal_channel.personal_channel_namespace;
    if name.is_empty() || names.contains(name) {
        return Ok(());
    }
    let key = "client.subscribe_to_user_personal_channel.personal_channel_namespace";
    let needed = "needed: the name of one of [[channel.namespaces]], or \"\" for none";
    fail(key, format!("`{key}` is {name:?}; {needed}"))
}

fn options(table: &str, options: &NamespaceOptions) -> Result<(), Failure> {
    pattern(table, &options.channel_regex)?;
    if options.conflate == Conflate::User && options.retention().is_on() {
        let key = format!("{table}.conflate");
        let needed = "needed: no history_size and history_ttl, because what is replaced is not kept";
        return fail(&key, format!("`{key}` is \"user\" in rooms with a history; {needed}"));
    }
    let debounce_ms = options.join_leave_debounce_ms as usize;
    at_most(&format!("{table}.join_leave_debounce_ms"), debounce_ms, INTERVAL_MS_MAX)?;
    let interval_ms = options.feed_interval_ms as usize;
    at_least(&format!("{table}.feed_interval_ms"), interval_ms, 1)?;
    at_most(&format!("{table}.feed_interval_ms"), interval_ms, INTERVAL_MS_MAX)?;
    rate(&format!("{table}.publishes_per_second"), options.publishes_per_second)?;
    history(table, options)
}

fn history(table: &str, options: &NamespaceOptions) -> Result<(), Failure> {
    let size = options.history_size;
    if size > HISTORY_SIZE_MAX {
        let message = format!("`history_size` is {size}; needed: {HISTORY_SIZE_MAX} at most");
        return fail(&format!("{table}.history_size"), message);
    }
    let ttl = ("history_ttl", options.history_ttl_ms);
    let meta_ttl = ("history_meta_ttl", options.history_meta_ttl_ms);
    for (key, found_ms) in [ttl, meta_ttl] {
        if found_ms > HISTORY_TTL_MS_MAX {
            let most = HISTORY_TTL_MS_MAX / (24 * 3600 * 1000);
            let message = format!("`{key}` is {}; needed: {most}d at most", duration_text(found_ms));
            return fail(&format!("{table}.{key}"), message);
        }
    }
    if meta_ttl.1 < ttl.1 {
        // Forgotten earlier, a room would count from 1 again beside publications that it still has.
        return Err(Failure {
            keys: [meta_ttl.0, ttl.0].map(|key| format!("{table}.{key}")).into(),
            message: format!(
                "`{}` is {}; needed: `{}` at least, which is {}",
                meta_ttl.0,
                duration_text(meta_ttl.1),
                ttl.0,
                duration_text(ttl.1)
            ),
        });
    }
    Ok(())
}

fn pattern(table: &str, pattern: &str) -> Result<(), Failure> {
    match Regex::new(pattern) {
        Ok(_) => Ok(()),
        Err(error) => {
            // The crate draws the pattern over several lines; its last one says what is wrong.
            let text = error.to_string();
            let why = text.lines().last().unwrap_or_default().trim_start_matches("error: ");
            let message = format!("`channel_regex` is {pattern:?}; needed: a regular expression ({why})");
            fail(&format!("{table}.channel_regex"), message)
        }
    }
}
