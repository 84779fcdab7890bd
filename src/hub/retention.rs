//! How much of a room's messages is kept, for how long, and how safely.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, Visitor};

/// When a message counts as kept, and so its publisher is told that it is published.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// On the disk: it survives a power failure.
    #[default]
    Fsync,
    /// With the operating system: it survives the end of the process, not that of the machine.
    Os,
    /// In this process's memory: it survives neither.
    Memory,
}

/// How a room's history is kept. Off unless both `size` and `ttl_ms` are above zero.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Retention {
    /// Publications kept: the last so many.
    pub size: u32,
    /// Time after the last publish at which all of them are dropped.
    pub ttl_ms: u64,
    /// Time after the last use at which epoch and offset are forgotten too.
    pub meta_ttl_ms: u64,
    /// When a publication counts as kept.
    pub durability: Durability,
}

impl Retention {
    /// Whether the room has a history at all.
    pub fn is_on(&self) -> bool {
        self.size > 0 && self.ttl_ms > 0
    }
}

/// Reads a duration as text with units (`90s`, `24h`, `7days`) into milliseconds.
pub(super) fn duration_ms<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    struct TextVisitor;

    impl Visitor<'_> for TextVisitor {
        type Value = u64;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a duration with its unit, such as \"90s\", \"24h\" or \"7days\"")
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<u64, E> {
            let duration = humantime::parse_duration(text).ok();
            duration
                .and_then(|duration| u64::try_from(duration.as_millis()).ok())
                .ok_or_else(|| E::invalid_value(serde::de::Unexpected::Str(text), &self))
        }
    }

    deserializer.deserialize_str(TextVisitor)
}
