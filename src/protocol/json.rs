//! The few ways bytes get into a reply: raw payloads, escaped strings, numbers.
//!
//! Invariant: none of them writes a newline, which would end the reply in the middle.
//!
//! Absent on purpose: a serializer over structs. Replies are short and fixed, so each encoder is
//! the text of its reply with holes.

use jsonwebtoken::DecodingKey;
use serde_json::value::RawValue;

/// Appends `data`, one JSON value, byte for byte except its newlines.
///
/// Newlines inside JSON can only be white space (in strings they are escaped), so the value stays
/// the same. `\r` is kept: it separates nothing here.
pub fn raw_json(out: &mut Vec<u8>, data: &str) {
    let mut rest = data.as_bytes();
    while let Some(at) = memchr::memchr(b'\n', rest) {
        out.extend_from_slice(&rest[..at]);
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
}

/// The JSON that `text` holds in standard base64; `None` if it is not base64 or does not hold JSON,
/// which would break every reply that it is put into.
pub fn from_base64(text: &str) -> Option<Box<str>> {
    // A key from base64 is the door that `jsonwebtoken` has to its decoder of standard base64.
    let bytes = DecodingKey::from_base64_secret(text).ok()?;
    let json: &RawValue = serde_json::from_slice(bytes.try_get_as_bytes().ok()?).ok()?;
    Some(json.get().into())
}

/// Appends `text` as a JSON string, quotes included; control characters are escaped.
pub fn string(out: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(out, text).expect("a string always serializes and a Vec takes every write");
}

/// Returns `name` as a JSON string, quotes included. A room keeps it, so that a push need not escape.
pub fn quote(name: &str) -> Box<str> {
    serde_json::to_string(name).expect("a string always serializes").into_boxed_str()
}

/// Appends a number in decimal.
pub(super) fn integer<I: itoa::Integer>(out: &mut Vec<u8>, number: I) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// Writes the members of an object whose zero values are left out: the commas between them.
///
/// The object's opening brace is already in the buffer, and its closing one is the caller's.
pub(super) struct Members<'o> {
    out: &'o mut Vec<u8>,
    any: bool,
}

impl<'o> Members<'o> {
    /// Starts with no member written yet.
    pub(super) fn new(out: &'o mut Vec<u8>) -> Self {
        Members { out, any: false }
    }

    /// Writes the name of the next member and returns the buffer for its value.
    /// `name` is ours: plain ASCII that needs no escape.
    pub(super) fn key(&mut self, name: &str) -> &mut Vec<u8> {
        if self.any {
            self.out.push(b',');
        }
        self.any = true;
        self.out.push(b'"');
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
        self.out
    }

    /// The same for a name that is not ours.
    pub(super) fn quoted_key(&mut self, name: &str) -> &mut Vec<u8> {
        if self.any {
            self.out.push(b',');
        }
        self.any = true;
        string(self.out, name);
        self.out.push(b':');
        self.out
    }

    /// Writes `"name":true` if it is true.
    pub(super) fn flag(&mut self, name: &str, value: bool) {
        if value {
            self.key(name).extend_from_slice(b"true");
        }
    }

    /// Writes a raw JSON value if there is one.
    pub(super) fn raw(&mut self, name: &str, value: Option<&str>) {
        if let Some(value) = value {
            raw_json(self.key(name), value);
        }
    }

    /// Writes `"expires":true,"ttl":N` if there is an end. The ttl is written even when it is 0:
    /// an SDK that reads `expires` without it starts a timer of no length.
    pub(super) fn expiry(&mut self, ttl_s: Option<u32>) {
        if let Some(ttl_s) = ttl_s {
            self.flag("expires", true);
            integer(self.key("ttl"), ttl_s);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(data: &str) -> String {
        let mut out = b"> ".to_vec();
        raw_json(&mut out, data);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_payload_passes_through_byte_for_byte_but_for_its_newlines() {
        assert_eq!(raw("{\"n\": 1}"), "> {\"n\": 1}");
        assert_eq!(raw("{\n  \"n\":\r\n 1\n}"), "> {  \"n\":\r 1}");
        assert_eq!(raw("\n\n"), "> ");
        assert_eq!(raw(r#""a\nb""#), r#"> "a\nb""#);
    }

    #[test]
    fn a_hostile_name_is_quoted_into_one_line_of_json() {
        for name in
            ["", "room:7", "a\"b", "back\\slash", "line\nfeed\r\t\u{0}\u{1f}", "комната 🦀", "\u{2028}\u{7f}"]
        {
            let quoted = quote(name);
            assert!(!quoted.contains('\n'));
            assert_eq!(serde_json::from_str::<String>(&quoted).unwrap(), name);
            let mut out = Vec::new();
            string(&mut out, name);
            assert_eq!(out, quoted.as_bytes());
        }
    }
}
