//! Who a client is, as others see it: its id and the info that presence, joins and publications carry.

use std::fmt;

use super::json::{Members, string};

/// Length of a client id's text: 32 hexadecimal digits and four hyphens.
pub const CLIENT_ID_TEXT_BYTES: usize = 36;

/// The id of one connection: a UUID of version 4, kept as its 16 bytes.
///
/// The version and variant bits are set when it is made, so two ids are equal exactly if their texts are.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientId([u8; 16]);

impl ClientId {
    /// Makes an id of 16 bytes, of which six bits are overwritten with the version and the variant.
    /// That the other 122 do not repeat is the caller's care.
    pub const fn new(mut bytes: [u8; 16]) -> Self {
        bytes[6] = bytes[6] & 0x0f | 0x40;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        ClientId(bytes)
    }

    /// The text: `xxxxxxxx-xxxx-4xxx-yxxx-xxxxxxxxxxxx`, lower-case ASCII that needs no JSON escape.
    pub fn text(self) -> [u8; CLIENT_ID_TEXT_BYTES] {
        let mut text = [b'-'; CLIENT_ID_TEXT_BYTES];
        let mut at = 0;
        for byte in self.0 {
            if HYPHENS_AT.contains(&at) {
                at += 1;
            }
            text[at] = HEX_DIGITS[usize::from(byte >> 4)];
            text[at + 1] = HEX_DIGITS[usize::from(byte & 0x0f)];
            at += 2;
        }
        text
    }

    /// Appends the id as a JSON string, quotes included.
    pub fn write_json(self, out: &mut Vec<u8>) {
        out.push(b'"');
        out.extend_from_slice(&self.text());
        out.push(b'"');
    }
}

const HEX_DIGITS: &[u8; 16] = b"0123456789abcdef";

/// Where the hyphens of the text are. Source: RFC 9562 §4.
const HYPHENS_AT: [usize; 4] = [8, 13, 18, 23];

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.text().iter().try_for_each(|&char| fmt::Write::write_char(f, char as char))
    }
}

impl fmt::Debug for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What others learn about a client. `user` and `client` are always on the wire, even if empty.
#[derive(Debug, Clone, Copy)]
pub struct ClientInfo<'a> {
    /// The user id; `""` is an anonymous user.
    pub user: &'a str,
    /// The connection's id.
    pub client: ClientId,
    /// JSON from the connection token's `info`.
    pub conn_info: Option<&'a str>,
    /// JSON from the subscription token's `info`.
    pub chan_info: Option<&'a str>,
}

impl ClientInfo<'_> {
    /// Appends the info as a JSON object.
    pub fn write_json(&self, out: &mut Vec<u8>) {
        out.push(b'{');
        let mut members = Members::new(out);
        string(members.key("user"), self.user);
        self.client.write_json(members.key("client"));
        members.raw("conn_info", self.conn_info);
        members.raw("chan_info", self.chan_info);
        out.push(b'}');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_the_text_of_a_version_4_uuid() {
        assert_eq!(ClientId::new([0; 16]).to_string(), "00000000-0000-4000-8000-000000000000");
        assert_eq!(ClientId::new([0xff; 16]).to_string(), "ffffffff-ffff-4fff-bfff-ffffffffffff");
        let counting = std::array::from_fn(|at| at as u8 * 0x11);
        assert_eq!(ClientId::new(counting).to_string(), "00112233-4455-4677-8899-aabbccddeeff");
    }

    #[test]
    fn info_leaves_out_what_it_lacks_and_keeps_an_empty_user() {
        let client = ClientId::new([0; 16]);
        let mut out = Vec::new();
        ClientInfo { user: "", client, conn_info: None, chan_info: None }.write_json(&mut out);
        assert_eq!(out, br#"{"user":"","client":"00000000-0000-4000-8000-000000000000"}"#);

        out.clear();
        let (conn_info, chan_info) = (Some("{\"nick\":\n\"ann\"}"), Some("1"));
        ClientInfo { user: "a\"\n", client, conn_info, chan_info }.write_json(&mut out);
        let expected: &[u8] = br#"{"user":"a\"\n","client":"00000000-0000-4000-8000-000000000000","conn_info":{"nick":"ann"},"chan_info":1}"#;
        assert_eq!(out, expected);
    }
}
