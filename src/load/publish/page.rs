//! The page of [`PublishReport`].

use super::PublishReport;
use crate::load::percentiles::Percentiles;
use crate::load::report::{Bar, Content, Page, Plot, Scale, Series, number};

/// Windows in which the rate is shown.
const WINDOWS_MAX: usize = 120;

const LATENCY: &str = "From the time at which a publish was due to the read that brought its answer. In a closed loop \
                       that is when it was written. Each step to the right leaves out one more nine.";

impl PublishReport {
    /// The report for a browser.
    pub fn page(&self) -> Page {
        let count = |value: u64| number(value as f64, 0);
        let load = match (self.in_flight, self.scheduled_per_second) {
            (Some(in_flight), _) => format!("{} in flight on each", count(in_flight)),
            (None, rate) => format!("{} publishes per second", number(rate.unwrap_or_default(), 1)),
        };
        let subtitle = format!(
            "{} connections publish {} bytes to {} rooms, {load}; durability: {}",
            count(self.connections),
            self.payload_bytes,
            count(self.rooms),
            self.durability
        );
        let mut page = Page::new("throng bench publish", subtitle, self.origin.clone());
        page.figure(number(self.acknowledged_per_second, 0), "publishes acknowledged per second");
        if let Some(latency) = &self.latency {
            for (us, what) in
                [(latency.p50_us, "median until acknowledged"), (latency.p99_us, "p99 until acknowledged")]
            {
                page.figure(format!("{} ms", number(us as f64 / 1e3, 1)), what);
            }
        }
        if let Some(batch) = self.store.as_ref().and_then(|store| store.publications_per_commit) {
            page.figure(number(batch, 1), "publications per commit");
        }
        self.judge(&mut page);
        page.section(
            "Acknowledged over time",
            "Publishes per second. A gap is a time in which none was acknowledged: the disk stood still.",
            Content::Plot(Plot::Lines {
                x: "seconds".to_owned(),
                x_scale: Scale::Linear,
                y: "publishes per second".to_owned(),
                y_scale: Scale::Linear,
                series: vec![Series::new("acknowledged", self.timeline.rates(WINDOWS_MAX))],
            }),
        );
        let curve = |name: &str, times: &Option<Percentiles>| {
            let points = times.as_ref()?.curve.iter().map(|(quantile, us)| (*quantile, *us as f64)).collect();
            Some(Series::new(name, points))
        };
        let delay = self.delivered.as_ref().and_then(|delivered| curve("to a member", &delivered.delay));
        let fsync = |when: &str, rate: &Option<crate::load::disk::SyncRate>| {
            curve(&format!("the disk's own fsync, {when}"), &rate.as_ref()?.times)
        };
        let disk = self.disk.as_ref();
        let series = [
            curve("to the acknowledgement", &self.latency),
            delay,
            disk.and_then(|disk| fsync("before", &disk.before)),
            disk.and_then(|disk| fsync("after", &disk.after)),
        ];
        page.section(
            "Until a publish is acknowledged",
            LATENCY,
            Content::Plot(Plot::Percentiles {
                unit: "µs".to_owned(),
                series: series.into_iter().flatten().collect(),
            }),
        );
        let sides =
            [("server", self.server_cpu_us_per_publish), ("generator", self.client_cpu_us_per_publish)];
        let bars =
            sides.into_iter().filter_map(|(side, us)| Some(Bar::new(side, vec![("CPU".to_owned(), us?)])));
        page.section(
            "CPU per publish",
            "User and system time of all threads, divided by the acknowledged publishes.",
            Content::Plot(Plot::Bars { unit: "µs per publish".to_owned(), bars: bars.collect() }),
        );
        page.section("All figures", "As printed at the end of the run.", Content::Table(self.table()));
        page
    }

    /// Says what the figures mean, and what makes them doubtful.
    fn judge(&self, page: &mut Page) {
        let count = |value: u64| number(value as f64, 0);
        if self.interrupted || self.stalled {
            page.verdict("The run ended early: these are the figures up to then.");
        }
        page.verdict(format!("Bottleneck: {}.", self.bottleneck.sentence()));
        if let Some(disk) = &self.disk {
            page.verdict(format!("The data directory was on {}.", disk.file_system.words()));
        }
        for (reason, many) in &self.errors {
            page.verdict(format!("{} publishes were refused: {reason}.", count(*many)));
        }
        for (reason, many) in &self.ended {
            page.verdict(format!("{} publishing connections ended: {reason}.", count(*many)));
        }
        if self.unanswered > 0 {
            page.verdict(format!("{} publishes were never answered.", count(self.unanswered)));
        }
    }
}
