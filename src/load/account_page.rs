//! The pages of the scenarios that account for memory or the cost of holding: how [`Account`] is drawn, and
//! the pages of `floor` and `heartbeat`.

use super::account::{Account, Side};
use super::floor::FloorReport;
use super::heartbeat::HeartbeatReport;
use super::report::{Bar, Content, Page, Plot, Scale, Series, Timeline, number};

/// Windows in which the rate of connects is shown.
const WINDOWS_MAX: usize = 120;
/// A part below this share of its side is drawn with the others like it: a colour says nothing of a sliver.
const PART_SHARE_MIN: f64 = 0.015;
/// Their name.
const SMALL: &str = "parts below 1.5 %";

impl Account {
    /// The figures and the plot of memory per connection, stacked by where it lives.
    pub fn show(&self, page: &mut Page) {
        if let Some(bytes) = self.server.kernel_and_user_bytes_per_connection {
            page.figure(format!("{} B", number(bytes, 0)), "server memory per connection, kernel and user");
        }
        if let Some(bytes) = self.server.user_bytes_per_connection {
            page.figure(format!("{} B", number(bytes, 0)), "of it user memory");
        }
        page.section(
            "Memory per connection",
            "Growth from before the first connect to the end of the hold, divided by the connections. The kernel's \
             part of each side was told from the other's by closing the clients while the server stood still; where \
             that was not possible, both ends of a pair are one bar.",
            Content::Plot(Plot::Bars { unit: "bytes per connection".to_owned(), bars: self.bars() }),
        );
    }

    fn bars(&self) -> Vec<Bar> {
        let is_apart = self.server.kernel_bytes_per_connection.is_some();
        let kernel_name = if is_apart { "" } else { ", user" };
        let server = Bar::new(format!("server{kernel_name}"), parts(&self.server));
        let client = Bar::new(format!("generator, which is the client{kernel_name}"), parts(&self.client));
        let both = Side { user_bytes_per_connection: None, ..self.both.clone() };
        let both = (!is_apart).then(|| Bar::new("kernel, both ends of the pair", parts(&both)));
        [server, client].into_iter().chain(both).filter(|bar| bar.total() > 0.0).collect()
    }
}

/// Where the memory of `side` lives, largest part of the kernel first.
fn parts(side: &Side) -> Vec<(String, f64)> {
    let user = side.user_bytes_per_connection.map(|bytes| ("user (PSS)".to_owned(), bytes));
    let mut kernel: Vec<(String, f64)> =
        side.kernel_bytes_per_connection_by_part.clone().into_iter().collect();
    // What shrank meanwhile cannot be stacked; the table has it.
    kernel.retain(|(_, bytes)| *bytes > 0.0);
    kernel.sort_by(|a, b| b.1.total_cmp(&a.1));
    let total: f64 = kernel.iter().map(|(_, bytes)| bytes).sum();
    let large = kernel.iter().take_while(|(_, bytes)| *bytes >= total * PART_SHARE_MIN).count();
    let small: f64 = kernel.drain(large..).map(|(_, bytes)| bytes).sum();
    let small = (small > 0.0).then(|| (SMALL.to_owned(), small));
    user.into_iter().filter(|(_, bytes)| *bytes > 0.0).chain(kernel).chain(small).collect()
}

/// Adds the rate of connects over time.
pub fn show_connects(page: &mut Page, whole_over_time: &Timeline) {
    page.section(
        "Connects over time",
        "Connections that became whole per second. A gap is a time in which none did.",
        Content::Plot(Plot::Lines {
            x: "seconds since the first connect".to_owned(),
            x_scale: Scale::Linear,
            y: "connections per second".to_owned(),
            y_scale: Scale::Linear,
            series: vec![Series::new("whole", whole_over_time.rates(WINDOWS_MAX))],
        }),
    );
}

/// Adds the CPU of both sides per thing, in `unit`.
pub fn show_cpu(
    page: &mut Page,
    heading: &str,
    reading: &str,
    unit: &str,
    server: Option<f64>,
    client: Option<f64>,
) {
    let sides = [("server", server), ("generator, which is the client", client)];
    let bars =
        sides.into_iter().filter_map(|(side, cpu)| Some(Bar::new(side, vec![("CPU".to_owned(), cpu?)])));
    page.section(heading, reading, Content::Plot(Plot::Bars { unit: unit.to_owned(), bars: bars.collect() }));
}

impl FloorReport {
    /// The report for a browser.
    pub fn page(&self) -> Page {
        let subtitle = format!(
            "{} bare sockets accepted and held, and one send to each of {}",
            number(self.whole as f64, 0),
            self.sends.as_ref().map_or("none".to_owned(), |sends| number(sends.receivers as f64, 0))
        );
        let mut page = Page::new("throng bench floor", subtitle, self.origin.clone());
        if let Some(ns) = self.sends.as_ref().and_then(|sends| sends.server_cpu_ns_per_send) {
            page.figure(format!("{} ns", number(ns, 0)), "CPU per bare send");
        }
        page.figure(number(self.accepts_per_second, 0), "accepts per second");
        if self.interrupted {
            page.verdict("The run was interrupted: these are the figures up to then.");
        }
        self.account.show(&mut page);
        show_connects(&mut page, &self.whole_over_time);
        show_cpu(
            &mut page,
            "CPU per accept",
            "User and system time from the first connect until the last socket was accepted and watched by epoll.",
            "µs per accept",
            self.server_cpu_us_per_accept,
            self.client_cpu_us_per_connect,
        );
        if let Some(sends) = &self.sends {
            show_cpu(
                &mut page,
                "CPU per send",
                "One message at a time to every socket, each with a reader that is awake or must be woken.",
                "ns per send",
                sends.server_cpu_ns_per_send,
                sends.client_cpu_ns_per_send,
            );
        }
        page.section("All figures", "As printed at the end of the run.", Content::Table(self.table()));
        page
    }
}

impl HeartbeatReport {
    /// The report for a browser.
    pub fn page(&self) -> Page {
        let subtitle = format!(
            "{} connections, {} pings in {} s",
            number(self.connections as f64, 0),
            number(self.pings as f64, 0),
            number(self.seconds, 1)
        );
        let mut page = Page::new("throng bench heartbeat", subtitle, self.origin.clone());
        if let Some(ns) = self.server_cpu_ns_per_ping {
            page.figure(format!("{} ns", number(ns, 0)), "server CPU per ping and pong");
        }
        if let Some(ns) = self.server_cpu_ns_per_connection_second {
            page.figure(format!("{} ns", number(ns, 0)), "server CPU per connection and second");
        }
        if self.interrupted {
            page.verdict("The run was interrupted: these are the figures up to then.");
        }
        show_cpu(
            &mut page,
            "CPU per ping and its pong",
            "User and system time divided by the pings that were answered.",
            "ns per ping",
            self.server_cpu_ns_per_ping,
            self.client_cpu_ns_per_ping,
        );
        page.section("All figures", "As printed at the end of the run.", Content::Table(self.table()));
        page
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn slivers_are_one_part_and_none_of_their_bytes_is_lost() {
        let mut by_part = BTreeMap::from([("TCP".to_owned(), 2_400.0), ("shrunk".to_owned(), -5.0)]);
        by_part.extend((0..10).map(|number| (format!("cache-{number}"), 10.0)));
        let side = Side { kernel_bytes_per_connection_by_part: by_part, ..Side::default() };
        assert_eq!(parts(&side), [("TCP".to_owned(), 2_400.0), (SMALL.to_owned(), 100.0)]);
    }

    #[test]
    fn each_side_is_a_bar_of_its_parts_and_without_a_split_both_ends_are_one() {
        let parts = BTreeMap::from([("TCP".to_owned(), 2_400.0), ("filp".to_owned(), 200.0)]);
        let side = Side {
            user_bytes_per_connection: Some(90.0),
            kernel_bytes_per_connection: Some(2_600.0),
            kernel_and_user_bytes_per_connection: Some(2_690.0),
            kernel_bytes_per_connection_by_part: parts,
        };
        let account = Account { server: side.clone(), both: side.clone(), ..Account::default() };
        let bars = account.bars();
        assert_eq!(bars.iter().map(Bar::total).collect::<Vec<_>>(), [2_690.0]);
        assert_eq!(bars[0].parts[1].0, "TCP");
        let user_only = Side { user_bytes_per_connection: Some(90.0), ..Side::default() };
        let account = Account { server: user_only, both: side, ..Account::default() };
        assert_eq!(account.bars().iter().map(Bar::total).collect::<Vec<_>>(), [90.0, 2_600.0]);
    }
}
