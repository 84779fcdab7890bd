//! `throng.example.toml` tells the truth: every option is in it, with its default, and no other.
//!
//! The names of the options come from the parser itself, which lists what it knows when it meets
//! a key it does not know. So an option without its place in the example fails here, with no list
//! to keep up to date.

use std::collections::BTreeSet;

use throng::control::config::Config;

const EXAMPLE: &str = include_str!("../throng.example.toml");

/// A key that no option resembles: the answer is the list of all keys in that table.
const STRANGER: &str = "zzzzzzzzzzzz";

/// The example with its options that are not set turned on: those on lines `#name = …` and
/// `#[table]`. Prose has a space after its `#`.
fn example_with_everything_set() -> String {
    EXAMPLE
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(option) if option.starts_with(|first: char| first == '[' || first.is_ascii_lowercase()) => {
                option
            }
            _ => line,
        })
        .fold(String::new(), |text, line| text + line + "\n")
}

/// Keys that the table opened by `header` may have; none if `header` opens no table.
fn keys_of(header: &str) -> Vec<String> {
    let message = match Config::parse(&format!("{header}\n{STRANGER} = 1"), "probe") {
        Ok(_) => panic!("an unknown key was accepted in {header:?}"),
        Err(error) => error.message().to_owned(),
    };
    match message.split_once("known keys here: ") {
        Some((unknown, keys)) if unknown.contains(STRANGER) => keys.split(", ").map(str::to_owned).collect(),
        _ => Vec::new(),
    }
}

/// Every option of the table at `path`, as `table.option`, found by asking the parser.
fn options_of(path: &str, header: &str, found: &mut BTreeSet<String>) {
    for key in keys_of(header) {
        let path = if path.is_empty() { key } else { format!("{path}.{key}") };
        // An option that holds tables is either one or an array of them.
        let headers = [format!("[{path}]"), format!("[[{path}]]")];
        match headers.iter().find(|header| !keys_of(header).is_empty()) {
            Some(header) => options_of(&path, header, found),
            None => {
                found.insert(path);
            }
        }
    }
}

/// Every value of `table`, as `table.option`.
fn options_in(path: &str, table: &toml::Table, found: &mut BTreeSet<String>) {
    for (key, value) in table {
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        let tables: Vec<&toml::Table> = match value {
            toml::Value::Table(table) => vec![table],
            toml::Value::Array(items) => items.iter().filter_map(toml::Value::as_table).collect(),
            _ => Vec::new(),
        };
        if tables.is_empty() {
            found.insert(path);
        } else {
            tables.into_iter().for_each(|table| options_in(&path, table, found));
        }
    }
}

#[test]
fn the_example_is_the_default_configuration() {
    assert_eq!(Config::parse(EXAMPLE, "throng.example.toml"), Ok(Config::default()));
}

#[test]
fn the_options_that_are_not_set_are_shown_with_values_that_would_be_accepted() {
    let config = Config::parse(&example_with_everything_set(), "throng.example.toml").unwrap();
    assert!(config.allowed_origins.is_some() && config.insecure.is_some());
    assert!(config.client.token.is_some() && config.client.subscription_token.is_some());
    assert_eq!(config.channel.namespaces.len(), 1);
    // The namespace shows defaults as well.
    assert_eq!(config.channel.namespaces[0].options, Config::default().channel.without_namespace);
}

#[test]
fn every_option_is_in_the_example_and_every_option_of_the_example_exists() {
    let (mut known, mut shown) = (BTreeSet::new(), BTreeSet::new());
    options_of("", "", &mut known);
    options_in("", &example_with_everything_set().parse().unwrap(), &mut shown);
    for option in [
        "drain_ms",
        "socket.keepalive_s",
        "client.token.issuer",
        "client.subscribe_to_user_personal_channel.enabled",
        "channel.namespaces.name",
        "channel.namespaces.history_ttl",
        "store.disk_free_bytes_min",
        "http_api.error_mode",
    ] {
        assert!(known.contains(option), "the parser was not asked for everything: {known:#?}");
    }
    assert_eq!(known, shown, "left: what the parser knows; right: what the example shows");
}

#[test]
fn every_option_has_a_comment_above_it() {
    let mut uncommented = Vec::new();
    let mut previous = "";
    let mut table = "";
    for line in EXAMPLE.lines() {
        let option = line.trim_start_matches('#');
        if option.starts_with('[') {
            table = option;
        } else if option.contains(" = ") && option.starts_with(|first: char| first.is_ascii_lowercase()) {
            // These two repeat the options of a table that explains them.
            let repeats = ["[client.subscription_token]", "[[channel.namespaces]]"].contains(&table);
            if !repeats && !previous.starts_with("# ") {
                uncommented.push(option);
            }
        }
        previous = line;
    }
    assert_eq!(uncommented, [""; 0]);
}
