//! Outbound half of one connection: encoded frames waiting for a writable socket.
//!
//! A frame enters through `push` when the kernel refused it or a part of it, leaves through
//! `written`, and is not copied in between: fan-out hands the same bytes to every member.
//!
//! Invariants:
//! - `unwritten_bytes` is the sum over all queued frames;
//! - only the first frame may be partly written, and it is never dropped alone: cutting a frame
//!   short would turn the bytes behind it into garbage.
//!
//! Absent on purpose: the socket and the bound. The shard writes, and closes at its bound.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::{Buf, Bytes};

/// What a queued frame costs besides its bytes: its place in the queue and, unless others share it,
/// two small allocations of its own. Counted, so that a flood of tiny frames cannot hold many times the bound.
const FRAME_OVERHEAD_BYTES: usize = 96;

const _: () = assert!(FRAME_OVERHEAD_BYTES >= 3 * size_of::<Bytes>());

/// Frames that wait for the socket to take them. Exists only while there are any.
#[derive(Debug)]
pub struct Backlog {
    frames: VecDeque<Bytes>,
    unwritten_bytes: usize,
    front_is_cut: bool,
    progressed_at_ms: u64,
}

impl Backlog {
    /// An empty backlog whose write timeout runs from `now_ms`.
    pub fn new(now_ms: u64) -> Self {
        Backlog { frames: VecDeque::new(), unwritten_bytes: 0, front_is_cut: false, progressed_at_ms: now_ms }
    }

    /// Queues `frame`, of which the kernel already took the bytes before `written`.
    pub fn push(&mut self, mut frame: Bytes, written: usize) {
        assert!(written == 0 || self.frames.is_empty(), "only the first frame can be partly written");
        frame.advance(written);
        self.front_is_cut |= written > 0;
        self.unwritten_bytes += frame.len();
        self.frames.push_back(frame);
    }

    /// Bytes that the backlog is counted with: those that are unwritten, and each frame's overhead.
    pub fn bytes(&self) -> usize {
        self.unwritten_bytes + self.frames.len() * FRAME_OVERHEAD_BYTES
    }

    /// Whether everything was written.
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// When the kernel last took a byte, in the shard's milliseconds.
    pub fn progressed_at_ms(&self) -> u64 {
        self.progressed_at_ms
    }

    /// Fills `slices` with the front of the queue; returns how many it used.
    pub fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let mut used = 0;
        for (slice, frame) in slices.iter_mut().zip(&self.frames) {
            *slice = IoSlice::new(frame);
            used += 1;
        }
        used
    }

    /// Takes note that the kernel took `count` bytes from the front.
    pub fn written(&mut self, mut count: usize, now_ms: u64) {
        if count > 0 {
            self.progressed_at_ms = now_ms;
        }
        self.unwritten_bytes -= count;
        while let Some(front) = self.frames.front_mut() {
            if count < front.len() {
                self.front_is_cut |= count > 0;
                front.advance(count);
                return;
            }
            count -= front.len();
            self.front_is_cut = false;
            self.frames.pop_front();
        }
    }

    /// Drops every frame of which no byte was written.
    pub fn drop_unstarted(&mut self) {
        self.frames.truncate(usize::from(self.front_is_cut));
        self.unwritten_bytes = self.frames.iter().map(Bytes::len).sum();
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
        backlog.push(Bytes::from_static(b"abc"), 1);
        backlog.push(Bytes::from_static(b"defg"), 0);
        assert_eq!((backlog.bytes(), waiting(&backlog)), (6 + 2 * FRAME_OVERHEAD_BYTES, b"bcdefg".to_vec()));
        backlog.written(3, 5);
        assert_eq!((backlog.bytes(), waiting(&backlog)), (3 + FRAME_OVERHEAD_BYTES, b"efg".to_vec()));
        backlog.written(3, 6);
        assert!(backlog.is_empty());
        assert_eq!((backlog.bytes(), backlog.progressed_at_ms()), (0, 6));
    }

    #[test]
    fn a_write_that_took_nothing_is_no_progress() {
        let mut backlog = Backlog::new(7);
        backlog.push(Bytes::from_static(b"abc"), 0);
        backlog.written(0, 99);
        assert_eq!(backlog.progressed_at_ms(), 7);
    }

    #[test]
    fn dropping_keeps_the_frame_that_is_half_way_out() {
        let mut backlog = Backlog::new(0);
        backlog.push(Bytes::from_static(b"abc"), 1);
        backlog.push(Bytes::from_static(b"def"), 0);
        backlog.drop_unstarted();
        assert_eq!((backlog.bytes(), waiting(&backlog)), (2 + FRAME_OVERHEAD_BYTES, b"bc".to_vec()));
    }

    #[test]
    fn dropping_takes_everything_once_a_frame_ended_exactly() {
        let mut backlog = Backlog::new(0);
        backlog.push(Bytes::from_static(b"abc"), 1);
        backlog.push(Bytes::from_static(b"def"), 0);
        backlog.written(2, 1);
        backlog.drop_unstarted();
        assert_eq!(backlog.bytes(), 0);
    }
}
