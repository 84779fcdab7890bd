//! The orders to wake those that do not read, and to say who has all of what was published.
//!
//! A connection that sleeps notices nothing. Woken, it reads what waited for it; where the server has closed it
//! meanwhile it comes back, and where its subscription was ended it joins the room again, each time for what it
//! missed. It is behind until its place in the room's stream is the end.

use std::ops::Range;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Instant;

use super::Worker;
use crate::load::fleet::Order;

/// Connections woken between two polls.
const WAKE_BATCH: usize = 64;
/// Receive buffer of a connection that is awake again: a client that reads has no small one.
const AWAKE_RECEIVE_BYTES: usize = 256 * 1024;

/// How far the orders are carried out.
#[derive(Debug, Default)]
pub(super) struct Waking {
    is_awake: bool,
    /// Connections that may have to be woken still.
    sleeping: Range<usize>,
    /// Which connections were behind when they were last looked at, once that is asked.
    behind: Option<Vec<bool>>,
}

impl Waking {
    /// True while connections have to be woken, which must not wait for an event.
    pub(super) fn is_busy(&self) -> bool {
        !self.sleeping.is_empty()
    }

    /// Whether connection `index`, if it is one of those, was woken.
    pub(super) fn has_woken(&self, index: usize) -> bool {
        self.is_awake && !self.sleeping.contains(&index)
    }

    /// True once nothing more is published.
    pub(super) fn is_judging(&self) -> bool {
        self.behind.is_some()
    }
}

impl Worker {
    /// Whether connection `number` does not read, as it was told. It does once it is awake, or was dropped and may
    /// return.
    pub(super) fn is_stalled(&self, number: u64) -> bool {
        let counters = &self.seat.counters;
        self.seat.plan.chosen.has(number)
            && counters.is_ordered(Order::Stall)
            && !counters.is_ordered(Order::Wake)
            && (self.returning.is_busy() || !self.returning.is_ordered())
    }

    /// When told to, wakes every chosen connection, and looks which of them are behind.
    pub(super) fn wake_and_judge(&mut self) {
        if !self.waking.is_awake && self.seat.counters.is_ordered(Order::Wake) {
            self.waking.is_awake = true;
            self.waking.sleeping = 0..self.slots.len();
            self.returning.begin(Instant::now());
            self.openings.retry(self.seat.plan.retry, self.seat.number);
        }
        let from = self.waking.sleeping.start;
        self.waking.sleeping.start = self.waking.sleeping.end.min(from + WAKE_BATCH);
        for index in from..self.waking.sleeping.start {
            self.wake(index);
        }
        if self.waking.behind.is_none() && self.seat.counters.is_ordered(Order::Judge) {
            let followed = |index| self.seat.plan.is_followed(self.number(index));
            self.waking.behind = Some((0..self.slots.len()).map(followed).collect());
            (0..self.slots.len()).for_each(|index| self.judge(index));
        }
    }

    fn wake(&mut self, index: usize) {
        if !self.seat.plan.is_followed(self.number(index)) {
            return;
        }
        if let Some(stream) = &self.slots[index].stream {
            // With the small one it would take longer and be whole all the same.
            let _ = socket2::SockRef::from(stream).set_recv_buffer_size(AWAKE_RECEIVE_BYTES);
        } else {
            // It noticed its end between the order and its turn to wake.
            return self.openings.reopen(index, Instant::now());
        }
        // What came while it slept, the end included, was told by events that it did not look at.
        if let Err(reason) = self.read(index, true, None) {
            self.end(index, reason);
        }
    }

    /// Looks whether connection `index` has everything now.
    pub(super) fn judge(&mut self, index: usize) {
        let is_behind = self.waking.behind.as_ref().is_some_and(|behind| behind[index]);
        if is_behind
            && self.is_at_end(index)
            && let Some(behind) = &mut self.waking.behind
        {
            behind[index] = false;
            self.seat.counters.behind.fetch_sub(1, SeqCst);
        }
    }

    fn is_at_end(&self, index: usize) -> bool {
        let (number, slot) = (self.number(index), &self.slots[index]);
        let Some(streams) = self.seat.plan.script.recovery.streams() else { return false };
        let (room, _) = self.seat.plan.script.rooms.of(number);
        let end = streams.next_offset(room, self.messages_due(number));
        slot.stream.is_some() && Some(slot.connection.next_offset()) == end
    }

    /// Counts those that are behind at the end of the run among what is wrong.
    pub(super) fn tell_behind(&mut self) {
        let behind = self.waking.behind.take().unwrap_or_default();
        for index in behind.iter().enumerate().filter_map(|(index, is_behind)| is_behind.then_some(index)) {
            let what = if self.slots[index].stream.is_none() {
                "gone, and not back"
            } else {
                "there, and without the last of what was published"
            };
            if let Some(continuity) = &mut self.continuity {
                *continuity.found.wrong.entry(what.to_owned()).or_default() += 1;
            }
        }
    }
}
