//! What `throng bench bounce` found, as figures and as a table.

use std::collections::BTreeMap;

use serde::Serialize;

use super::BounceOptions;
use crate::load::cost::{Bottleneck, Cost, Spent};
use crate::load::report::{Origin, Table, number, per};

/// The answer.
#[derive(Debug, Serialize)]
pub struct BounceReport {
    /// Where and how.
    pub origin: Origin,
    /// The run was stopped before its end.
    pub interrupted: bool,
    /// How the server was spoken to.
    pub dialect: String,
    /// Members of the room, all of which bounced.
    pub members: u64,
    /// Those of them that left for good in the end.
    pub gone: u64,
    /// Each left and joined again once in so many seconds.
    pub gap_seconds: f64,
    /// How long a join or leave had to last before it was told; `None` if only the target knows.
    pub debounce_ms: Option<u64>,
    /// Pushes per member and second that are allowed.
    pub pushes_max: f64,
    /// Seconds after the end within which everybody has to know who is there.
    pub settle_seconds_max: f64,
    /// Seconds measured.
    pub seconds: f64,
    /// Times that a member left in them.
    pub leaves: u64,
    /// Times that one joined again.
    pub joins: u64,
    /// Joins and leaves that members were told of, all members together.
    pub pushes: u64,
    /// Frames that told them.
    pub frames: u64,
    /// The same per member and second.
    pub pushes_per_member_second: f64,
    /// The same per member and second.
    pub frames_per_member_second: f64,
    /// What the server spent.
    pub server: Option<Cost>,
    /// What the generator spent.
    pub client: Cost,
    /// Server CPU per leave and join together.
    pub server_cpu_us_per_bounce: Option<f64>,
    /// Messages per write of the server, as it counts them itself.
    pub messages_per_write: Option<f64>,
    /// Who was saturated.
    pub bottleneck: Bottleneck,
    /// Leaves and joins that were never answered, over the whole run.
    pub unanswered: u64,
    /// Those that were answered with an error.
    pub refused: u64,
    /// Joins that the witness was told of who was there already, and leaves of who was not.
    pub contradictions: u64,
    /// What was known after the end.
    pub settled: Option<Settled>,
    /// Members that the server ended, by reason.
    pub drops: BTreeMap<String, u64>,
}

/// What a member that stayed all the time knew after the end.
#[derive(Debug, Clone, Serialize)]
pub struct Settled {
    /// Members there were, itself included.
    pub due: u64,
    /// Members by the server's last answer.
    pub counted: Option<u64>,
    /// Members by what it was told.
    pub told: u64,
    /// From the last leave or join until the answers were right and stayed so; `None` if they never were.
    pub counted_right_seconds: Option<f64>,
    /// The same for what it was told.
    pub told_right_seconds: Option<f64>,
}

impl BounceReport {
    /// A report of nothing yet; `is_own` says that the server is of this run.
    pub(super) fn new(origin: Origin, options: &BounceOptions, is_own: bool, gone: u64) -> Self {
        Self {
            origin,
            interrupted: false,
            dialect: options.common.dialect.name.clone(),
            members: options.members,
            gone,
            gap_seconds: options.gap_seconds,
            debounce_ms: is_own.then_some(options.debounce_ms),
            pushes_max: options.pushes_max,
            settle_seconds_max: options.settle_seconds_max,
            seconds: 0.0,
            leaves: 0,
            joins: 0,
            pushes: 0,
            frames: 0,
            pushes_per_member_second: 0.0,
            frames_per_member_second: 0.0,
            server: None,
            client: Cost::default(),
            server_cpu_us_per_bounce: None,
            messages_per_write: None,
            bottleneck: Bottleneck::None,
            unanswered: 0,
            refused: 0,
            contradictions: 0,
            settled: None,
            drops: BTreeMap::new(),
        }
    }

    /// Notes what was measured: leaves, joins, lines and frames that told of such.
    pub(super) fn note(&mut self, spent: &Spent, [leaves, joins, pushes, frames]: [u64; 4]) {
        (self.leaves, self.joins, self.pushes, self.frames) = (leaves, joins, pushes, frames);
        self.seconds = spent.seconds;
        let member_seconds = self.members as f64 * spent.seconds;
        self.pushes_per_member_second = pushes as f64 / member_seconds;
        self.frames_per_member_second = frames as f64 / member_seconds;
        (self.server, self.client, self.bottleneck) = (spent.server, spent.client, spent.bottleneck);
        self.server_cpu_us_per_bounce = spent.server.and_then(|cost| per(cost.cpu_seconds * 1e6, joins));
    }

    /// Whether members were told little enough, and right.
    ///
    /// # Errors
    ///
    /// It was not so: what was wrong. An interrupted run is judged by nothing.
    pub(super) fn verdict(&self) -> Result<(), String> {
        if self.interrupted {
            return Ok(());
        }
        let count = |value: u64| number(value as f64, 0);
        let mut wrong = Vec::new();
        if self.pushes_per_member_second > self.pushes_max {
            wrong.push(format!(
                "members were told of {} joins and leaves per second, more than {}",
                number(self.pushes_per_member_second, 2),
                number(self.pushes_max, 2)
            ));
        }
        for (many, what) in [
            (self.unanswered, "leaves and joins were not answered"),
            (self.refused, "leaves and joins were refused"),
            (self.contradictions, "times the witness was told what cannot be"),
            (self.drops.values().sum(), "members were ended by the server"),
        ] {
            if many > 0 {
                wrong.push(format!("{} {what}", count(many)));
            }
        }
        if let Some(settled) = &self.settled {
            let counted = settled.counted.map_or("no".to_owned(), count);
            for (seconds, known, what) in [
                (settled.counted_right_seconds, counted, "the server counts"),
                (settled.told_right_seconds, count(settled.told), "by what the witness was told there are"),
            ] {
                if seconds.is_none_or(|seconds| seconds > self.settle_seconds_max) {
                    let when = seconds.map_or("never right".to_owned(), |seconds| {
                        format!("right after {} s only", number(seconds, 2))
                    });
                    wrong.push(format!("{what} {known} members of {}: {when}", count(settled.due)));
                }
            }
        }
        if wrong.is_empty() {
            return Ok(());
        }
        Err(format!("a room of {} that bounce:\n  {}", count(self.members), wrong.join("\n  ")))
    }

    /// The report for people.
    pub fn table(&self) -> Table {
        let mut table = Table::default();
        let count = |value: u64| number(value as f64, 0);
        if self.interrupted {
            table.row("interrupted", "yes: figures up to then");
        }
        table.row("members that bounce", count(self.members));
        table.row("seconds in which each leaves and joins", number(self.gap_seconds, 1));
        table.row_if("debounce of the server (ms)", self.debounce_ms.map(|ms| ms as f64), 0);
        table.row("leaves", count(self.leaves));
        table.row("joins", count(self.joins));
        table.row("joins and leaves that members were told of", count(self.pushes));
        table.row("  per member and second", number(self.pushes_per_member_second, 3));
        table.row("frames that told them", count(self.frames));
        table.row("  per member and second", number(self.frames_per_member_second, 3));
        table.row("leaves and joins not answered", count(self.unanswered));
        table.row("leaves and joins refused", count(self.refused));
        table.row("what the witness was told that cannot be", count(self.contradictions));
        if let Some(settled) = &self.settled {
            let when = |seconds: Option<f64>| seconds.map_or("never".to_owned(), |it| number(it, 2));
            table.row("members that left for good in the end", count(self.gone));
            table.row("members there in the end", count(settled.due));
            table.row("  as the server counts", settled.counted.map_or("unknown".to_owned(), count));
            table.row("  as the witness was told", count(settled.told));
            table.row("seconds until the server counted right", when(settled.counted_right_seconds));
            table.row("seconds until the witness was told right", when(settled.told_right_seconds));
        }
        table.row("members ended by the server", count(self.drops.values().sum()));
        table.reasons("ended", &self.drops);
        table.row_if("server CPU per leave and join (µs)", self.server_cpu_us_per_bounce, 1);
        table.row_if("messages per write of the server", self.messages_per_write, 2);
        table.row_if("server cores busy", self.server.map(|cost| cost.cores), 2);
        table.row("client cores busy", number(self.client.cores, 2));
        table.row("bottleneck", self.bottleneck.sentence());
        table
    }
}
