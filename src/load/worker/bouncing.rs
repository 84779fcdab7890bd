//! The order to leave the room and join it again, over and over, and the order to stop.
//!
//! Each connection does both once in a gap; where in the gap it begins, and for how long it is away, is spread
//! evenly over the connections. Told to stop, those that are away join once more, and the chosen leave for good.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::Write as _;
use std::time::Instant;

use super::{Slot, Worker, said};
use crate::load::connection::mask;
use crate::load::fleet::{Notice, Order};
use crate::wire::frame::write_client_frame;

/// The shortest and the longest time away, as shares of the gap.
const AWAY: (f64, f64) = (0.25, 0.75);

/// How far the orders are carried out.
#[derive(Debug, Default)]
pub(super) struct Bouncing {
    is_begun: bool,
    is_settled: bool,
    /// Who has something to say, and when.
    turns: BinaryHeap<Reverse<(Instant, usize)>>,
    /// Which connections have left.
    away: Vec<bool>,
}

impl Bouncing {
    /// When somebody has something to say next.
    pub(super) fn due(&self) -> Option<Instant> {
        self.turns.peek().map(|Reverse((at, _))| *at)
    }
}

impl Worker {
    /// Says what is due.
    pub(super) fn bounce(&mut self) {
        let counters = &self.seat.counters;
        if !counters.is_ordered(Order::Bounce) || self.bouncing.is_settled {
            return;
        }
        let (now, gap) = (Instant::now(), self.seat.plan.bounce_gap);
        if !self.bouncing.is_begun {
            self.bouncing.is_begun = true;
            self.bouncing.away = vec![false; self.slots.len()];
            let turn =
                |index| now + gap.mul_f64(self.number(index) as f64 / self.seat.plan.connections as f64);
            self.bouncing.turns = (0..self.slots.len()).map(|index| Reverse((turn(index), index))).collect();
        }
        let is_over = counters.is_ordered(Order::Settle);
        while let Some(Reverse((at, index))) =
            self.bouncing.turns.peek().copied().filter(|turn| turn.0.0 <= now)
        {
            self.bouncing.turns.pop();
            if self.slots[index].stream.is_none() {
                // The server has ended it, which is counted, and it has nothing more to say.
                continue;
            }
            let number = self.number(index);
            let away = AWAY.0 + (AWAY.1 - AWAY.0) * (number as f64 * 0.618_033_988_749_894_9).fract();
            let is_away = self.bouncing.away[index];
            let leaves_for_good = is_over && self.seat.plan.chosen.has(number);
            if is_over && !is_away && !leaves_for_good {
                continue;
            }
            if !(is_away && leaves_for_good) {
                self.come_or_go(index);
            }
            if !leaves_for_good {
                let next = if is_away { 1.0 - away } else { away };
                self.bouncing.turns.push(Reverse((at + gap.mul_f64(next), index)));
            }
        }
        if is_over && self.bouncing.turns.is_empty() {
            self.bouncing.is_settled = true;
            let _ = self.seat.notices.send(Notice::Settled);
        }
    }

    /// Leaves the room, or joins it again.
    fn come_or_go(&mut self, index: usize) {
        let (number, script) = (self.number(index), &self.seat.plan.script);
        let Slot { stream: Some(stream), .. } = &mut self.slots[index] else { return };
        let is_away = self.bouncing.away[index];
        let text =
            if is_away { script.rejoin(number, 0) } else { script.dialect.leave(script.rooms.of(number).0) };
        let mut frame = Vec::with_capacity(text.len() + 8);
        write_client_frame(&mut frame, script.dialect.opcode, &text, mask(number));
        match stream.write(&frame) {
            Ok(written) if written == frame.len() => {}
            Ok(_) => return self.end(index, "the server does not read: a write was cut short".to_owned()),
            Err(error) => return self.end(index, said("write", &error)),
        }
        self.bouncing.away[index] = !is_away;
        let count = if is_away { &mut self.fresh.joins } else { &mut self.fresh.leaves };
        *count += 1;
    }
}
