//! A dialect's file: TOML to [`Dialect`], and every error with its file, line and what would be right.
//!
//! The keys are those of [`File`]; a key's own documentation is in the built-in files under `dialects/`,
//! which are in the binary. Absent on purpose: values that do nothing, such as a pong without a ping.

use std::fmt::Display;
use std::sync::Arc;

use serde::Deserialize;
use toml::Spanned;

use super::rule::{Line, Rule};
use super::template::{Placeholder, Template};
use super::{Dialect, Joining};

/// The dialects in the binary: name and file.
const BUILT_IN: [(&str, &str); 4] = [
    ("centrifuge", include_str!("../../../dialects/centrifuge.toml")),
    ("nats", include_str!("../../../dialects/nats.toml")),
    ("nchan", include_str!("../../../dialects/nchan.toml")),
    ("raw", include_str!("../../../dialects/raw.toml")),
];

/// Names of the dialects in the binary.
pub const BUILT_IN_NAMES: [&str; BUILT_IN.len()] = {
    let mut names = [""; BUILT_IN.len()];
    let mut at = 0;
    while at < names.len() {
        names[at] = BUILT_IN[at].0;
        at += 1;
    }
    names
};

/// The file of the built-in dialect `name`, comments and all.
pub fn built_in_text(name: &str) -> Option<&'static str> {
    BUILT_IN.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    frame: FrameKind,
    line_end: Option<Spanned<String>>,
    #[serde(default)]
    room_in_path: bool,
    greeting: Option<Spanned<String>>,
    greeting_with_token: Option<Spanned<String>>,
    join: Option<Spanned<String>>,
    join_recoverable: Option<Spanned<String>>,
    join_recover: Option<Spanned<String>>,
    join_told: Option<Spanned<String>>,
    leave: Option<Spanned<String>>,
    count_members: Option<Spanned<String>>,
    greeting_end: Option<Spanned<String>>,
    #[serde(default)]
    replies: u16,
    #[serde(default)]
    replies_per_room: u16,
    publish: Spanned<String>,
    reply_id_after: Option<Spanned<String>>,
    pong: Option<Spanned<String>>,
    #[serde(default, rename = "line")]
    lines: Vec<LineRule>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum FrameKind {
    #[default]
    Text,
    Binary,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LineRule {
    is: Line,
    equals: Option<String>,
    starts: Option<Spanned<String>>,
    contains: Option<String>,
}

/// The built-in dialect `name`.
///
/// # Errors
///
/// There is none of that name.
pub fn built_in(name: &str) -> Result<Arc<Dialect>, String> {
    let text = built_in_text(name)
        .ok_or_else(|| format!("no dialect `{name}`; there are {}", BUILT_IN_NAMES.join(", ")))?;
    parse(name, &format!("dialects/{name}.toml"), text)
}

/// The dialect in the file at `path`, which is also its name in reports.
///
/// # Errors
///
/// It cannot be read, or is no dialect: the file, the line, what was found and what is known there.
pub fn read(path: &str) -> Result<Arc<Dialect>, String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("{path}: cannot be read: {error}"))?;
    parse(path, path, &text)
}

/// Reads `text` as the dialect `name`; `origin` is its file in errors.
pub fn parse(name: &str, origin: &str, text: &str) -> Result<Arc<Dialect>, String> {
    let place = Place { origin, text };
    let file: File = toml::from_str(text).map_err(|error| place.explain(&error))?;
    let has = |line| file.lines.iter().any(|rule| rule.is == line);
    if !has(Line::Message) {
        return Err(place.whole("no [[line]] has is = \"message\": nothing would ever be counted"));
    }
    if file.replies.max(file.replies_per_room) > 0 && !has(Line::Reply) {
        return Err(
            place.whole("`replies` are due and no [[line]] is a \"reply\": nothing would ever be whole")
        );
    }
    if has(Line::Ping) != file.pong.is_some() {
        return Err(place.whole("`pong` and a [[line]] with is = \"ping\" need each other; one is missing"));
    }
    if let (true, Some(join)) = (file.room_in_path, &file.join) {
        return Err(place.at(join, "`join` and `room_in_path = true`: the room is said once, so drop one"));
    }
    if let Some(text) = file.join_recoverable.as_ref().or(file.join_recover.as_ref())
        && (file.join.is_none() || file.join_recoverable.is_none() || file.join_recover.is_none())
    {
        return Err(place.at(text, "`join`, `join_recoverable` and `join_recover` need each other"));
    }
    if let Some(text) = file.join_told.as_ref().or(file.leave.as_ref()).or(file.count_members.as_ref())
        && (file.join.is_none()
            || [&file.join_told, &file.leave, &file.count_members].into_iter().any(Option::is_none)
            || !has(Line::Coming))
    {
        return Err(place.at(
            text,
            "`join`, `join_told`, `leave`, `count_members` and a [[line]] with is = \"coming\" need each other",
        ));
    }
    if file.greeting.is_none()
        && let Some(part) =
            file.greeting_with_token.as_ref().or(file.join.as_ref()).or(file.greeting_end.as_ref())
    {
        return Err(
            place.at(part, "`greeting` is missing, and without one nothing is said after the upgrade")
        );
    }
    let cut = |key, text: &Option<Spanned<String>>, known: &[Placeholder]| {
        text.as_ref().map(|text| place.template(key, text, known)).transpose()
    };
    let rules = file.lines.iter().map(|rule| {
        let starts = cut("starts", &rule.starts, &[Placeholder::Room])?;
        Ok(Rule::new(rule.is, rule.equals.as_deref(), starts.as_ref(), rule.contains.as_deref()))
    });
    let in_join = [Placeholder::Room, Placeholder::N, Placeholder::Epoch, Placeholder::Offset];
    let join = cut("join", &file.join, &in_join[..2])?;
    let join_recoverable = cut("join_recoverable", &file.join_recoverable, &in_join[..2])?;
    let join_recover = cut("join_recover", &file.join_recover, &in_join)?;
    let join_told = cut("join_told", &file.join_told, &in_join[..2])?;
    let leave = cut("leave", &file.leave, &in_join[..2])?;
    let count_members = cut("count_members", &file.count_members, &in_join[..2])?;
    let in_publish = [Placeholder::Room, Placeholder::Payload, Placeholder::PayloadBytes, Placeholder::Id];
    let publish = place.template("publish", &file.publish, &in_publish)?;
    if !file.publish.get_ref().contains("{payload}") {
        return Err(place.at(&file.publish, "`publish` has no {payload}: messages could not be told apart"));
    }
    if let Some(text) = file.reply_id_after.as_ref().filter(|_| !file.publish.get_ref().contains("{id}")) {
        return Err(place.at(text, "`reply_id_after` needs an {id} in `publish` that comes back there"));
    }
    Ok(Arc::new(Dialect {
        name: name.to_owned(),
        opcode: match file.frame {
            FrameKind::Text => super::TEXT,
            FrameKind::Binary => super::BINARY,
        },
        line_end_bytes: match &file.line_end {
            None => 0,
            Some(end) if end.get_ref() == "\n" => 1,
            Some(end) if end.get_ref() == "\r\n" => 2,
            Some(end) => {
                return Err(
                    place.at(end, r#"`line_end` is "\n" or "\r\n"; leave it out if a frame is one line"#)
                );
            }
        },
        joining: match join {
            Some(join) => Joining::Said(join),
            None if file.room_in_path => Joining::InPath,
            None => Joining::Never,
        },
        join_recoverable,
        join_recover,
        join_told,
        leave,
        count_members,
        greeting: cut("greeting", &file.greeting, &[Placeholder::Index])?.unwrap_or_default(),
        greeting_with_token: cut(
            "greeting_with_token",
            &file.greeting_with_token,
            &[Placeholder::Index, Placeholder::Token],
        )?,
        greeting_end: cut("greeting_end", &file.greeting_end, &[])?.unwrap_or_default(),
        replies: file.replies,
        replies_per_room: file.replies_per_room,
        publish,
        reply_id_after: file.reply_id_after.map(|text| text.into_inner().into_bytes().into()),
        pong: file.pong.map(|pong| pong.into_inner().into_bytes().into()).unwrap_or_default(),
        rules: rules.collect::<Result<_, String>>()?,
    }))
}

/// A file in errors: its name, and its text for the lines.
struct Place<'a> {
    origin: &'a str,
    text: &'a str,
}

impl Place<'_> {
    /// An error about the file as a whole.
    fn whole(&self, message: impl Display) -> String {
        format!("{}: {message}", self.origin)
    }

    /// An error about `value`.
    fn at<T>(&self, value: &Spanned<T>, message: impl Display) -> String {
        self.at_byte(value.span().start, message)
    }

    fn at_byte(&self, at: usize, message: impl Display) -> String {
        let line = 1 + self.text.bytes().take(at).filter(|byte| *byte == b'\n').count();
        format!("{}:{line}: {message}", self.origin)
    }

    /// Cuts the text of `key`.
    fn template(&self, key: &str, text: &Spanned<String>, known: &[Placeholder]) -> Result<Template, String> {
        Template::parse(text.get_ref(), known).map_err(|name| {
            let names: Vec<_> = known.iter().map(|placeholder| placeholder.name()).collect();
            let listed: Vec<_> = names.iter().map(|name| format!("{{{name}}}")).collect();
            let there_are = if listed.is_empty() { "none".to_owned() } else { listed.join(", ") };
            let meant = meant(name, &names).map(|name| format!("; did you mean {{{name}}}?"));
            let meant = meant.unwrap_or_default();
            self.at(
                text,
                format!("unknown placeholder {{{name}}} in `{key}`; known there: {there_are}{meant}"),
            )
        })
    }

    /// What the TOML reader says, with the line, and with the key that was meant.
    fn explain(&self, error: &toml::de::Error) -> String {
        let message =
            error.message().replace("unknown field", "unknown key").replace("missing field", "missing key");
        // serde lists what it found and what it knows between backticks: every second piece is a name.
        let mut names = message.split('`').skip(1).step_by(2);
        let found = names.next().filter(|_| message.starts_with("unknown ")).unwrap_or_default();
        let known: Vec<_> = names.collect();
        let meant = meant(found, &known).map(|name| format!("; did you mean `{name}`?"));
        let message = format!("{message}{}", meant.unwrap_or_default());
        // What is missing has no place, and serde gives the whole file's.
        match error.span().filter(|_| !message.starts_with("missing key `publish`")) {
            Some(span) => self.at_byte(span.start, message),
            None => self.whole(message),
        }
    }
}

/// The known name that `found` is probably a slip of: one edit in three letters at most.
fn meant<'k>(found: &str, known: &[&'k str]) -> Option<&'k str> {
    let edits_max = (found.chars().count() / 3).max(1);
    let edits = known.iter().map(|name| (strsim::damerau_levenshtein(found, name), *name));
    edits.filter(|(edits, _)| *edits <= edits_max).min_by_key(|(edits, _)| *edits).map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAST: &str = "publish = '{payload}'\n[[line]]\nis = 'message'\n";

    #[test]
    fn every_built_in_file_is_a_dialect_and_opens_with_what_server_it_is_for() {
        for (name, text) in BUILT_IN {
            assert_eq!(built_in(name).unwrap().name, name);
            assert!(text.starts_with("# "), "{name}");
        }
        assert!(built_in("klingon").unwrap_err().contains("centrifuge, nats, nchan, raw"));
    }

    #[test]
    fn what_is_wrong_in_a_file_is_said_with_line_and_what_would_be_right() {
        let two_lines = |first: &str| format!("# A comment.\n{first}\n{LEAST}");
        for (text, said) in [
            ("greting = ''", "d.toml:2: unknown key `greting`, expected one of `frame`, "),
            ("greting = ''", "; did you mean `greeting`?"),
            ("replies = 'one'", "d.toml:2: invalid type: string \"one\", expected u16"),
            (
                "frame = 'txt'",
                "d.toml:2: unknown variant `txt`, expected `text` or `binary`; did you mean `text`?",
            ),
            ("line_end = ';'", "d.toml:2: `line_end` is \"\\n\" or"),
            ("pong = 'PONG'", "d.toml: `pong` and a [[line]] with is = \"ping\" need each other"),
            ("replies = 1", "d.toml: `replies` are due and no [[line]] is a \"reply\""),
            ("greeting = ''\njoin = ''\nroom_in_path = true", "d.toml:3: `join` and `room_in_path = true`"),
            ("join = ' {room}'", "d.toml:2: `greeting` is missing"),
            (
                "greeting = ''\njoin = '{rom}'",
                "d.toml:3: unknown placeholder {rom} in `join`; known there: {room}, {n}; did you mean {room}?",
            ),
            ("greeting = '{room}'", "unknown placeholder {room} in `greeting`; known there: {index}"),
            ("greeting = 'a'\ngreeting_end = '{n}'", "in `greeting_end`; known there: none"),
            ("greeting = ", "d.toml:2: "),
            (
                "greeting = 'a'\njoin_recover = 'b'",
                "d.toml:3: `join`, `join_recoverable` and `join_recover` need",
            ),
            ("reply_id_after = 'x'", "d.toml:2: `reply_id_after` needs an {id} in `publish`"),
        ] {
            let error = parse("d", "d.toml", &two_lines(text)).unwrap_err();
            assert!(error.contains(said), "{text}: {error}");
        }
        for (text, said) in [
            ("publish = '{payload}'", "d.toml: no [[line]] has is = \"message\""),
            ("[[line]]\nis = 'message'", "d.toml: missing key `publish`"),
            ("publish = 'x'\n[[line]]\nis = 'message'", "d.toml:1: `publish` has no {payload}"),
            ("publish = '{payload}'\n[[line]]\nis = 'mesage'", "d.toml:3: unknown variant `mesage`"),
            (
                "publish = '{payload}'\n[[line]]\nis = 'message'\nbegins = ''",
                "d.toml:4: unknown key `begins`",
            ),
        ] {
            let error = parse("d", "d.toml", text).unwrap_err();
            assert!(error.contains(said), "{text}: {error}");
        }
        assert!(parse("d", "d.toml", LEAST).is_ok());
        assert!(read("/nowhere/d.toml").unwrap_err().starts_with("/nowhere/d.toml: cannot be read"));
    }
}
