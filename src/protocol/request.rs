//! What each command carries: one struct per method, borrowed from the line it was read from.
//!
//! Invariants:
//! - every field may be missing or `null` and then has its zero value; unknown fields are skipped
//!   without recursion, however deep they are;
//! - text is borrowed unless it holds an escape; a payload (`data`) is borrowed always, so that it
//!   is passed on as it was written.
//!
//! Nothing reads yet: `name`, `version` and `data` of a connect, which are for the connect proxy.
//!
//! Absent on purpose: fields that only other subscription types or other transports use (`phase`,
//! `cursor`, `tf`, `headers`, `profile`, `dict`). They are skipped as unknown ones are.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// `connect`: the first command of every connection.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
pub struct ConnectRequest<'a> {
    /// The connection token; `""` if there is none.
    #[serde(borrow, deserialize_with = "text")]
    pub token: Cow<'a, str>,
    /// JSON for the application.
    #[serde(borrow, deserialize_with = "payload")]
    pub data: Option<&'a RawValue>,
    /// Name of the SDK or the app.
    #[serde(borrow, deserialize_with = "text")]
    pub name: Cow<'a, str>,
    /// Version of the SDK or the app.
    #[serde(borrow, deserialize_with = "text")]
    pub version: Cow<'a, str>,
    /// Server-side subscriptions whose position the client still holds, in the order written.
    #[serde(borrow, deserialize_with = "recoveries")]
    pub subs: Vec<(Cow<'a, str>, Recovery<'a>)>,
}

/// Where the client stands in a channel it wants to recover.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
pub struct Recovery<'a> {
    /// Whether recovery is wanted at all.
    #[serde(deserialize_with = "or_default")]
    pub recover: bool,
    /// The stream instance; `""` matches any.
    #[serde(borrow, deserialize_with = "text")]
    pub epoch: Cow<'a, str>,
    /// The last publication that was seen.
    #[serde(deserialize_with = "or_default")]
    pub offset: u64,
}

/// `subscribe`.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
pub struct SubscribeRequest<'a> {
    /// The channel; never `""` in a parsed command.
    #[serde(borrow, deserialize_with = "text")]
    pub channel: Cow<'a, str>,
    /// The subscription token; `""` if there is none.
    #[serde(borrow, deserialize_with = "text")]
    pub token: Cow<'a, str>,
    /// Whether the client wants what it missed since (`epoch`, `offset`).
    #[serde(deserialize_with = "or_default")]
    pub recover: bool,
    /// The stream instance; `""` matches any.
    #[serde(borrow, deserialize_with = "text")]
    pub epoch: Cow<'a, str>,
    /// The last publication that was seen.
    #[serde(deserialize_with = "or_default")]
    pub offset: u64,
    /// JSON for the application.
    #[serde(borrow, deserialize_with = "payload")]
    pub data: Option<&'a RawValue>,
    /// The client asks for offsets.
    #[serde(deserialize_with = "or_default")]
    pub positioned: bool,
    /// The client asks for recovery.
    #[serde(deserialize_with = "or_default")]
    pub recoverable: bool,
    /// The client asks for join and leave pushes.
    #[serde(deserialize_with = "or_default")]
    pub join_leave: bool,
    /// Bit mask: 1 says that the client can do channel compaction (ignored), see also
    /// [`rejects_unrecovered`](Self::rejects_unrecovered).
    #[serde(deserialize_with = "or_default")]
    pub flag: u64,
    /// The delta encoding asked for, if any; only `fossil` is known, and another is malformed.
    #[serde(borrow, deserialize_with = "optional_text")]
    pub delta: Option<Cow<'a, str>>,
    /// The kind of subscription: 0 is a stream, the only one that throng has.
    #[serde(rename = "type", deserialize_with = "or_default")]
    pub kind: u32,
}

impl SubscribeRequest<'_> {
    /// Whether a recovery that fails is to be error 112 instead of an unrecovered subscription.
    pub fn rejects_unrecovered(&self) -> bool {
        self.flag & 2 != 0
    }
}

/// `unsubscribe`, `presence` and `presence_stats`: a channel and nothing else.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
pub struct ChannelRequest<'a> {
    /// The channel; never `""` in a parsed command.
    #[serde(borrow, deserialize_with = "text")]
    pub channel: Cow<'a, str>,
}

/// `publish`.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
pub struct PublishRequest<'a> {
    /// The channel; never `""` in a parsed command.
    #[serde(borrow, deserialize_with = "text")]
    pub channel: Cow<'a, str>,
    /// What to publish. `None` only if the field is missing (error 107): `null` is a payload.
    #[serde(borrow, deserialize_with = "payload")]
    pub data: Option<&'a RawValue>,
}

/// `history`.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
pub struct HistoryRequest<'a> {
    /// The channel; never `""` in a parsed command.
    #[serde(borrow, deserialize_with = "text")]
    pub channel: Cow<'a, str>,
    /// How many publications: 0 asks for the position only, a negative number for all.
    #[serde(deserialize_with = "or_default")]
    pub limit: i32,
    /// Where to start, exclusive.
    #[serde(borrow, deserialize_with = "object")]
    pub since: Option<Since<'a>>,
    /// Newest first.
    #[serde(deserialize_with = "or_default")]
    pub reverse: bool,
}

/// A position in a channel's history.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
pub struct Since<'a> {
    /// Number of the publication.
    #[serde(deserialize_with = "or_default")]
    pub offset: u64,
    /// The stream instance; `""` matches any.
    #[serde(borrow, deserialize_with = "text")]
    pub epoch: Cow<'a, str>,
}

/// `send`: a message that gets no reply.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
pub struct SendRequest<'a> {
    /// JSON for the application.
    #[serde(borrow, deserialize_with = "payload")]
    pub data: Option<&'a RawValue>,
}

/// `rpc`.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
pub struct RpcRequest<'a> {
    /// The application's method; may be `""`.
    #[serde(borrow, deserialize_with = "text")]
    pub method: Cow<'a, str>,
    /// JSON for the application.
    #[serde(borrow, deserialize_with = "payload")]
    pub data: Option<&'a RawValue>,
}

/// `refresh`: a new connection token.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
pub struct RefreshRequest<'a> {
    /// The token; `""` if there is none.
    #[serde(borrow, deserialize_with = "text")]
    pub token: Cow<'a, str>,
}

/// `sub_refresh`: a new subscription token.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default)]
pub struct SubRefreshRequest<'a> {
    /// The channel; never `""` in a parsed command.
    #[serde(borrow, deserialize_with = "text")]
    pub channel: Cow<'a, str>,
    /// The token; `""` if there is none.
    #[serde(borrow, deserialize_with = "text")]
    pub token: Cow<'a, str>,
}

/// `ping`: carries nothing, and no client sends it.
#[derive(Debug, Default, serde::Deserialize)]
pub(super) struct PingRequest {}

/// Reads a JSON object as `T`, and `null` as nothing. An array is refused: what serde derives for a
/// struct would take one, field by field.
pub(super) fn object<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    struct ObjectVisitor<T>(PhantomData<T>);

    impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
        type Value = Option<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object or null")
        }

        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Option<T>, A::Error> {
            T::deserialize(MapAccessDeserializer::new(map)).map(Some)
        }

        fn visit_unit<E>(self) -> Result<Option<T>, E> {
            Ok(None)
        }
    }

    deserializer.deserialize_any(ObjectVisitor(PhantomData))
}

/// An object or `null`, where a type and not a function is asked for.
pub(super) struct Object<T>(pub(super) Option<T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        object(deserializer).map(Object)
    }
}

/// Reads a string, borrowed if it holds no escape, and `null` as `""`.
fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Cow<'de, str>, D::Error> {
    struct TextVisitor;

    impl<'de> Visitor<'de> for TextVisitor {
        type Value = Cow<'de, str>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a string or null")
        }

        fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Cow<'de, str>, E> {
            Ok(Cow::Borrowed(text))
        }

        fn visit_str<E>(self, text: &str) -> Result<Cow<'de, str>, E> {
            Ok(Cow::Owned(text.to_owned()))
        }

        fn visit_unit<E>(self) -> Result<Cow<'de, str>, E> {
            Ok(Cow::Borrowed(""))
        }
    }

    deserializer.deserialize_any(TextVisitor)
}

/// Reads a string; `null` and `""` are nothing.
fn optional_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Cow<'de, str>>, D::Error> {
    text(deserializer).map(|text| (!text.is_empty()).then_some(text))
}

/// Reads any JSON value as its text. `null` is a value like any other, which is why this is not
/// what serde does with an `Option`.
fn payload<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

/// Reads a number or a bool, and `null` as zero.
fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// Reads the map of channel to position, and `null` as an empty one.
fn recoveries<'de, D>(deserializer: D) -> Result<Vec<(Cow<'de, str>, Recovery<'de>)>, D::Error>
where
    D: Deserializer<'de>,
{
    struct RecoveriesVisitor;

    impl<'de> Visitor<'de> for RecoveriesVisitor {
        type Value = Vec<(Cow<'de, str>, Recovery<'de>)>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a map of channel to position, or null")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut recoveries = Vec::new();
            while let Some(Channel(channel)) = map.next_key()? {
                let Object(recovery) = map.next_value()?;
                recoveries.push((channel, recovery.unwrap_or_default()));
            }
            Ok(recoveries)
        }

        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok(Vec::new())
        }
    }

    struct Channel<'a>(Cow<'a, str>);

    impl<'de> Deserialize<'de> for Channel<'de> {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            text(deserializer).map(Channel)
        }
    }

    deserializer.deserialize_any(RecoveriesVisitor)
}
