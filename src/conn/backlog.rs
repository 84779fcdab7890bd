//! Outbound half of one connection: encoded frames waiting for a writable socket.
//!
//! A frame enters through `push` when the kernel refused it or a part of it, leaves through
//! `written`, and is not copied in between: fan-out hands the same bytes to every member.
//!
//! Invariants:
//! - `bytes` equals the unwritten bytes of all queued frames;
//! - only the first frame may be partly written, and it is never dropped alone: cutting a frame
//!   short would turn the bytes behind it into garbage.
//!
//! Absent on purpose: the socket and the bound. The shard writes, and closes at its bound.

use std::collections::{HashSet, VecDeque};
use std::io::IoSlice;

use bytes::{Buf, Bytes};

/// Memory of a waiting frame besides its bytes: its place in the queue, which grows by doubling, and
/// the two allocations that shared bytes have. Without it half a million pongs of two bytes, some
/// 50 MB, would pass for 1 MiB.
const FRAME_OVERHEAD_BYTES: usize = 128;

// A place in the queue may be half of what the queue has, and the rest is allocations.
const _: () = assert!(2 * size_of::<Waiting>() < FRAME_OVERHEAD_BYTES);

/// What a frame is of, by which those that wait can be found again: numbers that a service gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// What it is of, by a number that is never given to another; frames of one thing wait in its order.
    pub of: u64,
    /// Where it stands in that.
    pub at: u64,
}

#[derive(Debug)]
struct Waiting {
    frame: Bytes,
    mark: Option<Mark>,
}

/// Frames that wait for the socket to take them. Exists only while there are any.
#[derive(Debug)]
pub struct Backlog {
    frames: VecDeque<Waiting>,
    bytes: usize,
    front_is_cut: bool,
    progressed_at_ms: u64,
}

impl Backlog {
    /// An empty backlog whose write timeout runs from `now_ms`.
    pub fn new(now_ms: u64) -> Self {
        Backlog { frames: VecDeque::new(), bytes: 0, front_is_cut: false, progressed_at_ms: now_ms }
    }

    /// Queues `frame`, of which the kernel already took the bytes before `written`.
    pub fn push(&mut self, mut frame: Bytes, mark: Option<Mark>, written: usize) {
        assert!(written == 0 || self.frames.is_empty(), "only the first frame can be partly written");
        frame.advance(written);
        self.front_is_cut |= written > 0;
        self.bytes += frame.len();
        self.frames.push_back(Waiting { frame, mark });
    }

    /// Memory that is held for the peer: unwritten bytes, and what each frame costs besides. 0 when
    /// nothing waits.
    pub fn held_bytes(&self) -> usize {
        self.bytes + self.frames.len() * FRAME_OVERHEAD_BYTES
    }

    /// When the kernel last took a byte, in the shard's milliseconds.
    pub fn progressed_at_ms(&self) -> u64 {
        self.progressed_at_ms
    }

    /// Fills `slices` with the front of the queue; returns how many it used.
    pub fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let mut used = 0;
        for (slice, waiting) in slices.iter_mut().zip(&self.frames) {
            *slice = IoSlice::new(&waiting.frame);
            used += 1;
        }
        used
    }

    /// Takes note that the kernel took `count` bytes from the front.
    pub fn written(&mut self, mut count: usize, now_ms: u64) {
        if count > 0 {
            self.progressed_at_ms = now_ms;
        }
        self.bytes -= count;
        while let Some(front) = self.frames.front_mut() {
            if count < front.frame.len() {
                self.front_is_cut |= count > 0;
                front.frame.advance(count);
                return;
            }
            count -= front.frame.len();
            self.front_is_cut = false;
            self.frames.pop_front();
        }
    }

    /// Drops every frame of which no byte was written.
    pub fn drop_unstarted(&mut self) {
        self.frames.truncate(usize::from(self.front_is_cut));
        self.count_bytes();
    }

    /// What the marked frames that wait are of, each once, in no order.
    pub fn marked(&self) -> HashSet<u64> {
        self.frames.iter().filter_map(|waiting| waiting.mark).map(|mark| mark.of).collect()
    }

    /// Drops every frame of `of` of which no byte was written; returns where the first of them stands.
    pub fn drop_marked(&mut self, of: u64) -> Option<u64> {
        let mut is_kept = self.front_is_cut;
        let mut first = None;
        self.frames.retain(|waiting| match waiting.mark.filter(|mark| mark.of == of) {
            Some(mark) if !is_kept => {
                first.get_or_insert(mark.at);
                false
            }
            _ => {
                is_kept = false;
                true
            }
        });
        self.count_bytes();
        first
    }

    fn count_bytes(&mut self) {
        self.bytes = self.frames.iter().map(|waiting| waiting.frame.len()).sum();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(backlog: &Backlog) -> Vec<u8> {
        let mut slices = [IoSlice::new(&[]); 8];
        let used = backlog.slices(&mut slices);
        slices[..used].iter().flat_map(|slice| slice.to_vec()).collect()
    }

    #[test]
    fn frames_leave_in_order_across_partial_writes() {
        let mut backlog = Backlog::new(0);
        backlog.push(Bytes::from_static(b"abc"), None, 1);
        backlog.push(Bytes::from_static(b"defg"), None, 0);
        assert_eq!((backlog.bytes, waiting(&backlog)), (6, b"bcdefg".to_vec()));
        backlog.written(3, 5);
        assert_eq!((backlog.bytes, waiting(&backlog)), (3, b"efg".to_vec()));
        backlog.written(3, 6);
        assert_eq!((backlog.held_bytes(), backlog.progressed_at_ms()), (0, 6));
    }

    #[test]
    fn every_frame_counts_for_more_than_its_bytes_until_it_is_written() {
        let mut backlog = Backlog::new(0);
        for _ in 0..100 {
            backlog.push(Bytes::from_static(b"\x8a\0"), None, 0);
        }
        assert_eq!(backlog.held_bytes(), 100 * (2 + FRAME_OVERHEAD_BYTES));
        backlog.written(199, 1);
        assert_eq!(backlog.held_bytes(), 1 + FRAME_OVERHEAD_BYTES);
    }

    #[test]
    fn a_write_that_took_nothing_is_no_progress() {
        let mut backlog = Backlog::new(7);
        backlog.push(Bytes::from_static(b"abc"), None, 0);
        backlog.written(0, 99);
        assert_eq!(backlog.progressed_at_ms(), 7);
    }

    #[test]
    fn dropping_keeps_the_frame_that_is_half_way_out() {
        let mut backlog = Backlog::new(0);
        backlog.push(Bytes::from_static(b"abc"), None, 1);
        backlog.push(Bytes::from_static(b"def"), None, 0);
        backlog.drop_unstarted();
        assert_eq!((backlog.bytes, waiting(&backlog)), (2, b"bc".to_vec()));
    }

    #[test]
    fn frames_are_dropped_by_their_mark_and_the_others_stay_in_order() {
        let mut backlog = Backlog::new(0);
        let mark = |of, at| Some(Mark { of, at });
        backlog.push(Bytes::from_static(b"abc"), mark(7, 1), 1);
        for (frame, mark) in
            [(b"def", None), (b"ghi", mark(7, 2)), (b"jkl", mark(8, 5)), (b"mno", mark(7, 4))]
        {
            backlog.push(Bytes::from_static(frame), mark, 0);
        }
        assert_eq!(backlog.marked(), HashSet::from([7, 8]));
        assert_eq!(backlog.drop_marked(7), Some(2), "the first is half way out");
        assert_eq!((backlog.bytes, waiting(&backlog)), (8, b"bcdefjkl".to_vec()));
        backlog.written(2, 1);
        assert_eq!(backlog.drop_marked(8), Some(5));
        assert_eq!((backlog.bytes, waiting(&backlog)), (3, b"def".to_vec()));
        assert_eq!((backlog.drop_marked(8), backlog.marked()), (None, HashSet::new()));
    }

    #[test]
    fn dropping_takes_everything_once_a_frame_ended_exactly() {
        let mut backlog = Backlog::new(0);
        backlog.push(Bytes::from_static(b"abc"), None, 1);
        backlog.push(Bytes::from_static(b"def"), None, 0);
        backlog.written(2, 1);
        backlog.drop_unstarted();
        assert_eq!(backlog.held_bytes(), 0);
    }
}
