//! The pages of [`FanoutReport`] and [`FanoutSweep`].

use super::fanout::{FanoutReport, FanoutSweep};
use super::report::{Bar, Content, Page, Plot, Scale, Series, number};

impl FanoutSweep {
    /// The report for a browser.
    pub fn page(&self) -> Page {
        let origin = self.runs.first().map(|run| run.origin.clone());
        let receivers = self.runs.first().map_or(0, |run| run.receivers);
        let subtitle =
            format!("{} receivers, one run for each number in flight", number(receivers as f64, 0));
        let mut page = Page::new("throng bench fanout", subtitle, origin);
        for run in &self.runs {
            if let Some(ns) = run.server_cpu_ns_per_delivery {
                let what = format!("server CPU per delivery, {} in flight", run.in_flight);
                page.figure(format!("{} ns", number(ns, 0)), what);
            }
        }
        if self.runs.iter().any(|run| run.interrupted || run.stalled) {
            page.verdict("The last run ended early: its figures are those up to then.");
        }
        let points = |value: fn(&FanoutReport) -> Option<f64>| {
            self.runs.iter().filter_map(|run| Some((run.in_flight as f64, value(run)?))).collect()
        };
        let against = |y: &str, series| {
            Content::Plot(Plot::Lines {
                x: "publishes in flight".to_owned(),
                x_scale: Scale::Log,
                y: y.to_owned(),
                y_scale: Scale::Log,
                series,
            })
        };
        page.section(
            "CPU per delivery against in-flight",
            "User and system time divided by the deliveries. It falls as messages share writes.",
            against(
                "ns per delivery",
                vec![
                    Series::new("server", points(|run| run.server_cpu_ns_per_delivery)),
                    Series::new("generator", points(|run| run.client_cpu_ns_per_delivery)),
                ],
            ),
        );
        page.section(
            "Deliveries per second against in-flight",
            "Over all receivers.",
            against(
                "deliveries per second",
                vec![Series::new("deliveries", points(|run| Some(run.deliveries_per_second)))],
            ),
        );
        for run in &self.runs {
            let heading = format!("{} in flight", run.in_flight);
            page.section(heading, "As printed at the end of the run.", Content::Table(run.table()));
        }
        page
    }
}

impl FanoutReport {
    /// The report for a browser.
    pub fn page(&self) -> Page {
        let subtitle = format!(
            "{} receivers, {} in flight, messages of {} bytes, {} s measured",
            number(self.receivers as f64, 0),
            self.in_flight,
            self.message_bytes,
            number(self.seconds, 1)
        );
        let mut page = Page::new("throng bench fanout", subtitle, self.origin.clone());
        page.figure(number(self.deliveries_per_second, 0), "deliveries per second");
        if let Some(ns) = self.server_cpu_ns_per_delivery {
            page.figure(format!("{} ns", number(ns, 0)), "server CPU per delivery");
        }
        if let Some(round) = &self.round {
            page.figure(format!("{} µs", number(round.p99_us as f64, 0)), "p99 of a round");
        }
        page.figure(
            number((self.lost + self.duplicated + self.reordered) as f64, 0),
            "lost, twice or out of order",
        );
        if self.interrupted {
            page.verdict("The run was interrupted: these are the figures up to then.");
        }
        if self.stalled {
            page.verdict(
                "Nothing arrived for ten seconds, so the run was given up: these are the figures up to then.",
            );
        }
        page.section(
            "Time of a round",
            "From the write of a round's publishes to the last member's last message. Each step to the right leaves \
             out one more nine: a curve that stays low is one without outliers.",
            Content::Plot(Plot::Percentiles { unit: "µs".to_owned(), series: self.distribution.clone() }),
        );
        let sides = [
            ("server", self.server_cpu_ns_per_delivery),
            ("generator, which is the client", self.client_cpu_ns_per_delivery),
        ];
        let bars =
            sides.into_iter().filter_map(|(name, ns)| Some(Bar::new(name, vec![("CPU".to_owned(), ns?)])));
        page.section(
            "CPU per delivery",
            "User and system time of all threads over the measured seconds, divided by the deliveries. \
             Shorter is better; the generator's own is no part of the server's.",
            Content::Plot(Plot::Bars { unit: "ns per delivery".to_owned(), bars: bars.collect() }),
        );
        page.section("All figures", "As printed at the end of the run.", Content::Table(self.table()));
        page
    }
}
