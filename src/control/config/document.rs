//! The file's text as TOML with places, so that an error can say where it is.
//!
//! serde reads values and forgets where they stood; a check of two values against each other
//! comes after that. So the text is parsed a second time into a tree that keeps the place of
//! every key, and this file turns keys into lines, places into keys, and serde's messages into
//! the words of a person who writes a configuration.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use super::error::ConfigError;

/// End of the names of options whose values must not appear in an error.
const SECRET_SUFFIX: &str = "secret_key";

/// The option with another name of which the same is true.
const SECRET_KEY: &str = "http_api.key";

/// Tables of secrets: one may be given in the place of its table.
const SECRET_TABLES: [&str; 3] = ["client.token", "client.subscription_token", "http_api"];

/// One configuration file, parsed.
pub(super) struct Document<'a> {
    origin: &'a str,
    text: &'a str,
    root: DeTable<'a>,
}

impl<'a> Document<'a> {
    /// Parses `text`; `origin` is its name in errors.
    ///
    /// # Errors
    ///
    /// The text is not TOML, or names a key twice.
    pub(super) fn parse(text: &'a str, origin: &'a str) -> Result<Document<'a>, ConfigError> {
        match DeTable::parse(text) {
            Ok(root) => Ok(Document { origin, text, root: root.into_inner() }),
            Err(error) => {
                let line = error.span().map(|span| line_at(text, span.start));
                Err(ConfigError::new(origin, line, format!("not TOML: {}", error.message())))
            }
        }
    }

    /// An error about the values of `keys`, with the line of the first that the file has.
    pub(super) fn error(&self, keys: &[String], message: String) -> ConfigError {
        ConfigError::new(self.origin, keys.iter().find_map(|key| self.line_of(key)), message)
    }

    /// Line of `key`, such as `client.ping_interval_ms` or `channel.namespaces.0.name`; none if
    /// the file leaves it out.
    fn line_of(&self, key: &str) -> Option<usize> {
        let mut place = None;
        let mut table = Some(&self.root);
        let mut array: Option<&DeArray<'_>> = None;
        for step in key.split('.') {
            let value = if let Some(items) = array.take() {
                let item = items.get(step.parse::<usize>().ok()?)?;
                place = Some(item.span().start);
                item.get_ref()
            } else {
                let (key, value) = table?.get_key_value(step)?;
                place = Some(key.span().start);
                value.get_ref()
            };
            table = value.as_table();
            array = value.as_array();
        }
        place.map(|place| line_at(self.text, place))
    }

    /// Turns what serde says of this document into an error with line, found and needed.
    pub(super) fn explain(&self, error: &toml::de::Error) -> ConfigError {
        let line = error.span().map(|span| line_at(self.text, span.start));
        let message = error.message();
        let mut path = Vec::new();
        let known = error.span().is_some_and(|span| find(&self.root, &span, &mut path));
        let said = if let Some(field) = quoted_after(message, "unknown field `") {
            path.pop();
            unknown_key(field, &path, message)
        } else if let Some(field) = quoted_after(message, "missing field `") {
            format!("`{field}` is missing{}", in_table(&path))
        } else if known {
            let key = path.join(".");
            if key.ends_with(SECRET_SUFFIX) || key == SECRET_KEY {
                format!("`{key}` must be a string")
            } else if SECRET_TABLES.contains(&key.as_str()) {
                format!("`{key}` must be a table")
            } else {
                value_refused(&key, message)
            }
        } else {
            message.to_owned()
        };
        ConfigError::new(self.origin, line, said)
    }
}

/// Finds the key or value that stands exactly at `span`; its keys are then in `path`.
fn find<'t>(table: &'t DeTable<'_>, span: &Range<usize>, path: &mut Vec<&'t str>) -> bool {
    for (key, value) in table {
        path.push(key.get_ref());
        if key.span() == *span || find_in_value(value, span, path) {
            return true;
        }
        path.pop();
    }
    false
}

fn find_in_value<'t>(value: &'t Spanned<DeValue<'_>>, span: &Range<usize>, path: &mut Vec<&'t str>) -> bool {
    // The tables of an array carry no key: the line tells them apart.
    value.span() == *span
        || match value.get_ref() {
            DeValue::Table(inner) => find(inner, span, path),
            DeValue::Array(items) => items.iter().any(|item| find_in_value(item, span, path)),
            _ => false,
        }
}

/// Line of the byte at `place`, counted from 1.
fn line_at(text: &str, place: usize) -> usize {
    1 + text.bytes().take(place).filter(|byte| *byte == b'\n').count()
}

/// ` in [client]`, or nothing for keys at the top of the file.
fn in_table(path: &[&str]) -> String {
    if path.is_empty() { String::new() } else { format!(" in [{}]", path.join(".")) }
}

/// What stands between `start`, which ends in a backtick, and the next backtick.
fn quoted_after<'m>(message: &'m str, start: &str) -> Option<&'m str> {
    message.strip_prefix(start)?.split('`').next()
}

/// Says that `field` is no key, and which one was meant or which there are.
fn unknown_key(field: &str, path: &[&str], message: &str) -> String {
    // serde lists what it knows as "expected one of `a`, `b`": every second piece is a name.
    let names = message.rsplit_once("expected ").map_or("", |(_, names)| names);
    let known: Vec<&str> = names.split('`').skip(1).step_by(2).collect();
    let place = in_table(path);
    match nearest(field, &known) {
        Some(meant) => format!("unknown key `{field}`{place}; did you mean `{meant}`?"),
        None => format!("unknown key `{field}`{place}; known keys here: {}", known.join(", ")),
    }
}

/// The known name that `field` is probably a slip of: one edit in three letters at most.
fn nearest<'k>(field: &str, known: &[&'k str]) -> Option<&'k str> {
    let edits_max = (field.chars().count() / 3).max(1);
    known
        .iter()
        .map(|name| (strsim::damerau_levenshtein(field, name), *name))
        .filter(|(edits, _)| *edits <= edits_max)
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, name)| name)
}

/// Says that the value of `key` is of the wrong kind, in the words of TOML instead of Rust's.
fn value_refused(key: &str, message: &str) -> String {
    if let Some(word) = message.strip_prefix("unknown variant `") {
        return word_refused(key, word);
    }
    if message == "wanted string or table" {
        return format!("`{key}` must be a string");
    }
    let (found, needed) = match message
        .strip_prefix("invalid type: ")
        .or_else(|| message.strip_prefix("invalid value: "))
        .and_then(|rest| rest.rsplit_once(", expected "))
    {
        Some(parts) => parts,
        None => return format!("`{key}`: {message}"),
    };
    let needed = match needed {
        "u32" => "a whole number from 0 to 4294967295",
        "usize" | "u64" => "a whole number, 0 or more",
        "a boolean" => "true or false",
        "a sequence" => "an array, as in [\"one\", \"two\"]",
        _ if needed.starts_with("struct ") => "a table",
        other => other,
    };
    format!("`{key}` is the {found}; needed: {needed}")
}

/// Says that the value of `key` is none of the words that it may be; `message` is serde's, from the
/// word that was found on.
fn word_refused(key: &str, message: &str) -> String {
    let (found, needed) = message.rsplit_once("`, expected ").unwrap_or((message, "another word"));
    let needed = needed.trim_start_matches("one of ").replace('`', "\"");
    let needed = match needed.rsplit_once(", ") {
        Some((others, last)) => format!("{others} or {last}"),
        None => needed,
    };
    format!("`{key}` is the string {found:?}; needed: {needed}")
}
