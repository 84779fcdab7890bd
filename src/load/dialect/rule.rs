//! What a received line is: rules that are compared in order, each a few bytes at a known place.
//!
//! A member of a room of 1,000 sees every message, so what can be prepared is, when the dialect is
//! read: texts are bytes, and what may stand anywhere has its searcher built.

use memchr::memmem::Finder;
use serde::Deserialize;

use super::template::Template;

/// What a received line is to the generator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Line {
    /// A message of a room: what is counted.
    Message,
    /// The server asks whether we live; the answer is the dialect's `pong`.
    Ping,
    /// A good reply to a command.
    Reply,
    /// A reply with an error.
    Refusal,
    /// Somebody joined or left a room.
    Coming,
    /// The server ended the connection's membership, and it may come back.
    Unsubscribed,
    /// Anything else.
    Other,
}

/// One rule: the line has to meet every condition that there is.
#[derive(Debug)]
pub struct Rule {
    /// What a line is that meets them.
    pub line: Line,
    equals: Option<Box<[u8]>>,
    starts: Option<Start>,
    contains: Option<Finder<'static>>,
}

/// The front of a line: a text, then for each room number in it its digits and another text.
#[derive(Debug)]
struct Start {
    first: Box<[u8]>,
    after_digits: Box<[Box<[u8]>]>,
}

impl Rule {
    /// A rule from its conditions; `starts` may hold placeholders for rooms, which stand for digits.
    pub fn new(line: Line, equals: Option<&str>, starts: Option<&Template>, contains: Option<&str>) -> Self {
        let bytes = |text: &str| Box::from(text.as_bytes());
        let starts = starts.map(|template| {
            let mut texts = template.texts().into_iter();
            Start { first: bytes(texts.next().unwrap_or_default()), after_digits: texts.map(bytes).collect() }
        });
        let contains = contains.map(|text| Finder::new(text).into_owned());
        Self { line, equals: equals.map(bytes), starts, contains }
    }

    /// True if `line` meets all conditions, the cheap ones first.
    pub fn meets(&self, line: &[u8]) -> bool {
        self.equals.as_deref().is_none_or(|text| line == text)
            && self.starts.as_ref().is_none_or(|start| start.meets(line))
            && self.contains.as_ref().is_none_or(|finder| finder.find(line).is_some())
    }
}

impl Start {
    fn meets(&self, line: &[u8]) -> bool {
        let Some(mut rest) = line.strip_prefix(&*self.first) else { return false };
        for text in &self.after_digits {
            let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
            match rest[digits..].strip_prefix(&**text) {
                Some(after) if digits > 0 => rest = after,
                _ => return false,
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::super::template::Placeholder;
    use super::*;

    #[test]
    fn a_rule_wants_all_its_conditions_and_digits_where_a_room_stands() {
        let start = Template::parse("a-{room}:{room}!", &[Placeholder::Room]).unwrap();
        let rule = Rule::new(Line::Message, None, Some(&start), Some("end"));
        assert!(rule.meets(b"a-1:23! the end"));
        for line in ["a-1:23! the", "a-:2! end", "a-1:2 end", "b-1:2! end", "a-1", ""] {
            assert!(!rule.meets(line.as_bytes()), "{line}");
        }
        let equal = Rule::new(Line::Reply, Some("PONG"), None, None);
        assert!(equal.meets(b"PONG") && !equal.meets(b"PONG "));
        assert!(Rule::new(Line::Message, None, None, None).meets(b""), "no condition, any line");
    }
}
