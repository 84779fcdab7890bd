//! What a shard sends in one turn: each frame encoded once, each connection written to once.
//!
//! Frames lie back to back in one buffer. An entry says "this connection gets that frame"; the
//! entries of a connection are a list through one array, in the order they were queued. At the
//! end of the turn every dirty connection gets all its frames in one write, and the three arrays
//! are emptied but not freed: a delivery allocates nothing.
//!
//! Absent on purpose: sockets and connections. `io` walks the lists and writes; the list's end is
//! kept in the connection (`Connection::pending`) so that an idle one costs four bytes here.

use std::time::Instant;

use bytes::Bytes;

use crate::conn::{Key, Mark, NO_OUTPUT};
use crate::shard::Times;

/// Bytes of frames after which a turn's output is written before the turn ends, so that one
/// greedy turn cannot grow the buffer without bound.
pub const OUTPUT_BYTES_MAX: usize = 1024 * 1024;

/// Capacity that the buffer keeps while its shard is idle.
const OUTPUT_BYTES_IDLE: usize = 64 * 1024;

/// Frames that there is room for from the start.
const FRAMES_MIN: usize = 64;

/// A frame of this turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameId(u32);

#[derive(Debug)]
struct Frame {
    start: usize,
    end: usize,
    /// Messages in the frame, for the counters.
    messages: u32,
    /// See `Io::mark`.
    mark: Option<Mark>,
    /// The frame outside of the turn's buffer, once a socket has refused a part of it.
    kept: Option<Bytes>,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    frame: FrameId,
    /// The connection's next entry; the last one's next is the first.
    next: u32,
}

/// The output of one turn.
#[derive(Debug)]
pub struct Output {
    bytes: Vec<u8>,
    frames: Vec<Frame>,
    entries: Vec<Entry>,
    dirty: Vec<Key>,
    /// When what was published, and how many messages that is.
    published: Vec<(Instant, u32)>,
}

impl Default for Output {
    /// With room for the pings of a turn: they come together only when the machine is busy, and are to
    /// allocate nothing then either.
    fn default() -> Self {
        Output {
            bytes: Vec::new(),
            frames: Vec::with_capacity(FRAMES_MIN),
            entries: Vec::with_capacity(FRAMES_MIN),
            dirty: Vec::with_capacity(FRAMES_MIN),
            published: Vec::with_capacity(FRAMES_MIN),
        }
    }
}

impl Output {
    /// Encodes a frame of `messages` messages by letting `encode` append its bytes.
    pub fn frame(&mut self, messages: u32, encode: impl FnOnce(&mut Vec<u8>)) -> FrameId {
        let start = self.bytes.len();
        encode(&mut self.bytes);
        let id =
            FrameId(u32::try_from(self.frames.len()).expect("a turn is flushed long before 2^32 frames"));
        self.frames.push(Frame { start, end: self.bytes.len(), messages, mark: None, kept: None });
        id
    }

    /// Adds `frame` to what connection `key` gets; `pending` is that connection's list.
    pub fn queue(&mut self, key: Key, pending: &mut u32, frame: FrameId) {
        let entry = self.entries.len() as u32;
        let next = if *pending == NO_OUTPUT {
            self.dirty.push(key);
            entry
        } else {
            std::mem::replace(&mut self.entries[*pending as usize].next, entry)
        };
        self.entries.push(Entry { frame, next });
        *pending = entry;
    }

    /// Whether enough has gathered to be written before the turn ends.
    pub fn is_large(&self) -> bool {
        self.bytes.len() > OUTPUT_BYTES_MAX || self.entries.len() > OUTPUT_BYTES_MAX
    }

    /// Connections with output, in the order they first got some.
    pub fn dirty(&self) -> &[Key] {
        &self.dirty
    }

    /// The frames of the list that ends at `pending`, first to last.
    pub fn frames_of(&self, pending: u32) -> impl Iterator<Item = FrameId> {
        let mut at = if pending == NO_OUTPUT { None } else { Some(self.entries[pending as usize].next) };
        std::iter::from_fn(move || {
            let entry = self.entries[at? as usize];
            at = if at == Some(pending) { None } else { Some(entry.next) };
            Some(entry.frame)
        })
    }

    /// The bytes of `frame`.
    pub fn bytes_of(&self, frame: FrameId) -> &[u8] {
        let frame = &self.frames[frame.0 as usize];
        &self.bytes[frame.start..frame.end]
    }

    /// Messages in `frame`.
    pub fn messages_of(&self, frame: FrameId) -> u32 {
        self.frames[frame.0 as usize].messages
    }

    /// Takes note that `messages` that were published at `since` are queued for all who get them.
    pub fn published(&mut self, since: Instant, messages: u32) {
        self.published.push((since, messages));
    }

    /// Counts how long ago that was, now that all of it is written. A turn in which nothing was published
    /// asks no clock.
    pub(super) fn tell_times(&self, times: &Times) {
        if self.published.is_empty() {
            return;
        }
        let now = Instant::now();
        for (since, messages) in &self.published {
            times.record(now.saturating_duration_since(*since), (*messages).into());
        }
    }

    /// Gives `frame` a mark, which it keeps while it waits for a socket.
    pub fn mark(&mut self, frame: FrameId, mark: Mark) {
        self.frames[frame.0 as usize].mark = Some(mark);
    }

    /// The mark of `frame`, if it has one.
    pub fn mark_of(&self, frame: FrameId) -> Option<Mark> {
        self.frames[frame.0 as usize].mark
    }

    /// The frame as shared bytes that outlive the turn: made for the first socket that refuses
    /// it, handed to all others that do.
    pub fn keep(&mut self, frame: FrameId) -> Bytes {
        let frame = &mut self.frames[frame.0 as usize];
        frame.kept.get_or_insert_with(|| Bytes::copy_from_slice(&self.bytes[frame.start..frame.end])).clone()
    }

    /// Forgets the turn's output. The lists in the connections must be reset by the caller.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(OUTPUT_BYTES_MAX);
        self.frames.clear();
        self.entries.clear();
        self.dirty.clear();
        self.published.clear();
    }

    /// Gives memory back while nothing is going on.
    pub fn shrink(&mut self) {
        self.bytes.shrink_to(OUTPUT_BYTES_IDLE);
        self.frames.shrink_to(OUTPUT_BYTES_IDLE / size_of::<Frame>());
        self.entries.shrink_to(OUTPUT_BYTES_IDLE / size_of::<Entry>());
        self.dirty.shrink_to(OUTPUT_BYTES_IDLE / size_of::<Key>());
        self.published.shrink_to(OUTPUT_BYTES_IDLE / size_of::<(Instant, u32)>());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_connection_gets_its_frames_in_the_order_they_were_queued() {
        let mut output = Output::default();
        let (mut ann, mut bob) = (NO_OUTPUT, NO_OUTPUT);
        let frames: Vec<_> =
            (b'a'..=b'c').map(|byte| output.frame(1, |bytes| bytes.extend([byte; 3]))).collect();
        output.queue(1, &mut ann, frames[0]);
        output.queue(2, &mut bob, frames[2]);
        output.queue(1, &mut ann, frames[1]);
        output.queue(2, &mut bob, frames[0]);
        output.queue(1, &mut ann, frames[2]);
        let text =
            |pending| output.frames_of(pending).map(|frame| output.bytes_of(frame)).collect::<Vec<_>>();
        assert_eq!(text(ann), [b"aaa", b"bbb", b"ccc"]);
        assert_eq!(text(bob), [b"ccc", b"aaa"]);
        assert_eq!(output.dirty(), [1, 2]);
    }

    #[test]
    fn a_connection_without_output_has_no_frames() {
        assert_eq!(Output::default().frames_of(NO_OUTPUT).count(), 0);
    }

    #[test]
    fn a_kept_frame_is_copied_once() {
        let mut output = Output::default();
        let frame = output.frame(1, |bytes| bytes.extend(b"hello"));
        let (first, second) = (output.keep(frame), output.keep(frame));
        assert_eq!(first.as_ptr(), second.as_ptr());
        output.clear();
        assert_eq!(first, b"hello"[..]);
    }
}
