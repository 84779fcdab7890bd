//! The publications of one stream that are in memory: the last ones, and one stretch of older ones.
//!
//! A storm of recoveries asks for the same publications again and again. The *tail* ends at the
//! stream's last publication and holds what was appended and what readers wanted directly before
//! it; the *stretch* holds what the last reader wanted elsewhere.
//!
//! Invariant: `bytes` is what all of it takes, bodies and bookkeeping.
//!
//! Absent on purpose: how much may be held. The store knows, and calls [`Recent::shorten`].

use std::collections::VecDeque;

use bytes::Bytes;

use super::{Publication, Range};

/// Bookkeeping of one body: the handle in the queue, its allocation's head and rounding.
const BODY_BYTES: usize = 72;

/// A stretch of publications that does not touch the tail.
#[derive(Debug)]
struct Stretch {
    first: u64,
    bodies: Vec<Bytes>,
}

/// Publications in memory. The offset of the stream's last one comes as an argument, `top`.
#[derive(Debug, Default)]
pub(super) struct Recent {
    tail: VecDeque<Bytes>,
    stretch: Option<Box<Stretch>>,
    bytes: usize,
}

/// What has to be read to answer a reader; first and last number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Missing {
    pub(super) first: u64,
    pub(super) last: u64,
}

fn weight(body: &Bytes) -> usize {
    body.len() + BODY_BYTES
}

impl Recent {
    /// Bytes that this holds.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Appends the stream's new last publication.
    pub(super) fn push(&mut self, body: Bytes) {
        self.bytes += weight(&body);
        self.tail.push_back(body);
    }

    pub(super) fn clear(&mut self) {
        *self = Recent::default();
    }

    /// Number of the tail's first publication, one above `top` if there is none.
    fn tail_first(&self, top: u64) -> u64 {
        top + 1 - self.tail.len() as u64
    }

    /// Drops what stands before `least`.
    pub(super) fn drop_below(&mut self, top: u64, least: u64) {
        while !self.tail.is_empty() && self.tail_first(top) < least {
            self.drop_first();
        }
        if self.stretch.as_ref().is_some_and(|stretch| stretch.first < least) {
            self.drop_stretch();
        }
    }

    /// Drops the oldest until at most `count_max` publications and `bytes_max` bytes are left, but
    /// none from `least` on: those are nowhere else.
    pub(super) fn shorten(&mut self, top: u64, count_max: usize, bytes_max: usize, least: u64) {
        if self.bytes > bytes_max {
            self.drop_stretch();
        }
        while (self.tail.len() > count_max || self.bytes > bytes_max) && self.tail_first(top) < least {
            self.drop_first();
        }
    }

    /// Drops the oldest of the tail until `bytes_max` are left, so that a stretch that was just read
    /// stays for the next reader; none from `least` on.
    pub(super) fn shorten_tail(&mut self, top: u64, bytes_max: usize, least: u64) {
        while self.stretch.is_some() && self.bytes > bytes_max && self.tail_first(top) < least {
            self.drop_first();
        }
    }

    fn drop_first(&mut self) {
        if let Some(body) = self.tail.pop_front() {
            self.bytes -= weight(&body);
        }
    }

    fn drop_stretch(&mut self) {
        if let Some(stretch) = self.stretch.take() {
            self.bytes -= stretch.bodies.iter().map(weight).sum::<usize>();
        }
    }

    /// The publication, if it is in memory.
    fn get(&self, top: u64, offset: u64) -> Option<&Bytes> {
        match offset.checked_sub(self.tail_first(top)) {
            Some(index) => self.tail.get(usize::try_from(index).ok()?),
            None => {
                let stretch = self.stretch.as_ref()?;
                stretch.bodies.get(usize::try_from(offset.checked_sub(stretch.first)?).ok()?)
            }
        }
    }

    /// What of `first..=last` has to be read, in one piece.
    pub(super) fn missing(&self, top: u64, first: u64, last: u64) -> Option<Missing> {
        let tail_first = self.tail_first(top);
        let last = last.min(tail_first - 1);
        let held = self.get(top, first).is_some() && self.get(top, last).is_some();
        // Tail and stretch are each without holes, and `last` is not in the tail.
        (first <= last && !held).then_some(Missing { first, last })
    }

    /// The first of what `range` wants, as many as it has bytes for, if all of these are in memory and
    /// the rest is not needed because of them.
    pub(super) fn enough(
        &self,
        top: u64,
        (first, last): (u64, u64),
        range: Range,
    ) -> Option<Vec<Publication>> {
        let mut bytes = 0;
        let mut publications = Vec::new();
        for passed in 0..=last - first {
            let offset = if range.reverse { last - passed } else { first + passed };
            let body = self.get(top, offset)?;
            bytes += body.len();
            if bytes > range.bytes_max && !publications.is_empty() {
                return Some(publications);
            }
            publications.push(Publication { offset, body: body.clone() });
        }
        None
    }

    /// Keeps what was read as `missing` for the next reader.
    pub(super) fn keep(&mut self, top: u64, missing: Missing, bodies: &[Bytes]) {
        let bytes: usize = bodies.iter().map(weight).sum();
        if missing.last + 1 == self.tail_first(top) {
            for body in bodies.iter().rev() {
                self.tail.push_front(body.clone());
            }
            if self.stretch.as_ref().is_some_and(|stretch| stretch.first >= missing.first) {
                self.drop_stretch();
            }
        } else {
            self.drop_stretch();
            self.stretch = Some(Box::new(Stretch { first: missing.first, bodies: bodies.to_vec() }));
        }
        self.bytes += bytes;
    }

    /// Publications `first..=last`, each from memory or from what was `read` for this.
    pub(super) fn collect(
        &self,
        top: u64,
        (first, last): (u64, u64),
        read: Option<(Missing, &[Bytes])>,
        reverse: bool,
    ) -> Vec<Publication> {
        let body = |offset: u64| match read {
            Some((missing, bodies)) if (missing.first..=missing.last).contains(&offset) => {
                bodies.get((offset - missing.first) as usize)
            }
            _ => self.get(top, offset),
        };
        let publication = |offset| body(offset).map(|body| Publication { offset, body: body.clone() });
        if reverse {
            (first..=last).rev().filter_map(publication).collect()
        } else {
            (first..=last).filter_map(publication).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bodies(range: std::ops::RangeInclusive<u64>) -> Vec<Bytes> {
        range.map(|offset| Bytes::from(offset.to_string())).collect()
    }

    fn offsets(recent: &Recent, top: u64, first: u64, last: u64) -> Vec<u64> {
        let all = recent.collect(top, (first, last), None, false);
        assert!(all.iter().all(|publication| publication.body == publication.offset.to_string()));
        all.iter().map(|publication| publication.offset).collect()
    }

    #[test]
    fn what_is_read_directly_before_the_tail_prolongs_it() {
        let mut recent = Recent::default();
        recent.push(Bytes::from("10"));
        let missing = recent.missing(10, 6, 10).unwrap();
        assert_eq!((missing.first, missing.last), (6, 9));
        recent.keep(10, missing, &bodies(6..=9));
        assert_eq!(recent.missing(10, 6, 10), None);
        assert_eq!(offsets(&recent, 10, 6, 10), [6, 7, 8, 9, 10]);
    }

    #[test]
    fn what_is_read_elsewhere_is_kept_for_the_next_reader_and_replaced_by_another() {
        let mut recent = Recent::default();
        recent.push(Bytes::from("100"));
        for (first, last) in [(1, 5), (50, 60)] {
            let missing = recent.missing(100, first, last).unwrap();
            recent.keep(100, missing, &bodies(first..=last));
            assert_eq!(recent.missing(100, first, last), None);
            assert_eq!(offsets(&recent, 100, first, last).len() as u64, last - first + 1);
        }
        assert_eq!(recent.missing(100, 1, 5), Some(Missing { first: 1, last: 5 }));
        assert_eq!(recent.bytes(), bodies(50..=60).iter().map(weight).sum::<usize>() + 3 + BODY_BYTES);
    }

    #[test]
    fn a_range_that_begins_in_the_stretch_and_ends_behind_it_is_read() {
        let mut recent = Recent::default();
        recent.push(Bytes::from("100"));
        recent.keep(100, Missing { first: 1, last: 5 }, &bodies(1..=5));
        assert_eq!(recent.missing(100, 4, 8), Some(Missing { first: 4, last: 8 }));
        assert_eq!(recent.missing(100, 4, 100), Some(Missing { first: 4, last: 99 }));
    }

    #[test]
    fn nothing_that_is_nowhere_else_is_dropped_and_the_bytes_add_up() {
        let mut recent = Recent::default();
        bodies(1..=8).into_iter().for_each(|body| recent.push(body));
        recent.shorten(8, 2, usize::MAX, 6);
        assert_eq!(offsets(&recent, 8, 1, 8), [6, 7, 8]);
        recent.shorten(8, 2, usize::MAX, 9);
        assert_eq!(offsets(&recent, 8, 1, 8), [7, 8]);
        recent.shorten(8, 2, 0, 9);
        assert_eq!(recent.bytes(), 0);
    }
}
