//! `throng bench fanout --rate`: rooms × members × rate, as an open loop.
//!
//! Publishes leave by a fixed schedule and every message's delay counts from the time its publish was
//! due, so the answer is what a member would have waited, however the server kept up.

use std::collections::BTreeMap;

use serde::Serialize;

use super::dialect::PAYLOAD_BYTES_MIN;
use super::failures::server_stayed;
use super::options::Common;
use super::progress::Waited;
use super::report::{Origin, Table, number};
use super::server::Server;
use super::settings::ROOMS;
use super::steady::{Steady, SteadyPlan, Window};
use super::worker::BUFFER_BYTES;

/// What to run.
pub struct PacedOptions {
    /// Which server, and where the answer goes.
    pub common: Common,
    /// Rooms.
    pub rooms: u64,
    /// Members of each.
    pub members: u64,
    /// Publishes per second over all rooms.
    pub rate: f64,
    /// Connections that publish.
    pub publishers: u64,
    /// Seconds to run before measuring.
    pub warm_up_seconds: f64,
    /// Seconds to measure.
    pub seconds: f64,
    /// Bytes of each payload.
    pub payload_bytes: usize,
    /// Time between two beats of rooms in feed mode; `None`: they are not in it.
    pub feed_interval_ms: Option<u64>,
}

impl PacedOptions {
    /// What a server that is started is told.
    fn common(&self) -> Common {
        let mut common = self.common.clone();
        if let Some(interval_ms) = self.feed_interval_ms {
            // Two members are too many already, so every room goes over at once.
            common.settings = common
                .settings
                .with(ROOMS, "member_cap", 1)
                .with_text(ROOMS, "over_cap", "feed")
                .with(ROOMS, "feed_interval_ms", interval_ms);
        }
        common
    }
}

/// The answer.
#[derive(Debug, Serialize)]
pub struct PacedReport {
    /// Where and how.
    pub origin: Origin,
    /// The run was stopped before its end.
    pub interrupted: bool,
    /// How the server was spoken to.
    pub dialect: String,
    /// Rooms had a history, and every member could have recovered.
    pub history: bool,
    /// Time between two beats, if rooms were in feed mode.
    pub feed_interval_ms: Option<u64>,
    /// Rooms.
    pub rooms: u64,
    /// Members of each.
    pub members_per_room: u64,
    /// Bytes of each payload as published.
    pub payload_bytes: usize,
    /// What was seen.
    pub window: Window,
    /// Messages that members still connected at the end had not got.
    pub lost: u64,
    /// Messages they got more than once.
    pub duplicated: u64,
    /// Publishes that were answered with an error.
    pub refused: u64,
    /// Members that the server ended, by reason.
    pub drops: BTreeMap<String, u64>,
}

/// Longest payload: with its envelope it fits in a worker's buffer.
pub const PAYLOAD_BYTES_MAX: usize = 192 * 1024;

const _: () = assert!(PAYLOAD_BYTES_MAX < BUFFER_BYTES);

/// Refuses a payload that cannot carry its number or that no connection could receive.
///
/// # Errors
///
/// It is too short or too long.
pub fn check_payload(payload_bytes: usize) -> Result<(), String> {
    if payload_bytes < PAYLOAD_BYTES_MIN {
        return Err(format!(
            "--payload-bytes {payload_bytes}: a payload needs {PAYLOAD_BYTES_MIN} bytes for its sequence number"
        ));
    }
    if payload_bytes > PAYLOAD_BYTES_MAX {
        return Err(format!(
            "--payload-bytes {payload_bytes}: at most {PAYLOAD_BYTES_MAX}; a generator's buffer must hold a message"
        ));
    }
    Ok(())
}

/// Runs it, prints the table on stdout and writes the JSON.
///
/// # Errors
///
/// The run could not start, a member did not become whole, or the report could not be written. What
/// is lost while running is a figure, not an error.
pub fn run(options: &PacedOptions) -> Result<(), String> {
    check_payload(options.payload_bytes)?;
    let common = &options.common();
    let (outputs, sender, notices) = common.prepare()?;
    let members = options.rooms.saturating_mul(options.members);
    let server = Server::of(common, members)?;
    let plan = SteadyPlan::new(options.rooms, members, options.publishers, options.payload_bytes);
    let steady = Steady::open(common, plan, &server, &sender, &notices)?;
    let origin = Origin::now(&server.url, steady.threads as usize, steady.source_ips);
    let (mut window, mut waited) = steady.window(options.rate, options.warm_up_seconds, &notices);
    if waited == Waited::Done {
        (window, waited) = steady.window(options.rate, options.seconds, &notices);
    }
    let refused = steady.refused();
    let outcome = steady.close();
    let report = PacedReport {
        origin,
        interrupted: waited == Waited::Interrupted,
        dialect: common.dialect.name.clone(),
        history: common.keep.is_some(),
        feed_interval_ms: options.feed_interval_ms,
        rooms: options.rooms,
        members_per_room: options.members,
        payload_bytes: options.payload_bytes,
        window,
        lost: outcome.lost,
        duplicated: outcome.duplicated,
        refused,
        drops: outcome.drops,
    };
    print!("{}", report.table().render());
    outputs.write(&report, &report.page())?;
    server_stayed(&report.drops, members)
}

impl PacedReport {
    /// The report for people.
    pub fn table(&self) -> Table {
        let mut table = Table::default();
        let count = |value: u64| number(value as f64, 0);
        if self.interrupted {
            table.row("interrupted", "yes: figures up to then");
        }
        if self.history {
            table.row("rooms have a history", "yes");
        }
        table.row_if(
            "rooms are in feed mode, with a beat (ms)",
            self.feed_interval_ms.map(|ms| ms as f64),
            0,
        );
        table.row("rooms", count(self.rooms));
        table.row("members of each", count(self.members_per_room));
        self.window.rows(&mut table);
        table.row("lost", count(self.lost));
        table.row("duplicated", count(self.duplicated));
        table.row("reordered", count(self.window.reordered));
        table.row("refused publishes", count(self.refused));
        table.reasons("dropped", &self.drops);
        table
    }
}
