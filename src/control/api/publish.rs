//! Publishing, to one room or to many.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use schemars::JsonSchema;
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::Api;
use super::answer::{Reply, raw};
use super::fields::{Payload, Place, or_default};
use super::method::Method;
use crate::protocol::{ErrorCode, push};
use crate::rooms;
use crate::store::Version;

/// What `publish` and `broadcast` are asked: to where, and what.
#[derive(Debug, JsonSchema)]
pub(super) struct To<T> {
    #[schemars(flatten)]
    to: T,
    #[schemars(flatten)]
    content: ContentRequest,
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for To<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // serde's `flatten` would read the data into values, and they are to pass through as they are.
        let all = Box::<RawValue>::deserialize(deserializer)?;
        let to = serde_json::from_str(all.get()).map_err(D::Error::custom)?;
        let content = serde_json::from_str(all.get()).map_err(D::Error::custom)?;
        Ok(To { to, content })
    }
}

/// To where `publish` publishes.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub(super) struct One {
    /// The room.
    #[serde(deserialize_with = "or_default")]
    channel: String,
}

/// To where `broadcast` publishes.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub(super) struct Many {
    /// The rooms.
    #[serde(deserialize_with = "or_default")]
    channels: Vec<String>,
}

/// What is published.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
struct ContentRequest {
    /// What to publish. Needed, here or in `b64data`.
    data: Payload,
    /// The same, as JSON in base64. It wins over `data`.
    #[serde(deserialize_with = "or_default")]
    b64data: String,
    /// Deliver it without keeping it, even if the room has a history.
    #[serde(deserialize_with = "or_default")]
    skip_history: bool,
    /// Texts that go with the publication.
    #[serde(deserialize_with = "or_default")]
    tags: BTreeMap<String, String>,
    /// A call with a key that the room had within five minutes is not done again: it is answered as
    /// the first one was, or with error 113 if its data are others.
    #[serde(deserialize_with = "or_default")]
    idempotency_key: String,
    /// The application's own number for what the data show: if the room has had this version or a
    /// later one, nothing is published, and the answer tells where the room is.
    #[serde(deserialize_with = "or_default")]
    version: u64,
    /// What `version` counts within; versions of different epochs are not compared.
    #[serde(deserialize_with = "or_default")]
    version_epoch: String,
}

/// The same, ready to be published to any room.
#[derive(Debug, Clone)]
struct Content {
    publish: rooms::Publish,
    idempotency_key: String,
}

/// What `broadcast` answers.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct BroadcastResult {
    /// One for each room, in the order of the request: `{"result": …}` or `{"error": …}`.
    #[schemars(with = "Vec<BroadcastReply>")]
    responses: Vec<Reply>,
}

/// What `broadcast` answers about one room.
#[derive(JsonSchema)]
#[serde(rename_all = "lowercase")]
#[expect(dead_code, reason = "it is only described")]
enum BroadcastReply {
    /// Published.
    Result(Place),
    /// Not published.
    Error(super::answer::Error),
}

impl Content {
    /// What there is to publish.
    ///
    /// # Errors
    ///
    /// 107: there are no data, they are not JSON, or longer than what a client may publish.
    fn new(api: &Api, request: ContentRequest) -> Result<Content, ErrorCode> {
        let data = request.data.or_base64(&request.b64data)?.ok_or(ErrorCode::BadRequest)?;
        let tags = (!request.tags.is_empty()).then(|| raw(&request.tags));
        let mut body = Vec::new();
        push::body(&mut body, &data, None, tags.as_ref().map(|tags| tags.get()));
        // Members could be unable ever to take in what is longer than their backlogs.
        if body.len() > api.message_bytes_max {
            return Err(ErrorCode::BadRequest);
        }
        if request.version_epoch.len().max(request.idempotency_key.len()) > NAME_BYTES_MAX {
            return Err(ErrorCode::BadRequest);
        }
        let epoch = request.version_epoch.into_boxed_str();
        let version = (request.version > 0).then_some(Version { number: request.version, epoch });
        let skips_history = request.skip_history;
        let publish = rooms::Publish { body: Bytes::from(body), version, skips_history };
        Ok(Content { publish, idempotency_key: request.idempotency_key })
    }
}

/// Longest idempotency key and version epoch, in bytes: a broadcast has them for every room.
const NAME_BYTES_MAX: usize = 255;

/// Publishes, and waits until it is kept.
async fn publish(api: Arc<Api>, channel: String, content: Content) -> Result<Place, ErrorCode> {
    let Content { publish, idempotency_key } = content;
    if idempotency_key.is_empty() {
        let position = api.ask(|gateway, tell| gateway.publish(&channel, publish, tell)).await?;
        return Ok(position.into());
    }
    // It goes on if the caller is told that it took too long, so that who tries again gets to know
    // what came of it.
    let timeout = api.timeout;
    let place = Arc::clone(&api.keyed).try_acquire_owned().map_err(|_| ErrorCode::TooManyRequests)?;
    let once = tokio::spawn(async move {
        let _place = place;
        let body = publish.body.clone();
        let first = api.answer(|gateway, tell| gateway.publish(&channel, publish, tell));
        api.repeats.once(&channel, &idempotency_key, &body, first).await
    });
    match tokio::time::timeout(timeout, once).await {
        Ok(Ok(position)) => position.map(Place::from),
        Ok(Err(_)) | Err(_) => Err(ErrorCode::Internal),
    }
}

/// `publish`.
pub(super) struct Publish;

impl Method for Publish {
    const NAME: &'static str = "publish";
    const SUMMARY: &'static str = "Publishes to a room. With history, the answer comes when it is kept.";
    type Request = To<One>;
    type Result = Place;

    fn example() -> Value {
        json!({ "channel": "room", "data": { "text": "hello" } })
    }

    async fn call(api: Arc<Api>, request: To<One>) -> Result<Place, ErrorCode> {
        let content = Content::new(&api, request.content)?;
        publish(api, request.to.channel, content).await
    }
}

/// `broadcast`.
pub(super) struct Broadcast;

impl Method for Broadcast {
    const NAME: &'static str = "broadcast";
    const SUMMARY: &'static str = "Publishes the same to many rooms, each by itself.";
    type Request = To<Many>;
    type Result = BroadcastResult;

    fn example() -> Value {
        json!({ "channels": ["room", "other"], "data": { "text": "hello" } })
    }

    async fn call(api: Arc<Api>, request: To<Many>) -> Result<BroadcastResult, ErrorCode> {
        let channels = request.to.channels;
        if channels.is_empty() {
            return Err(ErrorCode::BadRequest);
        }
        let content = Content::new(&api, request.content)?;
        let mut responses: Vec<_> = channels.iter().map(|_| Reply::new(Err(ErrorCode::Internal))).collect();
        let mut publishing = JoinSet::new();
        for (nth, channel) in channels.into_iter().enumerate() {
            let published = publish(Arc::clone(&api), channel, content.clone());
            publishing.spawn(async move { (nth, published.await) });
        }
        while let Some(published) = publishing.join_next().await {
            let (nth, place) = published.expect("a panic has ended the process, and nobody aborts it");
            responses[nth] = Reply::new(place.map(|place| raw(&place)));
        }
        Ok(BroadcastResult { responses })
    }
}
