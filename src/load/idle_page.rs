//! The page of [`IdleReport`].

use super::idle::IdleReport;
use super::report::{Bar, Content, Page, Plot, Scale, Series, number, per};

/// Windows in which the rate of connects is shown.
const WINDOWS_MAX: usize = 120;

impl IdleReport {
    /// The report for a browser.
    pub fn page(&self) -> Page {
        let count = |value: u64| number(value as f64, 0);
        let subtitle = format!(
            "{} of {} connections opened in {} s, held for {} s",
            count(self.whole),
            count(self.connections),
            number(self.open_seconds, 2),
            number(self.hold_seconds, 1)
        );
        let mut page = Page::new("throng bench idle", subtitle, self.origin.clone());
        page.figure(count(self.whole), "connections whole");
        page.figure(number(self.connects_per_second, 0), "connects per second");
        if let Some(bytes) = self.server_user_bytes_per_connection {
            page.figure(format!("{} B", number(bytes, 0)), "server user memory per connection");
        }
        if let Some(bytes) = self.kernel_slab_bytes_per_pair {
            page.figure(format!("{} B", number(bytes, 0)), "kernel memory per pair, both ends");
        }
        self.judge(&mut page);
        page.section(
            "Memory per connection",
            "Growth from before the first connect to the end of the hold, divided by the connections. \
             The kernel's part is that of the whole machine, so with both ends on it that of a pair.",
            Content::Plot(Plot::Bars { unit: "bytes per connection".to_owned(), bars: self.memory_bars() }),
        );
        page.section(
            "Connects over time",
            "Connections that became whole per second. A gap is a time in which none did.",
            Content::Plot(Plot::Lines {
                x: "seconds since the first connect".to_owned(),
                x_scale: Scale::Linear,
                y: "connections per second".to_owned(),
                y_scale: Scale::Linear,
                series: vec![Series::new("whole", self.whole_over_time.rates(WINDOWS_MAX))],
            }),
        );
        let cpu = [
            ("server", self.server_cpu_us_per_connect),
            ("generator, which is the client", self.client_cpu_us_per_connect),
        ];
        let cpu =
            cpu.into_iter().filter_map(|(name, us)| Some(Bar::new(name, vec![("CPU".to_owned(), us?)])));
        page.section(
            "CPU per connect",
            "User and system time from the first connect to the last, divided by the connections that became whole.",
            Content::Plot(Plot::Bars { unit: "µs per connect".to_owned(), bars: cpu.collect() }),
        );
        page.section("All figures", "As printed at the end of the run.", Content::Table(self.table()));
        page
    }

    /// Says what makes the figures doubtful.
    fn judge(&self, page: &mut Page) {
        let count = |value: u64| number(value as f64, 0);
        if self.interrupted {
            page.verdict("The run was interrupted: these are the figures up to then.");
        }
        for (what, reasons) in [("failed to open", &self.failures), ("dropped by the server", &self.drops)] {
            let all: u64 = reasons.values().sum();
            if all > 0 {
                let reasons: Vec<String> =
                    reasons.iter().map(|(reason, many)| format!("{reason} ({})", count(*many))).collect();
                page.verdict(format!("{} connections {what}: {}.", count(all), reasons.join("; ")));
            }
        }
        if self.unfinished > 0 {
            page.verdict(format!(
                "{} connections were still under way when opening was given up.",
                count(self.unfinished)
            ));
        }
    }

    /// Memory by where it lives: the server's process, and the kernel by cache.
    fn memory_bars(&self) -> Vec<Bar> {
        let user = self
            .server_user_bytes_per_connection
            .map(|bytes| Bar::new("server process", vec![("user (PSS)".to_owned(), bytes)]));
        let mut kernel: Vec<(String, f64)> = self.kernel_cache_bytes_per_pair.clone().into_iter().collect();
        kernel.sort_by(|a, b| b.1.total_cmp(&a.1));
        let named: f64 = kernel.iter().map(|(_, bytes)| bytes).sum();
        if let Some(all) = self.kernel_slab_bytes_per_pair {
            kernel.push(("other slabs".to_owned(), all - named));
        }
        let sample = |when| self.samples.iter().find(|sample| sample.when == when);
        if let (Some(before), Some(after)) = (sample("before"), sample("held").or(sample("open"))) {
            let grown = after.kernel.tcp_buffer_bytes as f64 - before.kernel.tcp_buffer_bytes as f64;
            kernel.extend(per(grown, self.whole).map(|bytes| ("socket buffers".to_owned(), bytes)));
        }
        user.into_iter().chain([Bar::new("kernel, both ends of the pair", kernel)]).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn a_run_that_was_stopped_at_once_is_a_page_without_plots() {
        let html = IdleReport { interrupted: true, ..IdleReport::default() }.page().render();
        assert!(html.contains("interrupted") && !html.contains("<svg"));
    }

    #[test]
    fn reasons_that_a_server_gives_are_text() {
        let drops = BTreeMap::from([("close 4000 <img src=x onerror=alert(1)>".to_owned(), 3)]);
        let html = IdleReport { drops, ..IdleReport::default() }.page().render();
        assert!(html.contains("3 connections dropped by the server: close 4000 &lt;img src=x"));
        assert!(!html.contains("<img"));
    }

    #[test]
    fn slabs_that_no_cache_of_ours_explains_are_shown_as_others() {
        let report = IdleReport {
            whole: 1,
            server_user_bytes_per_connection: Some(160.0),
            kernel_slab_bytes_per_pair: Some(5_000.0),
            kernel_cache_bytes_per_pair: BTreeMap::from([
                ("TCP".to_owned(), 4_800.0),
                ("filp".to_owned(), 100.0),
            ]),
            ..IdleReport::default()
        };
        let bars = report.memory_bars();
        assert_eq!(bars.iter().map(Bar::total).collect::<Vec<_>>(), [160.0, 5_000.0]);
        assert_eq!(bars[1].parts.last(), Some(&("other slabs".to_owned(), 100.0)));
    }
}
