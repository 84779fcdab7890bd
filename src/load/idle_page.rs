//! The page of [`IdleReport`].

use super::account_page::{show_connects, show_cpu};
use super::idle::IdleReport;
use super::report::{Content, Page, number};

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
        self.judge(&mut page);
        self.account.show(&mut page);
        show_connects(&mut page, &self.whole_over_time);
        show_cpu(
            &mut page,
            "CPU per connect",
            "User and system time from the first connect to the last, divided by the connections that became whole.",
            "µs per connect",
            self.server_cpu_us_per_connect,
            self.client_cpu_us_per_connect,
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
}
