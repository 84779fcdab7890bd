//! The closed loop of `fanout`, driven by the worker that owns the publishing connection.

use std::io::{self, Write as _};
use std::sync::atomic::Ordering::SeqCst;
use std::time::Instant;

use super::{Slot, Worker, said};
use crate::load::fleet::{Notice, Phase};

impl Worker {
    /// Ends the round that is complete and starts the next, as the phase says.
    pub(super) fn drive_publisher(&mut self) {
        let Some(publisher) = &mut self.publisher else { return };
        let counters = &self.seat.counters;
        let phase = counters.phase();
        if phase < Phase::WarmUp as u8 {
            return;
        }
        let now = Instant::now();
        publisher.end_round(counters.messages.load(SeqCst), now);
        if publisher.is_waiting() {
            return;
        }
        if phase >= Phase::Drain as u8 {
            if !self.drained {
                self.drained = true;
                let _ = self.seat.notices.send(Notice::Drained);
            }
            return;
        }
        if phase == Phase::Measure as u8 && !self.measuring {
            self.measuring = true;
            publisher.rounds_us.reset();
        }
        publisher.start_round(&self.seat.plan.script.dialect, &mut self.unsent, now);
        counters.goal.store(publisher.goal(), SeqCst);
        counters.published.store(publisher.published(), SeqCst);
        if let Err(reason) = self.flush_round() {
            self.end(0, reason);
        }
    }

    /// Writes what is left of the round; what the kernel refuses waits for the next writable event.
    pub(super) fn flush_round(&mut self) -> Result<(), String> {
        let Slot { stream: Some(stream), .. } = &mut self.slots[0] else { return Ok(()) };
        match stream.write(&self.unsent) {
            Ok(written) => {
                self.unsent.drain(..written);
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(said("write", &error)),
        }
    }
}
