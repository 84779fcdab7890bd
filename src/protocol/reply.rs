//! Replies: what one command is answered.
//!
//! Each encoder appends exactly one reply, without the newline that separates replies. A field whose
//! value is zero is left out; the result object never is. The fields that are there even when they
//! are zero are those that SDKs read without a default: `error.code`, `error.message`,
//! `num_clients`, `num_users`, `presence`, all of `history`, and `user` and `client` of an info.

use super::client::{ClientId, ClientInfo};
use super::code::ErrorCode;
use super::json::{Members, integer, raw_json, string};

/// What a client learns when it has connected.
#[derive(Debug, Clone, Copy)]
pub struct ConnectResult<'a> {
    /// The connection's id.
    pub client: ClientId,
    /// The server's version; `""` is left out.
    pub version: &'a str,
    /// Seconds between two pings of the server; 0 for no pings.
    pub ping_s: u32,
    /// Whether the client must answer pings.
    pub pong: bool,
    /// Seconds until the connection expires, if it does.
    pub ttl_s: Option<u32>,
    /// JSON of the application.
    pub data: Option<&'a str>,
    /// Server-side subscriptions: the channel's name as a JSON string, and what it was answered.
    pub subs: &'a [(&'a str, SubscribeResult<'a>)],
}

/// What a client learns when it is subscribed.
#[derive(Debug, Clone, Copy, Default)]
pub struct SubscribeResult<'a> {
    /// The client may come back with its position and get what it missed.
    pub recoverable: bool,
    /// Where the channel's stream is, if the client is to follow it.
    pub position: Option<StreamPosition<'a>>,
    /// The client missed exactly `publications`.
    pub recovered: bool,
    /// What it missed: publications as JSON objects, separated by commas.
    pub publications: &'a [u8],
    /// The client asked for recovery, whether or not the channel can.
    pub was_recovering: bool,
    /// Seconds until the subscription expires, if it does.
    pub ttl_s: Option<u32>,
    /// JSON of the application.
    pub data: Option<&'a str>,
}

impl SubscribeResult<'_> {
    /// Appends the result as a JSON object.
    pub(super) fn write_json(&self, out: &mut Vec<u8>) {
        out.push(b'{');
        let mut members = Members::new(out);
        members.flag("recoverable", self.recoverable);
        if let Some(position) = &self.position {
            members.flag("positioned", true);
            string(members.key("epoch"), position.epoch);
            if position.offset != 0 {
                integer(members.key("offset"), position.offset);
            }
        }
        members.flag("recovered", self.recovered);
        members.flag("was_recovering", self.was_recovering);
        if !self.publications.is_empty() {
            list(members.key("publications"), self.publications);
        }
        members.expiry(self.ttl_s);
        members.raw("data", self.data);
        out.push(b'}');
    }
}

/// A place in a channel's stream.
#[derive(Debug, Clone, Copy)]
pub struct StreamPosition<'a> {
    /// The stream instance: letters and digits.
    pub epoch: &'a str,
    /// Number of the last publication before this place.
    pub offset: u64,
}

/// A method whose success says nothing but that it succeeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EmptyReply {
    /// `unsubscribe`
    Unsubscribe,
    /// `publish`
    Publish,
}

/// Appends `{"id":N,"error":{…}}`.
pub fn error(out: &mut Vec<u8>, id: u32, error: ErrorCode) {
    begin(out, id, "error");
    let mut members = Members::new(out);
    integer(members.key("code"), error.code());
    string(members.key("message"), error.message());
    members.flag("temporary", error.temporary());
    out.extend_from_slice(b"}}");
}

/// Appends the reply to `connect`.
pub fn connect(out: &mut Vec<u8>, id: u32, result: &ConnectResult<'_>) {
    begin(out, id, "connect");
    let mut members = Members::new(out);
    result.client.write_json(members.key("client"));
    if !result.version.is_empty() {
        string(members.key("version"), result.version);
    }
    members.expiry(result.ttl_s);
    members.raw("data", result.data);
    if !result.subs.is_empty() {
        write_subs(members.key("subs"), result.subs);
    }
    if result.ping_s != 0 {
        integer(members.key("ping"), result.ping_s);
    }
    members.flag("pong", result.pong);
    out.extend_from_slice(b"}}");
}

/// Appends the reply to `subscribe`.
pub fn subscribe(out: &mut Vec<u8>, id: u32, result: &SubscribeResult<'_>) {
    begin_value(out, id, "subscribe");
    result.write_json(out);
    out.push(b'}');
}

/// Appends the reply to a command that succeeds without a result.
pub fn empty(out: &mut Vec<u8>, id: u32, method: EmptyReply) {
    let name = match method {
        EmptyReply::Unsubscribe => "unsubscribe",
        EmptyReply::Publish => "publish",
    };
    begin(out, id, name);
    out.extend_from_slice(b"}}");
}

/// Begins the reply to `presence`. The members follow one by one, as they come from the shards, and
/// [`presence_end`] ends it; until then the buffer holds half a reply.
pub fn presence_begin(out: &mut Vec<u8>, id: u32) {
    begin(out, id, "presence");
    out.extend_from_slice(b"\"presence\":{");
}

/// Appends one member to a reply to `presence`; `first` tells that none was appended before.
pub fn presence_member(out: &mut Vec<u8>, first: bool, info: &ClientInfo<'_>) {
    if !first {
        out.push(b',');
    }
    info.client.write_json(out);
    out.push(b':');
    info.write_json(out);
}

/// Ends the reply to `presence`.
pub fn presence_end(out: &mut Vec<u8>) {
    out.extend_from_slice(b"}}}");
}

/// Appends the reply to `presence_stats`. `num_users` counts distinct users, all anonymous ones as one.
pub fn presence_stats(out: &mut Vec<u8>, id: u32, num_clients: u32, num_users: u32) {
    begin(out, id, "presence_stats");
    let mut members = Members::new(out);
    integer(members.key("num_clients"), num_clients);
    integer(members.key("num_users"), num_users);
    out.extend_from_slice(b"}}");
}

/// Appends the reply to `history`: `publications` are JSON objects, separated by commas.
pub fn history(out: &mut Vec<u8>, id: u32, position: StreamPosition<'_>, publications: &[u8]) {
    begin(out, id, "history");
    let mut members = Members::new(out);
    list(members.key("publications"), publications);
    string(members.key("epoch"), position.epoch);
    integer(members.key("offset"), position.offset);
    out.extend_from_slice(b"}}");
}

/// Appends the reply to `rpc`, whose data `encode` appends as one JSON value.
pub fn rpc(out: &mut Vec<u8>, id: u32, encode: impl FnOnce(&mut Vec<u8>)) {
    begin(out, id, "rpc");
    encode(Members::new(out).key("data"));
    out.extend_from_slice(b"}}");
}

/// Appends what `read` is answered: where the cursor is.
pub fn read_cursor(out: &mut Vec<u8>, offset: u64) {
    out.extend_from_slice(b"{\"offset\":");
    integer(out, offset);
    out.push(b'}');
}

/// Appends what `unread` is answered: for each channel its last offset and that of the cursor.
pub fn unread_counts<'a>(out: &mut Vec<u8>, counts: impl Iterator<Item = (&'a str, u64, u64)>) {
    out.extend_from_slice(b"{\"channels\":{");
    let mut channels = Members::new(out);
    for (channel, offset, read) in counts {
        let out = channels.quoted_key(channel);
        out.push(b'{');
        let mut members = Members::new(out);
        integer(members.key("unread"), offset.saturating_sub(read));
        integer(members.key("offset"), offset);
        integer(members.key("read"), read);
        out.push(b'}');
    }
    out.extend_from_slice(b"}}");
}

/// Appends the reply to `refresh`: the seconds until the connection expires now, if it does.
pub fn refresh(out: &mut Vec<u8>, id: u32, ttl_s: Option<u32>) {
    begin(out, id, "refresh");
    Members::new(out).expiry(ttl_s);
    out.extend_from_slice(b"}}");
}

/// Appends the reply to `sub_refresh`: the seconds until the subscription expires now, if it does.
pub fn sub_refresh(out: &mut Vec<u8>, id: u32, ttl_s: Option<u32>) {
    begin(out, id, "sub_refresh");
    Members::new(out).expiry(ttl_s);
    out.extend_from_slice(b"}}");
}

/// Appends a reply up to the value of its method.
fn begin_value(out: &mut Vec<u8>, id: u32, method: &str) {
    out.extend_from_slice(b"{\"id\":");
    integer(out, id);
    out.extend_from_slice(b",\"");
    out.extend_from_slice(method.as_bytes());
    out.extend_from_slice(b"\":");
}

/// Appends a reply up to the first member of its result.
fn begin(out: &mut Vec<u8>, id: u32, method: &str) {
    begin_value(out, id, method);
    out.push(b'{');
}

/// Appends JSON values that commas separate as an array.
fn list(out: &mut Vec<u8>, values: &[u8]) {
    out.push(b'[');
    out.extend_from_slice(values);
    out.push(b']');
}

/// Appends the map of channel to subscription.
fn write_subs(out: &mut Vec<u8>, subs: &[(&str, SubscribeResult<'_>)]) {
    out.push(b'{');
    for (nth, (channel_json, result)) in subs.iter().enumerate() {
        if nth != 0 {
            out.push(b',');
        }
        raw_json(out, channel_json);
        out.push(b':');
        result.write_json(out);
    }
    out.push(b'}');
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::json::quote;
    use super::*;

    const CLIENT: &str = "00000000-0000-4000-8000-000000000000";
    const ANONYMOUS: ClientInfo<'static> =
        ClientInfo { user: "", client: ClientId::new([0; 16]), conn_info: None, chan_info: None };
    const CONNECTED: ConnectResult<'static> = ConnectResult {
        client: ClientId::new([0; 16]),
        version: "",
        ping_s: 0,
        pong: false,
        ttl_s: None,
        data: None,
        subs: &[],
    };

    /// What an encoder writes after other bytes, which it must leave alone.
    fn written(encode: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = b"{}\n".to_vec();
        encode(&mut out);
        let text = String::from_utf8(out).unwrap();
        let reply = text.strip_prefix("{}\n").expect("earlier replies stay").to_owned();
        assert!(!reply.contains('\n'), "{reply}");
        let _: Value = serde_json::from_str(&reply).expect(&reply);
        reply
    }

    #[test]
    fn an_error_says_temporary_only_if_it_is() {
        assert_eq!(
            written(|out| error(out, 2, ErrorCode::PermissionDenied)),
            r#"{"id":2,"error":{"code":103,"message":"permission denied"}}"#
        );
        assert_eq!(
            written(|out| error(out, u32::MAX, ErrorCode::Internal)),
            r#"{"id":4294967295,"error":{"code":100,"message":"internal server error","temporary":true}}"#
        );
        for code in ErrorCode::ALL {
            written(|out| error(out, 1, code));
        }
    }

    #[test]
    fn a_bare_connect_has_its_client_id_and_no_zero_value() {
        let expected = format!(r#"{{"id":1,"connect":{{"client":"{CLIENT}"}}}}"#);
        assert_eq!(written(|out| connect(out, 1, &CONNECTED)), expected);
    }

    #[test]
    fn a_full_connect_tells_all_it_knows() {
        let name = quote("news:\"e\nu\" é");
        let recovering = SubscribeResult {
            was_recovering: true,
            ttl_s: Some(9),
            data: Some("{\n}"),
            ..SubscribeResult::default()
        };
        let subs = [(&*name, recovering), ("\"b\"", SubscribeResult::default())];
        let result = ConnectResult {
            version: "throng \"1\"",
            ping_s: 25,
            pong: true,
            ttl_s: Some(590),
            data: Some("{\"a\":\n1}"),
            subs: &subs,
            ..CONNECTED
        };
        let reply: Value = serde_json::from_str(&written(|out| connect(out, 1, &result))).unwrap();
        let expected = json!({"id": 1, "connect": {
            "client": CLIENT, "version": "throng \"1\"", "expires": true, "ttl": 590, "ping": 25, "pong": true,
            "data": {"a": 1},
            "subs": {
                "news:\"e\nu\" é": {"was_recovering": true, "expires": true, "ttl": 9, "data": {}},
                "b": {},
            },
        }});
        assert_eq!(reply, expected);
    }

    #[test]
    fn a_plain_subscription_is_an_empty_object() {
        let plain = SubscribeResult::default();
        assert_eq!(written(|out| subscribe(out, 2, &plain)), r#"{"id":2,"subscribe":{}}"#);
        let recovering = SubscribeResult { was_recovering: true, ..plain };
        assert_eq!(
            written(|out| subscribe(out, 2, &recovering)),
            r#"{"id":2,"subscribe":{"was_recovering":true}}"#
        );
        let expiring = SubscribeResult { ttl_s: Some(0), data: Some("[ 1,\n2]"), ..plain };
        assert_eq!(
            written(|out| subscribe(out, 2, &expiring)),
            r#"{"id":2,"subscribe":{"expires":true,"ttl":0,"data":[ 1,2]}}"#
        );
    }

    #[test]
    fn a_recovered_subscription_says_where_it_was_and_what_it_missed() {
        let position = StreamPosition { epoch: "kTqWzLpA", offset: 10 };
        let recovered = SubscribeResult {
            recoverable: true,
            position: Some(position),
            recovered: true,
            was_recovering: true,
            publications: br#"{"data":1,"offset":11},{"data":2,"offset":12}"#,
            ..SubscribeResult::default()
        };
        assert_eq!(
            written(|out| subscribe(out, 2, &recovered)),
            r#"{"id":2,"subscribe":{"recoverable":true,"positioned":true,"epoch":"kTqWzLpA","offset":10,"recovered":true,"was_recovering":true,"publications":[{"data":1,"offset":11},{"data":2,"offset":12}]}}"#
        );
        let fresh = StreamPosition { offset: 0, ..position };
        let positioned = SubscribeResult { position: Some(fresh), ..SubscribeResult::default() };
        assert_eq!(
            written(|out| subscribe(out, 2, &positioned)),
            r#"{"id":2,"subscribe":{"positioned":true,"epoch":"kTqWzLpA"}}"#
        );
    }

    #[test]
    fn history_keeps_its_zeros() {
        let position = StreamPosition { epoch: "kTqWzLpA", offset: 0 };
        assert_eq!(
            written(|out| history(out, 7, position, b"")),
            r#"{"id":7,"history":{"publications":[],"epoch":"kTqWzLpA","offset":0}}"#
        );
        assert_eq!(
            written(|out| history(out, 7, position, br#"{"data":1}"#)),
            r#"{"id":7,"history":{"publications":[{"data":1}],"epoch":"kTqWzLpA","offset":0}}"#
        );
    }

    #[test]
    fn an_rpc_is_answered_with_data() {
        assert_eq!(written(|out| rpc(out, 4, |out| out.push(b'7'))), r#"{"id":4,"rpc":{"data":7}}"#);
    }

    #[test]
    fn unread_is_what_is_behind_the_cursor() {
        let counts = [("a\"b", 10, 7), ("c", 0, 0)];
        assert_eq!(
            written(|out| rpc(out, 4, |out| unread_counts(out, counts.into_iter()))),
            r#"{"id":4,"rpc":{"data":{"channels":{"a\"b":{"unread":3,"offset":10,"read":7},"c":{"unread":0,"offset":0,"read":0}}}}}"#
        );
        assert_eq!(
            written(|out| rpc(out, 4, |out| read_cursor(out, 9))),
            r#"{"id":4,"rpc":{"data":{"offset":9}}}"#
        );
    }

    #[test]
    fn a_success_without_result_keeps_its_result_object() {
        assert_eq!(written(|out| empty(out, 3, EmptyReply::Unsubscribe)), r#"{"id":3,"unsubscribe":{}}"#);
        assert_eq!(written(|out| empty(out, 5, EmptyReply::Publish)), r#"{"id":5,"publish":{}}"#);
    }

    #[test]
    fn presence_is_written_member_by_member() {
        let nobody = written(|out| {
            presence_begin(out, 8);
            presence_end(out);
        });
        assert_eq!(nobody, r#"{"id":8,"presence":{"presence":{}}}"#);

        let ann = ClientInfo {
            user: "42",
            client: ClientId::new([0xff; 16]),
            conn_info: Some("{\"nick\":\"ann\"}"),
            chan_info: Some("{\n\"role\":\"mod\"}"),
        };
        let two = written(|out| {
            presence_begin(out, 8);
            presence_member(out, true, &ANONYMOUS);
            presence_member(out, false, &ann);
            presence_end(out);
        });
        let ann_client = ann.client.to_string();
        let expected = json!({"id": 8, "presence": {"presence": {
            CLIENT: {"user": "", "client": CLIENT},
            ann_client.clone(): {
                "user": "42", "client": ann_client, "conn_info": {"nick": "ann"}, "chan_info": {"role": "mod"},
            },
        }}});
        assert_eq!(serde_json::from_str::<Value>(&two).unwrap(), expected);
    }

    #[test]
    fn presence_stats_keep_their_zeros() {
        assert_eq!(
            written(|out| presence_stats(out, 9, 0, 0)),
            r#"{"id":9,"presence_stats":{"num_clients":0,"num_users":0}}"#
        );
        assert_eq!(
            written(|out| presence_stats(out, 9, 3, 2)),
            r#"{"id":9,"presence_stats":{"num_clients":3,"num_users":2}}"#
        );
    }

    #[test]
    fn a_refresh_tells_the_new_end_if_there_is_one() {
        assert_eq!(
            written(|out| refresh(out, 10, Some(600))),
            r#"{"id":10,"refresh":{"expires":true,"ttl":600}}"#
        );
        assert_eq!(written(|out| refresh(out, 10, None)), r#"{"id":10,"refresh":{}}"#);
        assert_eq!(
            written(|out| sub_refresh(out, 11, Some(600))),
            r#"{"id":11,"sub_refresh":{"expires":true,"ttl":600}}"#
        );
        assert_eq!(written(|out| sub_refresh(out, 11, None)), r#"{"id":11,"sub_refresh":{}}"#);
    }
}
