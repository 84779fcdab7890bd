//! The methods of the API: one table, from which requests are served, counted and described.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_json::value::RawValue;

use super::answer::{Answer, raw};
use super::{Api, batch, channels, connections, history, info, presence, publish};
use crate::protocol::ErrorCode;

/// One method.
pub(super) trait Method: 'static {
    /// Its name in the path.
    const NAME: &'static str;
    /// What it does, in one sentence.
    const SUMMARY: &'static str;
    /// Where its result stands in the answer.
    const ANSWER: Answer = Answer::Wrapped;
    /// What it is asked. Everything in it has a default.
    type Request: DeserializeOwned + JsonSchema + Send;
    /// What it answers.
    type Result: Serialize + JsonSchema;

    /// A request that shows how it is used; it succeeds on a server whose rooms keep everything.
    fn example() -> Value;

    /// Does it.
    fn call(
        api: Arc<Api>,
        request: Self::Request,
    ) -> impl Future<Output = Result<Self::Result, ErrorCode>> + Send;
}

/// What comes of a call: a result as JSON.
pub(super) type Outcome = Result<Box<RawValue>, ErrorCode>;

/// A call that is being made.
type Calling = Pin<Box<dyn Future<Output = Outcome> + Send>>;

/// A method, whatever its types.
#[derive(Debug)]
pub(super) struct Entry {
    pub name: &'static str,
    pub summary: &'static str,
    pub answer: Answer,
    pub example: fn() -> Value,
    pub call: fn(Arc<Api>, Box<RawValue>) -> Calling,
    /// The schemas of request and result.
    pub describe: fn(&mut SchemaGenerator) -> (Schema, Schema),
}

const fn entry<M: Method>() -> Entry {
    Entry {
        name: M::NAME,
        summary: M::SUMMARY,
        answer: M::ANSWER,
        example: M::example,
        call: |api, params| {
            Box::pin(async move {
                // An array is not taken for an object whose fields come in order.
                if !params.get().starts_with('{') {
                    return Err(ErrorCode::BadRequest);
                }
                let request = serde_json::from_str(params.get()).map_err(|_| ErrorCode::BadRequest)?;
                M::call(api, request).await.map(|result| raw(&result))
            })
        },
        describe: |generator| {
            (generator.subschema_for::<M::Request>(), generator.subschema_for::<M::Result>())
        },
    }
}

/// Every method.
pub(super) static METHODS: &[Entry] = &[
    entry::<publish::Publish>(),
    entry::<publish::Broadcast>(),
    entry::<connections::Subscribe>(),
    entry::<connections::Unsubscribe>(),
    entry::<connections::Disconnect>(),
    entry::<connections::Refresh>(),
    entry::<presence::Presence>(),
    entry::<presence::PresenceStats>(),
    entry::<history::History>(),
    entry::<history::HistoryRemove>(),
    entry::<channels::Channels>(),
    entry::<info::Info>(),
    entry::<batch::Rpc>(),
    entry::<batch::Batch>(),
];

/// The method `name`.
pub(super) fn find(name: &str) -> Option<&'static Entry> {
    METHODS.iter().find(|entry| entry.name == name)
}
