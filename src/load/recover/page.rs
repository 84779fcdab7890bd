//! The page of [`RecoverReport`].

use super::RecoverReport;
use crate::load::account_page::show_cpu;
use crate::load::percentiles::Percentiles;
use crate::load::report::{Content, Page, Plot, Scale, Series, number};

/// Windows in which a rate is shown.
const WINDOWS_MAX: usize = 120;

impl RecoverReport {
    /// The report for a browser.
    pub fn page(&self) -> Page {
        let count = |value: u64| number(value as f64, 0);
        let restart = if self.restart_seconds.is_some() { "; the server was ended meanwhile" } else { "" };
        let subtitle = format!(
            "{} clients of {} rooms drop, miss {} messages of {} bytes each and come back, {}{restart}; \
             durability: {}",
            count(self.connections),
            count(self.rooms),
            count(self.missed),
            self.payload_bytes,
            self.at_once
                .map_or("as the official SDKs do".to_owned(), |many| format!("{} at a time", count(many))),
            self.durability
        );
        let mut page = Page::new("throng bench recover", subtitle, self.origin.clone());
        page.figure(count(self.recovered), "clients given exactly what they missed");
        page.figure(format!("{} s", number(self.seconds_to_whole, 2)), "until all were whole");
        page.figure(number(self.recoveries_per_second, 0), "recoveries per second");
        if let Some(recoveries) = &self.recoveries {
            page.figure(
                format!("{} ms", number(recoveries.p99_us as f64 / 1e3, 1)),
                "p99 from connect to whole",
            );
        }
        if let Some(bytes) = self.store.as_ref().and_then(|store| store.read_bytes) {
            page.figure(count(bytes), "bytes read from the disk");
        }
        self.judge(&mut page);
        page.section(
            "Clients back over time",
            "Per second. A gap is a time in which none came back.",
            Content::Plot(Plot::Lines {
                x: "seconds since the order to return".to_owned(),
                x_scale: Scale::Linear,
                y: "clients per second".to_owned(),
                y_scale: Scale::Linear,
                series: vec![Series::new("back", self.timeline.rates(WINDOWS_MAX))],
            }),
        );
        let curve = |name: &str, times: &Option<Percentiles>| {
            let points = times.as_ref()?.curve.iter().map(|(quantile, us)| (*quantile, *us as f64)).collect();
            Some(Series::new(name, points))
        };
        let series =
            [curve("from its connect", &self.recoveries), curve("from the order to return", &self.returns)];
        page.section(
            "Until a client was whole",
            "Connected, subscribed, and in possession of every message it missed.",
            Content::Plot(Plot::Percentiles {
                unit: "µs".to_owned(),
                series: series.into_iter().flatten().collect(),
            }),
        );
        show_cpu(
            &mut page,
            "CPU per recovery",
            "User and system time from the order to return until the last client was whole, divided by the clients.",
            "µs per recovery",
            self.server_cpu_us_per_recovery,
            self.client_cpu_us_per_recovery,
        );
        page.section("All figures", "As printed at the end of the run.", Content::Table(self.table()));
        page
    }

    /// Says what the figures mean, and what makes them doubtful.
    fn judge(&self, page: &mut Page) {
        let count = |value: u64| number(value as f64, 0);
        if self.interrupted {
            page.verdict("The run was interrupted: these are the figures up to then.");
        } else if let Err(text) = self.verdict() {
            text.lines().for_each(|line| page.verdict(format!("{}.", line.trim_start())));
        }
        page.verdict(format!("Bottleneck: {}.", self.bottleneck.sentence()));
        if let Some(reads) = self.store.as_ref().and_then(|store| store.reads) {
            page.verdict(format!(
                "The store read the disk {} times for {} recoveries in {} rooms.",
                count(reads),
                count(self.back),
                count(self.rooms)
            ));
        }
    }
}
