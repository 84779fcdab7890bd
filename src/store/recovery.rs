//! What a client that comes back missed, and whether it can be given all of it.
//!
//! An answer is no longer than a connection can take at once. Source of the rest: PROTOCOL 5.2 (stream) and 5.6 (cache), which say what Centrifugo does.

use crate::hub::{RecoveryMode, Retention};
use crate::store::op::{Answer, Since};
use crate::store::{Position, Publication, Range, Store, StoreError};

/// Most bytes that a list adds to a publication's body: braces, `,"offset":`, 20 digits, a comma.
const LISTED_BYTES: usize = 33;

/// Where the stream of `room` is, and what a client at `since` missed: all of it, at most `limit`
/// publications whose list takes at most `bytes_max`, or nothing.
pub(super) fn subscribe(
    store: &mut dyn Store,
    (room, keep): (&str, &Retention),
    now_ms: u64,
    since: Option<Since>,
    mode: RecoveryMode,
    (limit, bytes_max): (usize, usize),
) -> Result<Answer, StoreError> {
    let position = store.position(room, keep, now_ms)?;
    let missed = match (since, mode) {
        (None, _) => None,
        (Some(since), RecoveryMode::Cache) => {
            let latest = Range { since: None, limit: 1, bytes_max, reverse: true };
            latest_only(position, since, store.read(room, keep, now_ms, latest)?)
        }
        (Some(since), RecoveryMode::Stream) => match missing(position, since, limit) {
            Missing::Nothing => Some(Vec::new()),
            Missing::TooMuch => None,
            Missing::Some(count) => {
                let range = Range {
                    since: Some(since.offset),
                    limit: count,
                    bytes_max: bytes_max.saturating_sub(count.saturating_mul(LISTED_BYTES)),
                    reverse: false,
                };
                let read = store.read(room, keep, now_ms, range)?;
                // The window may begin behind the first that is missing, or all of it be too long.
                (read.len() == count).then_some(read)
            }
        },
    };
    let recovered = missed.is_some();
    Ok(Answer::Subscribed { position, recovered, publications: missed.unwrap_or_default() })
}

/// What a client is behind a stream.
#[derive(Debug, PartialEq, Eq)]
enum Missing {
    Nothing,
    Some(usize),
    /// More than may be recovered, or the client was never in this stream.
    TooMuch,
}

fn missing(position: Position, since: Since, limit: usize) -> Missing {
    if !since.is_in(&position) {
        return Missing::TooMuch;
    }
    match position.offset.checked_sub(since.offset) {
        Some(0) => Missing::Nothing,
        Some(count) if count <= limit as u64 => Missing::Some(count as usize),
        // Behind by too much, or at a place that the stream has not come to.
        Some(_) | None => Missing::TooMuch,
    }
}

/// The latest publication, unless the client has it; nothing if it is no longer kept.
fn latest_only(position: Position, since: Since, latest: Vec<Publication>) -> Option<Vec<Publication>> {
    let has_it = since.offset > 0 && since.offset == position.offset && since.epoch == Some(position.epoch);
    let is_kept = latest.first().is_some_and(|publication| publication.offset == position.offset);
    is_kept.then(|| if has_it { Vec::new() } else { latest })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Epoch;

    const EPOCH: Epoch = Epoch::OF_NO_STREAM;

    fn at(offset: u64) -> Position {
        Position { epoch: EPOCH, offset }
    }

    fn since(offset: u64) -> Since {
        Since { epoch: Some(EPOCH), offset }
    }

    #[test]
    fn what_is_missing_is_counted_from_the_clients_place_to_the_top() {
        assert_eq!(missing(at(10), since(10), 300), Missing::Nothing);
        assert_eq!(missing(at(10), since(7), 300), Missing::Some(3));
        assert_eq!(missing(at(0), since(0), 300), Missing::Nothing);
        assert_eq!(missing(at(10), Since { epoch: None, offset: 0 }, 300), Missing::Some(10));
    }

    #[test]
    fn more_than_the_limit_the_future_and_other_epochs_are_too_much() {
        assert_eq!(missing(at(10), since(6), 4), Missing::Some(4));
        assert_eq!(missing(at(10), since(5), 4), Missing::TooMuch);
        assert_eq!(missing(at(10), since(11), 300), Missing::TooMuch);
        assert_eq!(missing(at(u64::MAX), since(0), 300), Missing::TooMuch);
        let other = Since { epoch: Some(Epoch::new(7)), offset: 10 };
        assert_eq!(missing(at(10), other, 300), Missing::TooMuch);
    }

    #[test]
    fn the_latest_is_given_to_whoever_does_not_have_it() {
        let latest = vec![Publication { offset: 10, body: "".into() }];
        assert_eq!(latest_only(at(10), since(4), latest.clone()), Some(latest.clone()));
        assert_eq!(latest_only(at(10), since(10), latest.clone()), Some(vec![]));
        let other = Since { epoch: Some(Epoch::new(7)), offset: 10 };
        assert_eq!(latest_only(at(10), other, latest.clone()), Some(latest));
        assert_eq!(latest_only(at(10), since(4), vec![]), None);
    }
}
