//! The pages of the scenarios with a steady load: `fanout --rate`, `ceiling`, `slow` and `storm`.

use super::ceiling::CeilingReport;
use super::paced::PacedReport;
use super::percentiles::Percentiles;
use super::report::{Bar, Content, Page, Plot, Scale, Series, number};
use super::slow::SlowReport;
use super::steady::Window;
use super::storm::StormReport;

/// Windows in which a rate is shown.
const WINDOWS_MAX: usize = 120;

const DELAY: &str = "From the time at which a publish was due to the read that brought it to a member; what the \
                     generator itself was late is part of it. Each step to the right leaves out one more nine: a curve \
                     that stays low is one without outliers.";
const INTERRUPTED: &str = "The run was interrupted: these are the figures up to then.";

fn count(value: u64) -> String {
    number(value as f64, 0)
}

/// Milliseconds for a large figure.
fn ms(us: u64) -> String {
    format!("{} ms", number(us as f64 / 1e3, 1))
}

/// One curve for each distribution that there is.
fn curves(named: &[(&str, Option<&Percentiles>)]) -> Content {
    let series = named.iter().filter_map(|(name, times)| {
        let points = (*times)?.curve.iter().map(|(quantile, us)| (*quantile, *us as f64)).collect();
        Some(Series::new(*name, points))
    });
    Content::Plot(Plot::Percentiles { unit: "µs".to_owned(), series: series.collect() })
}

/// CPU per delivery of both sides, for each named window.
fn cpu_bars(windows: &[(&str, &Window)]) -> Content {
    let bars = windows.iter().flat_map(|(name, window)| {
        [("server", window.server_cpu_ns_per_delivery), ("generator", window.client_cpu_ns_per_delivery)]
            .into_iter()
            .filter_map(move |(side, ns)| {
                Some(Bar::new(format!("{side}{name}"), vec![("CPU".to_owned(), ns?)]))
            })
    });
    Content::Plot(Plot::Bars { unit: "ns per delivery".to_owned(), bars: bars.collect() })
}

const CPU: &str = "User and system time of all threads, divided by the deliveries. The generator's own is no part of \
                   the server's.";

impl PacedReport {
    /// The report for a browser.
    pub fn page(&self) -> Page {
        let window = &self.window;
        let subtitle = format!(
            "rooms: {}, members of each: {}; {} publishes per second, payloads of {} bytes",
            count(self.rooms),
            count(self.members_per_room),
            number(window.publishes_per_second, 1),
            self.payload_bytes
        );
        let mut page = Page::new("throng bench fanout", subtitle, self.origin.clone());
        page.figure(number(window.deliveries_per_second, 0), "deliveries per second");
        if let Some(delay) = &window.delay {
            page.figure(ms(delay.p50_us), "median delay");
            page.figure(ms(delay.p99_us), "p99 of the delay");
        }
        page.figure(count(self.lost + self.duplicated + window.reordered), "lost, twice or out of order");
        if self.interrupted {
            page.verdict(INTERRUPTED);
        }
        page.verdict(format!("Bottleneck: {}.", window.bottleneck.sentence()));
        let delays =
            [("delay", window.delay.as_ref()), ("of it the generator's lateness", window.lateness.as_ref())];
        page.section("Delay of deliveries", DELAY, curves(&delays));
        page.section("CPU per delivery", CPU, cpu_bars(&[("", window)]));
        page.section("All figures", "As printed at the end of the run.", Content::Table(self.table()));
        page
    }
}

impl CeilingReport {
    /// The report for a browser.
    pub fn page(&self) -> Page {
        let subtitle = format!(
            "rooms: {}, members of each: {}; payloads of {} bytes, p99 at most {} ms",
            count(self.rooms),
            count(self.members_per_room),
            self.payload_bytes,
            number(self.p99_ms_max, 1)
        );
        let mut page = Page::new("throng bench ceiling", subtitle, self.origin.clone());
        page.figure(number(self.deliveries_per_second, 0), "deliveries per second");
        page.figure(number(self.publishes_per_second, 1), "publishes per second");
        if let Some(ns) = self.server_cpu_ns_per_delivery {
            page.figure(format!("{} ns", number(ns, 0)), "server CPU per delivery there");
        }
        if self.interrupted {
            page.verdict(INTERRUPTED);
        }
        page.verdict(format!("Beyond the ceiling: {}.", self.bottleneck.sentence()));
        let mut points: Vec<(f64, f64, Option<f64>)> = self
            .steps
            .iter()
            .filter_map(|step| {
                let window = &step.window;
                let p99_us = window.delay.as_ref()?.p99_us as f64;
                Some((window.publishes_per_second, p99_us, window.server_cpu_ns_per_delivery))
            })
            .collect();
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        let offered = |y: &str, y_scale, series| {
            Content::Plot(Plot::Lines {
                x: "publishes per second, offered".to_owned(),
                x_scale: Scale::Log,
                y: y.to_owned(),
                y_scale,
                series: vec![series],
            })
        };
        let p99 = points.iter().map(|(rate, p99_us, _)| (*rate, *p99_us)).collect();
        page.section(
            "Delay against rate",
            "p99 of the delay at each rate that was tried. The ceiling is where it leaves the ground.",
            offered("µs", Scale::Log, Series::new("p99", p99)),
        );
        let cpu = points.iter().filter_map(|(rate, _, ns)| Some((*rate, (*ns)?))).collect();
        page.section(
            "CPU per delivery against rate",
            "The server's. It falls where messages share writes.",
            offered("ns per delivery", Scale::Linear, Series::new("server", cpu)),
        );
        page.section("All figures", "As printed at the end of the run.", Content::Table(self.table()));
        page
    }
}

impl SlowReport {
    /// The report for a browser.
    pub fn page(&self) -> Page {
        let subtitle = format!(
            "rooms: {}, members of each: {}; {} of them stop reading; {} publishes per second, payloads of {} bytes",
            count(self.rooms),
            count(self.members_per_room),
            count(self.stalled),
            number(self.before.publishes_per_second, 1),
            self.payload_bytes
        );
        let mut page = Page::new("throng bench slow", subtitle, self.origin.clone());
        if let Some(ratio) = self.p99_ratio {
            page.figure(number(ratio, 2), "p99 with stalled members, relative to without");
        }
        if let Some(delay) = self.during.as_ref().and_then(|during| during.delay.as_ref()) {
            page.figure(ms(delay.p99_us), "p99 of those who read");
        }
        page.figure(count(self.drops.values().sum()), "members ended by the server");
        page.figure(count(self.lost), "messages lost by those who read");
        if let Some(recovered) = &self.recovered {
            page.figure(count(recovered.whole), "of those that woke are whole");
        }
        if let Some(bytes) = self.backlog_peak_bytes {
            page.figure(count(bytes), "bytes waiting for slow members, most");
        }
        if self.interrupted {
            page.verdict(INTERRUPTED);
        }
        if let Err(text) = self.verdict() {
            text.lines().skip(1).for_each(|line| page.verdict(format!("{}.", line.trim_start())));
        }
        let (during, after) = (self.during.as_ref(), self.after.as_ref());
        let delays = [
            ("every member reads", self.before.delay.as_ref()),
            ("the share is stalled", during.and_then(|during| during.delay.as_ref())),
            ("the share reads again", after.and_then(|after| after.delay.as_ref())),
        ];
        page.section("Delay of those who read", DELAY, curves(&delays));
        let mut windows = vec![(", every member reads", &self.before)];
        windows.extend(during.map(|during| (", the share is stalled", during)));
        windows.extend(after.map(|after| (", the share reads again", after)));
        page.section("CPU per delivery", CPU, cpu_bars(&windows));
        page.section("All figures", "As printed at the end of the run.", Content::Table(self.table()));
        page
    }
}

impl StormReport {
    /// The report for a browser.
    pub fn page(&self) -> Page {
        let subtitle = format!(
            "{} connections drop at once and come back, {}; {} members stay",
            count(self.connections),
            self.at_once
                .map_or("as the official SDKs do".to_owned(), |many| format!("{} at a time", count(many))),
            count(self.stayers)
        );
        let mut page = Page::new("throng bench storm", subtitle, self.origin.clone());
        page.figure(format!("{} s", number(self.seconds_to_whole, 2)), "until all were whole");
        page.figure(number(self.connects_per_second, 0), "connects per second");
        page.figure(count(self.failed_tries), "failed tries");
        if let Some(us) = self.server_cpu_us_per_connect {
            page.figure(format!("{} µs", number(us, 1)), "server CPU per connect");
        }
        if let Some(ratio) = self.p99_ratio {
            page.figure(number(ratio, 2), "p99 of those who stayed, relative to before");
        }
        if self.interrupted {
            page.verdict(INTERRUPTED);
        }
        if self.back < self.connections {
            page.verdict(format!("{} connections never came back.", count(self.connections - self.back)));
        }
        for (what, many) in &self.wrong {
            page.verdict(format!("{} × {what}.", count(*many)));
        }
        page.section(
            "Connections back over time",
            "Per second. A gap is a time in which none came back: connects that the accept queues could not hold \
             are tried again by TCP a second later.",
            Content::Plot(Plot::Lines {
                x: "seconds since the drop".to_owned(),
                x_scale: Scale::Linear,
                y: "connections per second".to_owned(),
                y_scale: Scale::Linear,
                series: vec![Series::new("back", self.timeline.rates(WINDOWS_MAX))],
            }),
        );
        page.section(
            "Until a connection was back",
            "From the drop until connected and subscribed again.",
            curves(&[("back", self.returns.as_ref())]),
        );
        let during = self.during.as_ref().and_then(|during| during.delay.as_ref());
        let delays = [("before", self.calm.delay.as_ref()), ("during the storm", during)];
        page.section("Delay of those who stayed", DELAY, curves(&delays));
        page.section("All figures", "As printed at the end of the run.", Content::Table(self.table()));
        page
    }
}
