//! What `throng bench recover` found, as figures and as a table.

use std::collections::BTreeMap;

use serde::Serialize;

use super::RecoverOptions;
use crate::load::cost::{Bottleneck, Cost, Spent};
use crate::load::metrics::StoreWork;
use crate::load::percentiles::Percentiles;
use crate::load::report::{Origin, Table, Timeline, number, per};

/// The answer. What has no source is absent.
#[derive(Debug, Serialize)]
pub struct RecoverReport {
    /// Where and how.
    pub origin: Origin,
    /// The run was stopped before its end.
    pub interrupted: bool,
    /// How the server was spoken to.
    pub dialect: String,
    /// What an acknowledgement promised: `fsync`, `os`, `memory`, or `the target's`.
    pub durability: String,
    /// Clients.
    pub connections: u64,
    /// Rooms that they were spread over.
    pub rooms: u64,
    /// Messages that each missed.
    pub missed: u64,
    /// Bytes of each payload.
    pub payload_bytes: usize,
    /// Connects under way at once; `None`: as the official SDKs come back.
    pub at_once: Option<u64>,
    /// Connects per second that they came back with, if they were told one.
    pub scheduled_per_second: Option<f64>,
    /// How long a server that was ended meanwhile took until it was ready again.
    pub restart_seconds: Option<f64>,
    /// Clients that came back.
    pub back: u64,
    /// Those of them that were given exactly what they missed.
    pub recovered: u64,
    /// Publications they were given.
    pub publications: u64,
    /// What was wrong, and how often: with a recovery, or with a live message.
    pub wrong: BTreeMap<String, u64>,
    /// Tries to connect that failed, each repeated later.
    pub failed_tries: u64,
    /// The same by reason.
    pub failures: BTreeMap<String, u64>,
    /// Clients that the server ended, by reason.
    pub drops: BTreeMap<String, u64>,
    /// Live messages due before the drop and after the return.
    pub live_due: u64,
    /// Those that came.
    pub live: u64,
    /// From the order to return, which is the end of a server that was ended, until the last one was back.
    pub seconds_to_whole: f64,
    /// Clients that came back per second of it.
    pub recoveries_per_second: f64,
    /// (seconds since the order, clients back by then).
    pub timeline: Timeline,
    /// From the order to return until each one was back.
    pub returns: Option<Percentiles>,
    /// From each one's connect until it had what it missed.
    pub recoveries: Option<Percentiles>,
    /// What the server's store did meanwhile.
    pub store: Option<StoreWork>,
    /// What the server spent.
    pub server: Option<Cost>,
    /// What the generator spent.
    pub client: Cost,
    /// Server CPU per client that came back.
    pub server_cpu_us_per_recovery: Option<f64>,
    /// Generator CPU per client that came back.
    pub client_cpu_us_per_recovery: Option<f64>,
    /// Who was saturated.
    pub bottleneck: Bottleneck,
    /// Resident memory of the server before the return.
    pub memory_before_bytes: Option<u64>,
    /// The most that it had resident up to the last one's return.
    pub memory_peak_bytes: Option<u64>,
}

impl RecoverReport {
    /// A report of nothing yet; `is_own` says that the server is of this run.
    pub(super) fn new(origin: Origin, options: &RecoverOptions, is_own: bool) -> Self {
        let keep = options.common.keep.as_ref().filter(|_| is_own);
        Self {
            origin,
            interrupted: false,
            dialect: options.common.dialect.name.clone(),
            durability: keep.map_or("the target's", |keep| keep.durability.name()).to_owned(),
            connections: options.connections,
            rooms: options.rooms,
            missed: options.missed,
            payload_bytes: options.payload_bytes,
            at_once: options.at_once,
            scheduled_per_second: options.rate,
            restart_seconds: None,
            back: 0,
            recovered: 0,
            publications: 0,
            wrong: BTreeMap::new(),
            failed_tries: 0,
            failures: BTreeMap::new(),
            drops: BTreeMap::new(),
            live_due: 0,
            live: 0,
            seconds_to_whole: 0.0,
            recoveries_per_second: 0.0,
            timeline: Timeline::default(),
            returns: None,
            recoveries: None,
            store: None,
            server: None,
            client: Cost::default(),
            server_cpu_us_per_recovery: None,
            client_cpu_us_per_recovery: None,
            bottleneck: Bottleneck::None,
            memory_before_bytes: None,
            memory_peak_bytes: None,
        }
    }

    /// Notes what the return took, and how many `seconds` it was until the last was back.
    pub(super) fn note(&mut self, spent: &Spent, seconds: f64) {
        self.seconds_to_whole = seconds;
        self.recoveries_per_second = self.back as f64 / seconds;
        (self.server, self.client, self.bottleneck) = (spent.server, spent.client, spent.bottleneck);
        self.server_cpu_us_per_recovery =
            spent.server.and_then(|cost| per(cost.cpu_seconds * 1e6, self.back));
        self.client_cpu_us_per_recovery = per(spent.client.cpu_seconds * 1e6, self.back);
    }

    /// Bytes of payload that the rooms' missed messages are: what a store must read at least once, if it
    /// has to read at all.
    pub fn missed_bytes(&self) -> u64 {
        self.rooms * self.missed * self.payload_bytes as u64
    }

    /// Whether every client was whole in the end.
    ///
    /// # Errors
    ///
    /// It was not: how many, and why. An interrupted run is judged by nothing.
    pub(super) fn verdict(&self) -> Result<(), String> {
        let is_whole =
            self.recovered == self.connections && self.wrong.is_empty() && self.live == self.live_due;
        if is_whole || self.interrupted {
            return Ok(());
        }
        let count = |value: u64| number(value as f64, 0);
        let mut text = format!(
            "{} of {} clients came back and {} of them were given exactly what they missed",
            count(self.back),
            count(self.connections),
            count(self.recovered)
        );
        for (what, many) in &self.wrong {
            text.push_str(&format!("\n  {} × {what}", count(*many)));
        }
        if self.live != self.live_due {
            text.push_str(&format!(
                "\n  {} live messages came of {}",
                count(self.live),
                count(self.live_due)
            ));
        }
        Err(text)
    }

    /// The report for people.
    pub fn table(&self) -> Table {
        let mut table = Table::default();
        let count = |value: u64| number(value as f64, 0);
        if self.interrupted {
            table.row("interrupted", "yes: figures up to then");
        }
        table.row("durability", self.durability.as_str());
        table.row("clients", count(self.connections));
        table.row("rooms", count(self.rooms));
        table.row("messages missed by each", count(self.missed));
        table.row_if("seconds until the server was ready again", self.restart_seconds, 2);
        table.row("clients back", count(self.back));
        table.row("clients given exactly what they missed", count(self.recovered));
        table.row("publications they were given", count(self.publications));
        table.reasons("wrong", &self.wrong);
        if self.at_once.is_none() {
            table.row("they come back", "as the official SDKs do");
        }
        table.row("failed tries", count(self.failed_tries));
        table.reasons("failed", &self.failures);
        table.row("live messages, before and after", count(self.live));
        table.row("live messages missing", count(self.live_due.saturating_sub(self.live)));
        table.row("clients ended by the server", count(self.drops.values().sum()));
        table.reasons("ended", &self.drops);
        table.row("seconds until all were whole", number(self.seconds_to_whole, 2));
        table.row_if("connects per second, scheduled", self.scheduled_per_second, 1);
        table.row("recoveries per second", number(self.recoveries_per_second, 0));
        table.percentiles("connect to whole", self.recoveries.as_ref());
        if let Some(store) = &self.store {
            store.reading(&mut table);
        }
        table.row("payload bytes missed, over all rooms", count(self.missed_bytes()));
        table.row_if("server CPU per recovery (µs)", self.server_cpu_us_per_recovery, 1);
        table.row_if("client CPU per recovery (µs)", self.client_cpu_us_per_recovery, 1);
        table.row_if("server cores busy", self.server.map(|cost| cost.cores), 2);
        table.row("client cores busy", number(self.client.cores, 2));
        table.row("bottleneck", self.bottleneck.sentence());
        let mib = |bytes: Option<u64>| bytes.map(|bytes| bytes as f64 / (1 << 20) as f64);
        table.row_if("server memory before the return (MiB)", mib(self.memory_before_bytes), 1);
        table.row_if("server memory, peak (MiB)", mib(self.memory_peak_bytes), 1);
        table
    }
}
