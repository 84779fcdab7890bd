//! How connections end, one by one while the run goes on and all of them when it is over.

use std::time::{Duration, Instant};

use super::Worker;
use crate::load::connection::close_code;
use crate::load::fleet::{End, Outcome, Phase};

impl Worker {
    /// Ends connection `index`, which closes its socket, and counts why.
    pub(super) fn end(&mut self, index: usize, reason: String) {
        let (number, now) = (self.number(index), Instant::now());
        let slot = &mut self.slots[index];
        slot.stream = None;
        slot.connection.partial = Box::default();
        self.outbound.clear();
        let reasons = if slot.connection.stage.is_open() {
            self.fresh.dropped += 1;
            if let Some(whole) = self.whole_at.get(index).copied().flatten() {
                self.outcome.ends.push(End { whole, ended: now, code: close_code(&reason) });
            }
            // One that still has to be woken comes back then.
            if self.waking.has_woken(index) && self.seat.plan.is_followed(number) {
                self.openings.reopen(index, now);
            }
            &mut self.outcome.drops
        } else {
            self.openings.failed(index, now);
            if self.returning.is_ordered() {
                self.fresh.failed_tries += 1;
            } else {
                self.fresh.failed += 1;
            }
            &mut self.outcome.failures
        };
        *reasons.entry(reason).or_default() += 1;
    }

    /// Whether every connection that was whole has ended.
    pub(super) fn is_empty(&self) -> bool {
        self.outcome.ends.len() == self.whole_at.iter().flatten().count()
    }

    /// What this worker knows, once nothing more comes.
    pub(super) fn finish(mut self) -> Outcome {
        let mut outcome = std::mem::take(&mut self.outcome);
        if self.seat.counters.phase() == Phase::Reset as u8 {
            for stream in self.slots.iter().filter_map(|slot| slot.stream.as_ref()) {
                // It fails only for a socket that is closed already.
                let _ = socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO));
            }
        }
        for (index, slot) in self.slots.iter().enumerate() {
            let number = self.number(index);
            // A chosen connection has missed messages because it was told to.
            if slot.stream.is_some() && !self.seat.plan.chosen.has(number) {
                let (due, got) = (self.messages_due(number), u64::from(slot.connection.messages));
                outcome.lost += due.saturating_sub(got);
                outcome.duplicated += got.saturating_sub(due);
            }
        }
        if self.waking.is_judging() {
            self.tell_behind();
        }
        outcome.found = self.continuity.take().map(|continuity| continuity.found).unwrap_or_default();
        outcome.reordered = self.witness.reordered;
        outcome.skipped = self.witness.skipped;
        outcome.message_bytes = self.witness.message_bytes;
        outcome.rounds_us = self.publisher.take().map(|publisher| publisher.rounds_us);
        outcome
    }
}
