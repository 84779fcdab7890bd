//! Several calls in one, and the calls of methods that an application would have to provide.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::Api;
use super::answer::{Answer, Error};
use super::fields::{Nothing, Payload, or_default};
use super::method::{self, Method};
use super::requests::{self, Outcome};
use crate::protocol::ErrorCode;

/// What `batch` is asked.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub(super) struct BatchRequest {
    /// The calls: each an object whose only member is named like the method and holds its request.
    #[serde(deserialize_with = "or_default")]
    #[schemars(with = "Vec<BTreeMap<String, Value>>")]
    commands: Vec<Command>,
    /// Begin all at once. Otherwise each begins when the one before it is answered.
    #[serde(deserialize_with = "or_default")]
    parallel: bool,
}

/// One call: the first member of its object.
#[derive(Debug, Default)]
struct Command(Option<(String, Box<RawValue>)>);

impl<'de> Deserialize<'de> for Command {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct CommandVisitor;

        impl<'de> Visitor<'de> for CommandVisitor {
            type Value = Command;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object with a method")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Command, A::Error> {
                let first = map.next_entry()?;
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Command(first))
            }
        }

        deserializer.deserialize_map(CommandVisitor)
    }
}

/// What `batch` answers; not under `result`.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct BatchResult {
    /// One for each call, in their order: an object whose only member is named like the method and
    /// holds its result, or is `error`.
    #[schemars(with = "Vec<BTreeMap<String, Value>>")]
    replies: Vec<BatchReply>,
}

/// What one call of a batch came to, by the name of its method.
#[derive(Debug)]
struct BatchReply(Result<(&'static str, Box<RawValue>), ErrorCode>);

impl Serialize for BatchReply {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0 {
            Ok((name, result)) => serializer.collect_map([(name, result)]),
            Err(code) => serializer.collect_map([("error", Error::new(*code))]),
        }
    }
}

async fn run(api: Arc<Api>, command: Command) -> BatchReply {
    let Some((name, params)) = command.0 else { return BatchReply(Err(ErrorCode::MethodNotFound)) };
    // A batch in a batch is none of the methods.
    let Some(entry) = method::find(&name).filter(|entry| entry.answer == Answer::Wrapped) else {
        api.requests.count(requests::OTHER, Outcome::Error(ErrorCode::MethodNotFound));
        return BatchReply(Err(ErrorCode::MethodNotFound));
    };
    let result = (entry.call)(Arc::clone(&api), params).await;
    let outcome = result.as_ref().err().map_or(Outcome::Ok, |code| Outcome::Error(*code));
    api.requests.count(entry.name, outcome);
    BatchReply(result.map(|result| (entry.name, result)))
}

/// Most calls in one batch: their replies are kept until the last is there.
const COMMANDS_MAX: usize = 1000;

/// `batch`.
pub(super) struct Batch;

impl Method for Batch {
    const NAME: &'static str = "batch";
    const SUMMARY: &'static str = "Makes several calls, one after the other or all at once.";
    const ANSWER: Answer = Answer::Bare;
    type Request = BatchRequest;
    type Result = BatchResult;

    fn example() -> Value {
        json!({
            "commands": [
                { "publish": { "channel": "room", "data": { "text": "hello" } } },
                { "presence_stats": { "channel": "room" } },
            ],
        })
    }

    async fn call(api: Arc<Api>, request: BatchRequest) -> Result<BatchResult, ErrorCode> {
        if request.commands.len() > COMMANDS_MAX {
            return Err(ErrorCode::BadRequest);
        }
        let mut replies = Vec::with_capacity(request.commands.len());
        if !request.parallel {
            for command in request.commands {
                replies.push(run(Arc::clone(&api), command).await);
            }
            return Ok(BatchResult { replies });
        }
        let mut running = JoinSet::new();
        for (nth, command) in request.commands.into_iter().enumerate() {
            replies.push(BatchReply(Err(ErrorCode::Internal)));
            let running_one = run(Arc::clone(&api), command);
            running.spawn(async move { (nth, running_one.await) });
        }
        while let Some(done) = running.join_next().await {
            let (nth, reply) = done.expect("a panic has ended the process, and nobody aborts it");
            replies[nth] = reply;
        }
        Ok(BatchResult { replies })
    }
}

/// What `rpc` is asked.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub(super) struct RpcRequest {
    /// The method.
    #[serde(deserialize_with = "or_default")]
    method: String,
    /// What it is asked.
    params: Payload,
}

/// `rpc`: for methods of extensions, of which there are none.
pub(super) struct Rpc;

impl Method for Rpc {
    const NAME: &'static str = "rpc";
    const SUMMARY: &'static str = "Calls a method of an extension. There are none: always error 104.";
    type Request = RpcRequest;
    type Result = Nothing;

    fn example() -> Value {
        json!({ "method": "getCurrentYear", "params": {} })
    }

    async fn call(_: Arc<Api>, _: RpcRequest) -> Result<Nothing, ErrorCode> {
        Err(ErrorCode::MethodNotFound)
    }
}
