//! Texts with placeholders in braces: cut into pieces once, when a dialect is read, and written often.
//!
//! A placeholder is `{` and a lower-case name and `}`, which JSON never contains: there, after a brace,
//! comes a quote or another brace. So there is no escape, and none is needed.

use super::payload::write_payload;

/// A value that a template may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placeholder {
    /// The connection's number over the whole run, from 0.
    Index,
    /// Its token.
    Token,
    /// The room's number, from 0.
    Room,
    /// 2 for the first room of a connection, 3 for the second; 1 is left for the greeting.
    N,
    /// The epoch of a room's stream.
    Epoch,
    /// An offset in it.
    Offset,
    /// A number from 1,000, another for each publish.
    Id,
    /// The payload, with its sequence number.
    Payload,
    /// The payload's length.
    PayloadBytes,
}

impl Placeholder {
    /// Its name between the braces.
    pub fn name(self) -> &'static str {
        match self {
            Self::Index => "index",
            Self::Token => "token",
            Self::Room => "room",
            Self::N => "n",
            Self::Epoch => "epoch",
            Self::Offset => "offset",
            Self::Id => "id",
            Self::Payload => "payload",
            Self::PayloadBytes => "payload_bytes",
        }
    }
}

/// What placeholders stand for; those that a template does not use may be left at their defaults.
#[derive(Debug, Clone, Copy, Default)]
pub struct Values<'a> {
    /// For [`Placeholder::Index`].
    pub index: u64,
    /// For [`Placeholder::Token`].
    pub token: &'a str,
    /// For [`Placeholder::Room`].
    pub room: u64,
    /// For [`Placeholder::N`].
    pub n: u64,
    /// For [`Placeholder::Epoch`].
    pub epoch: &'a str,
    /// For [`Placeholder::Offset`].
    pub offset: u64,
    /// For [`Placeholder::Id`] and [`Placeholder::Payload`].
    pub sequence: u64,
    /// For [`Placeholder::Payload`] and [`Placeholder::PayloadBytes`].
    pub payload_bytes: usize,
}

/// What `{id}` is in the publish with number `sequence`: ids are 32 bits wide, 0 means none, and small
/// ones are the greeting's. It repeats after a billion, far more than any connection has in flight.
pub fn publish_id(sequence: u64) -> u64 {
    sequence % 1_000_000_000 + 1_000
}

/// A text with placeholders, cut into its pieces.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Template(Vec<Piece>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(Box<str>),
    Value(Placeholder),
}

impl Template {
    /// Cuts `text`, which may name the placeholders in `known`.
    ///
    /// # Errors
    ///
    /// The name of the first placeholder that is not in `known`.
    pub fn parse<'t>(text: &'t str, known: &[Placeholder]) -> Result<Self, &'t str> {
        let (mut pieces, mut text_from, mut at) = (Vec::new(), 0, 0);
        while let Some(open) = text[at..].find('{').map(|open| at + open) {
            at = open + 1;
            let Some(name) = placeholder_name(&text[at..]) else { continue };
            let value = known.iter().find(|placeholder| placeholder.name() == name).ok_or(name)?;
            if text_from < open {
                pieces.push(Piece::Text(text[text_from..open].into()));
            }
            pieces.push(Piece::Value(*value));
            at += name.len() + 1;
            text_from = at;
        }
        if text_from < text.len() {
            pieces.push(Piece::Text(text[text_from..].into()));
        }
        Ok(Self(pieces))
    }

    /// Cuts `text` at `{room}`; any other brace is the server's business.
    pub fn with_room(text: &str) -> Self {
        let texts = text.split("{room}").map(|text| Piece::Text(text.into()));
        let pieces = texts.flat_map(|text| [Piece::Value(Placeholder::Room), text]);
        Self(pieces.skip(1).collect())
    }

    /// Appends the text with `values` in the placeholders' stead.
    pub fn write(&self, out: &mut Vec<u8>, values: &Values<'_>) {
        let number = |out: &mut Vec<u8>, value: u64| {
            out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
        };
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => out.extend_from_slice(text.as_bytes()),
                Piece::Value(Placeholder::Index) => number(out, values.index),
                Piece::Value(Placeholder::Token) => out.extend_from_slice(values.token.as_bytes()),
                Piece::Value(Placeholder::Room) => number(out, values.room),
                Piece::Value(Placeholder::N) => number(out, values.n),
                Piece::Value(Placeholder::Epoch) => out.extend_from_slice(values.epoch.as_bytes()),
                Piece::Value(Placeholder::Offset) => number(out, values.offset),
                Piece::Value(Placeholder::Id) => number(out, publish_id(values.sequence)),
                Piece::Value(Placeholder::Payload) => {
                    write_payload(out, values.sequence, values.payload_bytes);
                }
                Piece::Value(Placeholder::PayloadBytes) => number(out, values.payload_bytes as u64),
            }
        }
    }

    /// The texts before and after each placeholder: one more than there are placeholders.
    pub fn texts(&self) -> Vec<&str> {
        let mut texts = vec![""];
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => {
                    *texts.last_mut().unwrap_or_else(|| unreachable!("it starts with one")) = text
                }
                Piece::Value(_) => texts.push(""),
            }
        }
        texts
    }

    /// True if it writes nothing.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The name that `text`, which follows a brace, begins with, if it is one and a brace closes it.
fn placeholder_name(text: &str) -> Option<&str> {
    let name = &text[..text.find('}')?];
    let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    is_name.then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_writes_its_text_with_values_and_leaves_json_alone() {
        let text = r#"{room}{"a":{},"b":[{room},{"{n}"}]} {"#;
        let template = Template::parse(text, &[Placeholder::Room, Placeholder::N]).unwrap();
        let mut out = Vec::new();
        template.write(&mut out, &Values { room: 7, n: 12, ..Values::default() });
        assert_eq!(out, br#"7{"a":{},"b":[7,{"12"}]} {"#);
        assert_eq!(template.texts(), ["", r#"{"a":{},"b":["#, r#",{""#, r#""}]} {"#]);
    }

    #[test]
    fn an_upgrade_has_the_room_wherever_its_path_does_and_keeps_other_braces() {
        let mut out = Vec::new();
        let template = Template::with_room("GET /{a}/{room}?b={room} HTTP/1.1");
        template.write(&mut out, &Values { room: 7, ..Values::default() });
        assert_eq!(out, b"GET /{a}/7?b=7 HTTP/1.1");
    }

    #[test]
    fn a_placeholder_that_is_not_known_is_named() {
        assert_eq!(Template::parse("a {id} {rom}", &[Placeholder::Id]), Err("rom"));
        assert_eq!(Template::parse("{Room} {} {", &[]).unwrap().texts(), ["{Room} {} {"]);
    }
}
