//! The page of [`DrainReport`].

use super::DrainReport;
use crate::load::report::{Content, Page, Plot, Scale, Series, number};

/// Windows in which a rate is shown.
const WINDOWS_MAX: usize = 120;

impl DrainReport {
    /// The report for a browser.
    pub fn page(&self) -> Page {
        let subtitle = format!(
            "{} connections in {} rooms, to be closed over {} s",
            number(self.connections as f64, 0),
            number(self.rooms as f64, 0),
            number(self.over_seconds, 1)
        );
        let mut page = Page::new("throng bench drain", subtitle, self.origin.clone());
        page.figure(number(self.cut_off as f64, 0), "cut off without a close frame");
        if let Some(spread) = &self.spread {
            page.figure(format!("{} %", number(spread.worst_percent, 1)), "worst second, off from even");
            page.figure(format!("{} s", number(spread.seconds, 1)), "from the first close to the last");
            if let Some(order) = spread.order_correlation {
                page.figure(number(order, 3), "rank correlation with the order of connects");
            }
        }
        if self.interrupted {
            page.verdict("The run was interrupted: these are the figures up to then.");
        } else if let Err(text) = self.verdict() {
            text.lines().skip(1).for_each(|line| page.verdict(format!("{}.", line.trim_start())));
        }
        page.section(
            "Closes over time",
            "Connections closed per second, as their clients saw it. Even is a flat line.",
            Content::Plot(Plot::Lines {
                x: "seconds since the order to drain".to_owned(),
                x_scale: Scale::Linear,
                y: "connections per second".to_owned(),
                y_scale: Scale::Linear,
                series: vec![Series::new("closed", self.timeline.rates(WINDOWS_MAX))],
            }),
        );
        page.section("All figures", "As printed at the end of the run.", Content::Table(self.table()));
        page
    }
}
