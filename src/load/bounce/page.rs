//! The page of [`BounceReport`].

use super::BounceReport;
use crate::load::report::{Bar, Content, Page, Plot, number};

impl BounceReport {
    /// The report for a browser.
    pub fn page(&self) -> Page {
        let subtitle = format!(
            "{} members of one room, each of which leaves and joins again once in {} s; told after {}",
            number(self.members as f64, 0),
            number(self.gap_seconds, 1),
            self.debounce_ms.map_or("what the target waits".to_owned(), |ms| format!("{ms} ms"))
        );
        let mut page = Page::new("throng bench bounce", subtitle, self.origin.clone());
        page.figure(number(self.pushes_per_member_second, 3), "joins and leaves told, per member and second");
        page.figure(number(self.frames_per_member_second, 3), "frames for that, per member and second");
        if let Some(settled) = &self.settled {
            for (seconds, what) in [
                (settled.counted_right_seconds, "until the server counted right"),
                (settled.told_right_seconds, "until a member was told right"),
            ] {
                page.figure(seconds.map_or("never".to_owned(), |it| format!("{} s", number(it, 2))), what);
            }
        }
        if self.interrupted {
            page.verdict("The run was interrupted: these are the figures up to then.");
        } else if let Err(text) = self.verdict() {
            text.lines().skip(1).for_each(|line| page.verdict(format!("{}.", line.trim_start())));
        }
        let per_second = |what: &str, many: u64| {
            Bar::new(what, vec![("per second".to_owned(), many as f64 / self.seconds.max(1e-9))])
        };
        page.section(
            "What happened, and what was told of it",
            "Without a debounce every leave and every join is told to every member.",
            Content::Plot(Plot::Bars {
                unit: "per second, all members together".to_owned(),
                bars: vec![
                    per_second("leaves and joins", self.leaves + self.joins),
                    per_second("joins and leaves told", self.pushes),
                    per_second("frames that told them", self.frames),
                ],
            }),
        );
        page.section("All figures", "As printed at the end of the run.", Content::Table(self.table()));
        page
    }
}
