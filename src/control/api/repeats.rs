//! Publications that an application may have sent twice: by a key of its own, once for each room.
//!
//! A call whose key is known is not done again. One that comes while the first is under way waits for
//! it, and a first one that fails is not remembered. Bounded in memory, at which the oldest keys are
//! forgotten first, and in time. Source: PROTOCOL.md 21.

use std::future::Future;
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use bytes::Bytes;
use moka::future::Cache;
use moka::policy::EvictionPolicy;

use crate::protocol::ErrorCode;
use crate::store::Position;

/// How long a key is known.
const KEPT: Duration = Duration::from_secs(5 * 60);

/// Bytes of all that is known.
const BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Bytes that one key takes besides its text, roughly.
const ENTRY_BYTES: usize = 256;

/// Room and key.
type Name = (Box<str>, Box<str>);

/// What came of the first call.
#[derive(Debug, Clone, Copy)]
struct First {
    /// Tells its data from others.
    fingerprint: u64,
    position: Option<Position>,
}

/// Publications that an application may have sent twice.
#[derive(Debug)]
pub(super) struct Repeats {
    known: Cache<Name, First>,
    /// Its keys are random, so that nobody can make data of the same fingerprint.
    hasher: RandomState,
}

impl Repeats {
    /// Knows of none.
    pub(super) fn new() -> Self {
        let bytes = |(channel, key): &Name, _: &First| {
            u32::try_from(channel.len() + key.len() + ENTRY_BYTES).unwrap_or(u32::MAX)
        };
        let known = Cache::builder()
            .max_capacity(BYTES_MAX)
            .weigher(bytes)
            .time_to_live(KEPT)
            .eviction_policy(EvictionPolicy::lru())
            .build();
        Repeats { known, hasher: RandomState::new() }
    }

    /// Where the publication of `key` in `channel` is, by `publish` if that has not been done.
    ///
    /// # Errors
    ///
    /// Those of `publish`, or 113 if another body was published by that key.
    pub(super) async fn once(
        &self,
        channel: &str,
        key: &str,
        body: &Bytes,
        publish: impl Future<Output = Result<Option<Position>, ErrorCode>>,
    ) -> Result<Option<Position>, ErrorCode> {
        let fingerprint = self.hasher.hash_one(body);
        let first = async { Ok(First { fingerprint, position: publish.await? }) };
        let name = (channel.into(), key.into());
        let first =
            self.known.try_get_with(name, first).await.map_err(|code: std::sync::Arc<ErrorCode>| *code)?;
        if first.fingerprint == fingerprint {
            Ok(first.position)
        } else {
            Err(ErrorCode::ConcurrentPagination)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Epoch;

    static ONE: Bytes = Bytes::from_static(b"1");

    fn at(offset: u64) -> Result<Option<Position>, ErrorCode> {
        Ok(Some(Position { epoch: Epoch::OF_NO_STREAM, offset }))
    }

    #[tokio::test]
    async fn a_key_is_published_once_in_each_room() {
        let repeats = Repeats::new();
        assert_eq!(repeats.once("a", "k", &ONE, async { at(1) }).await, at(1));
        assert_eq!(repeats.once("a", "k", &ONE, async { panic!("published twice") }).await, at(1));
        assert_eq!(repeats.once("b", "k", &ONE, async { at(7) }).await, at(7));
        assert_eq!(repeats.once("a", "other", &ONE, async { at(2) }).await, at(2));
    }

    #[tokio::test]
    async fn a_key_with_other_data_is_a_conflict() {
        let repeats = Repeats::new();
        repeats.once("a", "k", &ONE, async { at(1) }).await.unwrap();
        let other = repeats.once("a", "k", &Bytes::from_static(b"2"), async { at(2) }).await;
        assert_eq!(other, Err(ErrorCode::ConcurrentPagination));
    }

    #[tokio::test]
    async fn what_failed_is_tried_again() {
        let repeats = Repeats::new();
        let failed = repeats.once("a", "k", &ONE, async { Err(ErrorCode::Internal) }).await;
        assert_eq!(failed, Err(ErrorCode::Internal));
        assert_eq!(repeats.once("a", "k", &ONE, async { at(1) }).await, at(1));
    }

    #[tokio::test]
    async fn whoever_repeats_what_is_under_way_waits_for_it() {
        let repeats = Repeats::new();
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let first = repeats.once("a", "k", &ONE, async { receiver.await.unwrap() });
        let second = repeats.once("a", "k", &ONE, async { panic!("published twice") });
        let finish = async { sender.send(at(3)).unwrap() };
        let (first, second, ()) = tokio::join!(first, second, finish);
        assert_eq!((first, second), (at(3), at(3)));
    }
}
