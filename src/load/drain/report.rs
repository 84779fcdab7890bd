//! What `throng bench drain` found, as figures and as a table.

use std::collections::BTreeMap;

use serde::Serialize;

use super::DrainOptions;
use super::spread::Spread;
use crate::load::cost::Cost;
use crate::load::report::{Origin, Table, Timeline, number};

/// The code by which throng says that it ends and clients should come back. Source: PROTOCOL.md section 10.
const SHUTDOWN: u16 = 3001;

/// The answer.
#[derive(Debug, Serialize)]
pub struct DrainReport {
    /// Where and how.
    pub origin: Origin,
    /// The run was stopped before its end.
    pub interrupted: bool,
    /// How the server was spoken to.
    pub dialect: String,
    /// Connections that were whole when the server was told to drain.
    pub connections: u64,
    /// Rooms that they were spread over.
    pub rooms: u64,
    /// Seconds over which they were to be closed.
    pub over_seconds: f64,
    /// What a second may be off from even, in percent.
    pub uneven_percent_max: f64,
    /// Connections that ended.
    pub ended: u64,
    /// Those of them that got no close frame.
    pub cut_off: u64,
    /// Close codes, and how many had each.
    pub codes: BTreeMap<u16, u64>,
    /// Ends by reason.
    pub drops: BTreeMap<String, u64>,
    /// How they were spread.
    pub spread: Option<Spread>,
    /// (seconds since the order, connections ended by then).
    pub timeline: Timeline,
    /// What the generator spent.
    pub client: Cost,
    #[serde(skip)]
    is_own: bool,
}

impl DrainReport {
    /// A report of nothing yet; `is_own` says that the server is of this run.
    pub(super) fn new(origin: Origin, options: &DrainOptions, is_own: bool) -> Self {
        Self {
            origin,
            interrupted: false,
            dialect: options.common.dialect.name.clone(),
            connections: options.connections,
            rooms: options.rooms,
            over_seconds: options.over_seconds,
            uneven_percent_max: options.uneven_percent_max,
            ended: 0,
            cut_off: 0,
            codes: BTreeMap::new(),
            drops: BTreeMap::new(),
            spread: None,
            timeline: Timeline::default(),
            client: Cost::default(),
            is_own,
        }
    }

    /// Whether everybody was closed, with a close frame, and evenly.
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
        if self.ended < self.connections {
            wrong.push(format!("{} were never closed", count(self.connections - self.ended)));
        }
        if self.cut_off > 0 {
            wrong.push(format!("{} were cut off without a close frame", count(self.cut_off)));
        }
        let others = self.codes.iter().filter(|(code, _)| self.is_own && **code != SHUTDOWN);
        wrong.extend(others.map(|(code, many)| format!("{} were closed with {code}", count(*many))));
        if let Some(spread) = self.spread.as_ref().filter(|it| it.worst_percent > self.uneven_percent_max) {
            wrong.push(format!(
                "one second was {} % off from even, more than {} %",
                number(spread.worst_percent, 1),
                number(self.uneven_percent_max, 1)
            ));
        }
        let is_in_order = self.spread.as_ref().is_some_and(|it| it.is_random == Some(false));
        // Those that are closed in one step are read in the order of their sockets.
        if self.is_own && is_in_order && self.over_seconds >= 1.0 {
            wrong.push("they were closed in the order of their connects, not in a random one".to_owned());
        }
        if wrong.is_empty() {
            return Ok(());
        }
        Err(format!("of {} connections:\n  {}", count(self.connections), wrong.join("\n  ")))
    }

    /// The report for people.
    pub fn table(&self) -> Table {
        let mut table = Table::default();
        let count = |value: u64| number(value as f64, 0);
        if self.interrupted {
            table.row("interrupted", "yes: figures up to then");
        }
        table.row("connections", count(self.connections));
        table.row("seconds that closing them was to take", number(self.over_seconds, 1));
        table.row("ended", count(self.ended));
        table.row("cut off without a close frame", count(self.cut_off));
        table.reasons("ended", &self.drops);
        if let Some(spread) = &self.spread {
            let counts = &spread.closes_in_second;
            table.row("seconds until the first close", number(spread.seconds_to_first, 2));
            table.row("seconds from the first to the last", number(spread.seconds, 2));
            table.row("closes per second if even", number(spread.even_per_second, 1));
            table.row("closes in a second, least", count(counts.iter().copied().min().unwrap_or(0)));
            table.row("closes in a second, most", count(counts.iter().copied().max().unwrap_or(0)));
            table.row("closes after those seconds", count(spread.late));
            table.row("worst second, off from even (%)", number(spread.worst_percent, 1));
            table.row_if("rank correlation with the order of connects", spread.order_correlation, 3);
            if let Some(is_random) = spread.is_random {
                table.row("order", if is_random { "random" } else { "not random" });
            }
        }
        table.row("client cores busy", number(self.client.cores, 2));
        table
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closing_in_the_order_of_the_connects_is_no_drain_of_ours() {
        let report = |is_own, is_random| DrainReport {
            origin: Origin::now("ws://127.0.0.1:1/", 1, 0),
            interrupted: false,
            dialect: "centrifuge".to_owned(),
            connections: 0,
            rooms: 1,
            over_seconds: 20.0,
            uneven_percent_max: 20.0,
            ended: 0,
            cut_off: 0,
            codes: BTreeMap::new(),
            drops: BTreeMap::new(),
            spread: Some(Spread { is_random: Some(is_random), ..Spread::default() }),
            timeline: Timeline::default(),
            client: Cost::default(),
            is_own,
        };
        assert!(report(true, false).verdict().unwrap_err().contains("in the order of their connects"));
        assert_eq!(report(true, true).verdict(), Ok(()));
        assert_eq!(report(false, false).verdict(), Ok(()), "another server promises no order");
    }
}
