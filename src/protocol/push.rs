//! Pushes: what the server sends without being asked.
//!
//! Each encoder appends exactly one push, without the newline that separates replies. A channel
//! arrives as `channel_json`, its name as a JSON string made once by [`quote`]: a push is encoded
//! per message and a name is not. Nothing here checks that it is one.
//!
//! Absent on purpose: `connect`, `disconnect` and `message`, which only other transports use (a
//! WebSocket is closed with a close frame).

use super::client::ClientInfo;
use super::code::Unsubscribe;
use super::json::{Members, integer, string};
use super::reply::{StreamPosition, SubscribeResult};

pub use super::json::{quote, raw_json};

/// The server's ping, which is the reply with nothing in it. A client's pong is the same bytes.
pub const PING: &[u8] = b"{}";

/// Appends a publication.
///
/// `body` is its members without braces and offset, as [`body`] writes them. `offset` is its number in
/// the channel's history, if it has one; 0 is left out, because numbers start at 1.
pub fn publication(out: &mut Vec<u8>, channel_json: &str, body: &[u8], offset: u64) {
    begin(out, channel_json, "pub");
    write_publication(out, body, offset);
    end(out);
}

/// Appends a publication as an object, as lists of publications have it.
pub fn publication_object(out: &mut Vec<u8>, body: &[u8], offset: u64) {
    out.push(b'{');
    write_publication(out, body, offset);
    out.push(b'}');
}

fn write_publication(out: &mut Vec<u8>, body: &[u8], offset: u64) {
    out.extend_from_slice(body);
    if offset != 0 {
        out.extend_from_slice(b",\"offset\":");
        integer(out, offset);
    }
}

/// Appends what a publication says, however it is delivered: the members of its object.
///
/// `data` is one JSON value and is passed through without its newlines. `info` is the publisher, if
/// it is a client; `tags` is a JSON object of the application.
pub fn body(out: &mut Vec<u8>, data: &str, info: Option<&ClientInfo<'_>>, tags: Option<&str>) {
    let mut members = Members::new(out);
    members.raw("data", Some(data));
    if let Some(info) = info {
        info.write_json(members.key("info"));
    }
    members.raw("tags", tags);
}

/// Appends that a client has become a member of the channel.
pub fn join(out: &mut Vec<u8>, channel_json: &str, info: &ClientInfo<'_>) {
    begin(out, channel_json, "join");
    info.write_json(Members::new(out).key("info"));
    end(out);
}

/// Appends that a client has left the channel.
pub fn leave(out: &mut Vec<u8>, channel_json: &str, info: &ClientInfo<'_>) {
    begin(out, channel_json, "leave");
    info.write_json(Members::new(out).key("info"));
    end(out);
}

/// Appends that the server has ended the client's subscription, and why.
pub fn unsubscribe(out: &mut Vec<u8>, channel_json: &str, unsubscribe: Unsubscribe) {
    begin(out, channel_json, "unsubscribe");
    let mut members = Members::new(out);
    integer(members.key("code"), unsubscribe.code());
    string(members.key("reason"), unsubscribe.reason());
    end(out);
}

/// Appends that the server has subscribed the client to the channel: where its stream is, if the
/// client is to follow it, and `data`, JSON of the application.
pub fn subscribe(
    out: &mut Vec<u8>,
    channel_json: &str,
    recoverable: bool,
    position: Option<StreamPosition<'_>>,
    data: Option<&str>,
) {
    begin_value(out, channel_json, "subscribe");
    SubscribeResult { recoverable, position, data, ..SubscribeResult::default() }.write_json(out);
    out.extend_from_slice(b"}}");
}

/// Appends a publication that the client missed, as [`publication_object`] wrote it.
pub fn recovered(out: &mut Vec<u8>, channel_json: &str, publication: &str) {
    begin_value(out, channel_json, "pub");
    raw_json(out, publication);
    out.extend_from_slice(b"}}");
}

/// Appends that the connection expires at another time: in `ttl_s`, or never.
pub fn refresh(out: &mut Vec<u8>, ttl_s: Option<u32>) {
    out.extend_from_slice(b"{\"push\":{\"refresh\":{");
    Members::new(out).expiry(ttl_s);
    end(out);
}

/// Appends a push up to the first member of its value.
fn begin(out: &mut Vec<u8>, channel_json: &str, kind: &str) {
    begin_value(out, channel_json, kind);
    out.push(b'{');
}

/// Appends a push up to its value.
fn begin_value(out: &mut Vec<u8>, channel_json: &str, kind: &str) {
    out.extend_from_slice(b"{\"push\":{\"channel\":");
    out.extend_from_slice(channel_json.as_bytes());
    out.extend_from_slice(b",\"");
    out.extend_from_slice(kind.as_bytes());
    out.extend_from_slice(b"\":");
}

/// Closes the value, the push and the reply.
fn end(out: &mut Vec<u8>) {
    out.extend_from_slice(b"}}}");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::super::client::ClientId;
    use super::*;

    const CLIENT: &str = "00000000-0000-4000-8000-000000000000";
    const ANN: ClientInfo<'static> =
        ClientInfo { user: "42", client: ClientId::new([0; 16]), conn_info: None, chan_info: None };

    fn written(encode: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = b"{}\n".to_vec();
        encode(&mut out);
        let text = String::from_utf8(out).unwrap();
        let push = text.strip_prefix("{}\n").expect("earlier replies stay").to_owned();
        assert!(!push.contains('\n'), "{push}");
        let _: Value = serde_json::from_str(&push).expect(&push);
        push
    }

    /// A publication of `data`, with or without a publisher.
    fn published(
        out: &mut Vec<u8>,
        channel_json: &str,
        data: &str,
        info: Option<&ClientInfo<'_>>,
        offset: u64,
    ) {
        let mut text = Vec::new();
        body(&mut text, data, info, None);
        publication(out, channel_json, &text, offset);
    }

    #[test]
    fn a_publication_carries_its_data_as_written_and_what_else_there_is() {
        assert_eq!(
            written(|out| published(out, r#""room:7""#, r#"{"n": 1}"#, None, 0)),
            r#"{"push":{"channel":"room:7","pub":{"data":{"n": 1}}}}"#
        );
        let full = written(|out| published(out, r#""room:7""#, "null", Some(&ANN), u64::MAX));
        assert_eq!(
            full,
            format!(
                r#"{{"push":{{"channel":"room:7","pub":{{"data":null,"info":{{"user":"42","client":"{CLIENT}"}},"offset":18446744073709551615}}}}}}"#
            )
        );
        let listed = written(|out| {
            let mut text = Vec::new();
            body(&mut text, "1", None, Some("{\"k\":\n\"v\"}"));
            publication_object(out, &text, 3);
        });
        assert_eq!(listed, r#"{"data":1,"tags":{"k":"v"},"offset":3}"#);
    }

    #[test]
    fn pretty_printed_data_does_not_break_the_framing() {
        assert_eq!(
            written(|out| published(out, r#""c""#, "{\n  \"t\": \"hi\"\n}\n", None, 0)),
            r#"{"push":{"channel":"c","pub":{"data":{  "t": "hi"}}}}"#
        );
    }

    #[test]
    fn join_and_leave_carry_the_client() {
        let info = format!(r#"{{"user":"42","client":"{CLIENT}"}}"#);
        assert_eq!(
            written(|out| join(out, r#""room:7""#, &ANN)),
            format!(r#"{{"push":{{"channel":"room:7","join":{{"info":{info}}}}}}}"#)
        );
        assert_eq!(
            written(|out| leave(out, r#""room:7""#, &ANN)),
            format!(r#"{{"push":{{"channel":"room:7","leave":{{"info":{info}}}}}}}"#)
        );
    }

    #[test]
    fn an_unsubscribe_carries_channel_code_and_reason() {
        assert_eq!(
            written(|out| unsubscribe(out, r#""room:7""#, Unsubscribe::Server)),
            r#"{"push":{"channel":"room:7","unsubscribe":{"code":2000,"reason":"server unsubscribe"}}}"#
        );
    }

    #[test]
    fn a_subscribe_carries_where_the_stream_is_and_the_data_of_the_application() {
        assert_eq!(
            written(|out| subscribe(out, r#""room""#, false, None, None)),
            r#"{"push":{"channel":"room","subscribe":{}}}"#
        );
        let position = StreamPosition { epoch: "abcdefgh", offset: 3 };
        assert_eq!(
            written(|out| subscribe(out, r#""room""#, true, Some(position), Some("{\n}"))),
            r#"{"push":{"channel":"room","subscribe":{"recoverable":true,"positioned":true,"epoch":"abcdefgh","offset":3,"data":{}}}}"#
        );
    }

    #[test]
    fn a_missed_publication_is_pushed_as_a_live_one_is() {
        let (mut text, mut object) = (Vec::new(), Vec::new());
        body(&mut text, "1", Some(&ANN), None);
        publication_object(&mut object, &text, 4);
        let missed = written(|out| recovered(out, r#""c""#, std::str::from_utf8(&object).unwrap()));
        assert_eq!(missed, written(|out| publication(out, r#""c""#, &text, 4)));
    }

    #[test]
    fn a_refresh_names_no_channel() {
        assert_eq!(
            written(|out| refresh(out, Some(60))),
            r#"{"push":{"refresh":{"expires":true,"ttl":60}}}"#
        );
        assert_eq!(written(|out| refresh(out, None)), r#"{"push":{"refresh":{}}}"#);
    }

    proptest! {
        #[test]
        fn whatever_names_and_payloads_hold_a_push_is_one_line_of_json_that_says_the_same(
            name in any::<String>(),
            user in any::<String>(),
            text in any::<String>(),
        ) {
            let channel_json = quote(&name);
            let data = serde_json::to_string_pretty(&json!({"text": text, "list": [1, [name.clone()]]})).unwrap();
            let info = ClientInfo { user: &user, conn_info: Some(&data), ..ANN };
            let push = written(|out| published(out, &channel_json, &data, Some(&info), 7));
            let data: Value = serde_json::from_str(&data).unwrap();
            let expected = json!({"push": {"channel": name, "pub": {
                "data": data, "info": {"user": user, "client": CLIENT, "conn_info": data}, "offset": 7,
            }}});
            prop_assert_eq!(serde_json::from_str::<Value>(&push).unwrap(), expected);
        }
    }
}
