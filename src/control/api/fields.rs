//! Fields that several requests have, and how they are read.
//!
//! A field may be missing or `null` and then has its zero value; unknown fields are skipped.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::protocol::{ErrorCode, json};
use crate::store::{Position, Since};

/// Reads `null` as the zero value.
pub(super) fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// One JSON value of the application as its text. As a field it is `null` like any other value, and
/// missing only if it is not there.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(from = "Box<RawValue>")]
pub(super) struct Payload(pub Option<Box<RawValue>>);

impl From<Box<RawValue>> for Payload {
    fn from(value: Box<RawValue>) -> Self {
        Payload(Some(value))
    }
}

impl JsonSchema for Payload {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Payload".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        schemars::json_schema!({ "description": "any JSON value" })
    }
}

impl Payload {
    /// The JSON unless it is `null`, for what may be left out.
    pub(super) fn unless_null(self) -> Self {
        Payload(self.0.filter(|json| json.get() != "null"))
    }

    /// The JSON: what `base64` holds, if it is not empty, else this.
    ///
    /// # Errors
    ///
    /// 107: what it holds is not JSON, which a room's clients could not read.
    pub(super) fn or_base64(self, base64: &str) -> Result<Option<Box<str>>, ErrorCode> {
        if base64.is_empty() {
            return Ok(self.0.map(Box::from));
        }
        json::from_base64(base64).map(Some).ok_or(ErrorCode::BadRequest)
    }
}

/// A place in a room's stream.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub(super) struct StreamPosition {
    /// Number of a publication; 0 is before the first.
    #[serde(deserialize_with = "or_default")]
    pub offset: u64,
    /// The stream that it is a number of; empty: whichever it is now.
    #[serde(deserialize_with = "or_default")]
    pub epoch: String,
}

impl StreamPosition {
    pub(super) fn since(&self) -> Since {
        Since::new(&self.epoch, self.offset)
    }
}

/// Where a publication is kept; nothing of it if it is not.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, JsonSchema)]
pub(super) struct Place {
    /// Its number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offset: Option<u64>,
    /// The stream that it is a number of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epoch: Option<String>,
}

impl From<Option<Position>> for Place {
    fn from(position: Option<Position>) -> Self {
        position.map_or_else(Place::default, |position| Place {
            offset: Some(position.offset),
            epoch: Some(position.epoch.as_str().to_owned()),
        })
    }
}

/// A result that says nothing but that the call succeeded.
#[derive(Debug, Clone, Copy, serde::Serialize, JsonSchema)]
pub(super) struct Nothing {}
