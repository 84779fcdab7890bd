//! What a throng that this run started says of itself on `/metrics`: how it coalesces, and what its
//! store does with the disk.
//!
//! These are the only figures that are a server's own word. A counter that it does not have is absent
//! from the report, never zero.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde::Serialize;

use super::report::{Table, number, per};

/// How long a child may take to tell its metrics.
const ANSWER_MAX: Duration = Duration::from_secs(2);

/// All counters and gauges at one moment, those with labels under their name with them.
#[derive(Debug, Clone, Default)]
pub struct Metrics(HashMap<String, u64>);

impl Metrics {
    /// Reads `/metrics` of the admin listener at `address`.
    ///
    /// # Errors
    ///
    /// It does not answer, or with something else than text.
    pub fn ask(address: &str) -> io::Result<Self> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(ANSWER_MAX))?;
        write!(stream, "GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        Ok(Self::parse(&text))
    }

    fn parse(text: &str) -> Self {
        let pairs = text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| {
            let (name, value) = line.split_once(' ')?;
            Some((name.to_owned(), value.trim().parse().ok()?))
        });
        Self(pairs.collect())
    }

    /// What gauge `name` is over all shards, each of which has one; `None` if none has.
    pub fn over_shards(&self, name: &str) -> Option<u64> {
        let of_shard = |key: &str| key.strip_prefix(name).is_some_and(|rest| rest.starts_with("{shard="));
        self.0
            .iter()
            .filter(|(key, _)| of_shard(key))
            .map(|(_, value)| *value)
            .reduce(|sum, value| sum + value)
    }

    /// By how much counter `name` grew since `before`, if both know it.
    fn grown(&self, before: &Self, name: &str) -> Option<u64> {
        Some(self.0.get(name)?.saturating_sub(*before.0.get(name)?))
    }

    /// Deliveries per write since `before`; `None` if nothing was written.
    pub fn messages_per_write_since(&self, before: &Self) -> Option<f64> {
        let deliveries = self.grown(before, "throng_deliveries_total")?;
        per(deliveries as f64, self.grown(before, "throng_writes_total")?)
    }

    /// What the store did since `before`.
    pub fn store_since(&self, before: &Self) -> StoreWork {
        let grown = |name| self.grown(before, name);
        let (commits, fsyncs) = (grown("throng_store_commits_total"), grown("throng_store_fsyncs_total"));
        let publications = grown("throng_store_publications_total");
        let bytes_written = grown("throng_store_bytes_written_total");
        let per_publication = |amount: u64| per(amount as f64, publications?);
        StoreWork {
            publications_per_commit: publications.zip(commits).and_then(|(all, by)| per(all as f64, by)),
            publications_per_fsync: publications.zip(fsyncs).and_then(|(all, by)| per(all as f64, by)),
            bytes_written_per_publication: bytes_written.and_then(per_publication),
            reads: grown("throng_store_reads_total"),
            read_bytes: grown("throng_store_read_bytes_total"),
            commits,
            fsyncs,
            publications,
            bytes_written,
        }
    }
}

/// What a server's store did, as it counts that itself.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct StoreWork {
    /// Commits: each makes all that arrived during the one before durable.
    pub commits: Option<u64>,
    /// Fsyncs.
    pub fsyncs: Option<u64>,
    /// Publications appended.
    pub publications: Option<u64>,
    /// Bytes written to the disk.
    pub bytes_written: Option<u64>,
    /// Reads from the disk.
    pub reads: Option<u64>,
    /// Bytes that they brought.
    pub read_bytes: Option<u64>,
    /// Publications in a commit, on average.
    pub publications_per_commit: Option<f64>,
    /// Publications that shared an fsync, on average.
    pub publications_per_fsync: Option<f64>,
    /// Bytes written for each.
    pub bytes_written_per_publication: Option<f64>,
}

impl StoreWork {
    /// Adds what is known of its writing to `table`.
    pub fn writing(&self, table: &mut Table) {
        let count = |value: Option<u64>| value.map(|value| value as f64);
        table.row_if("commits of the store", count(self.commits), 0);
        table.row_if("publications per commit", self.publications_per_commit, 1);
        table.row_if("fsyncs of the store", count(self.fsyncs), 0);
        table.row_if("publications per fsync", self.publications_per_fsync, 1);
        table.row_if("bytes written per publication", self.bytes_written_per_publication, 1);
    }

    /// Adds what is known of its reading to `table`.
    pub fn reading(&self, table: &mut Table) {
        if let Some(reads) = self.reads {
            table.row("reads of the store from the disk", number(reads as f64, 0));
        }
        if let Some(bytes) = self.read_bytes {
            table.row("bytes they brought", number(bytes as f64, 0));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_per_write_are_those_between_two_looks() {
        let look = |deliveries: u64, writes: u64| {
            Metrics::parse(&format!("throng_deliveries_total {deliveries}\nthrong_writes_total {writes}\n"))
        };
        assert_eq!(look(1_160, 30).messages_per_write_since(&look(1_000, 20)), Some(16.0));
        assert_eq!(look(5, 1).messages_per_write_since(&look(5, 1)), None);
        assert_eq!(
            look(5, 1).messages_per_write_since(&Metrics::parse("# HELP throng_writes_total x\n")),
            None
        );
    }

    #[test]
    fn a_gauge_of_each_shard_is_added_up_and_its_namesakes_are_not() {
        let metrics = Metrics::parse("a{shard=\"0\"} 5\na{shard=\"1\"} 7\nab{shard=\"0\"} 1\na_total 9\n");
        assert_eq!((metrics.over_shards("a"), metrics.over_shards("b")), (Some(12), None));
    }

    #[test]
    fn batches_are_publications_over_commits_and_what_a_server_does_not_count_is_absent() {
        let look = |commits: u64, publications: u64| {
            Metrics::parse(&format!(
                "# TYPE throng_store_commits counter\nthrong_store_commits_total {commits}\n\
                 throng_store_publications_total {publications}\nthrong_store_x_total{{a=\"b c\"}} 7\n"
            ))
        };
        let work = look(110, 5_100).store_since(&look(10, 100));
        assert_eq!((work.commits, work.publications, work.fsyncs), (Some(100), Some(5_000), None));
        assert_eq!((work.publications_per_commit, work.publications_per_fsync), (Some(50.0), None));
        let mut table = Table::default();
        work.writing(&mut table);
        work.reading(&mut table);
        assert_eq!(table.rows().len(), 2, "{table:?}");
    }
}
