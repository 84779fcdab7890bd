//! Who holds how much memory for N connections: server and clients, user and kernel, apart.
//!
//! The sides are measured, not assumed. While the connections are held the server is stopped for a
//! moment and every client is closed by a reset: what the kernel still holds then is the server's,
//! whose descriptors are open, and what it gave back was the clients'.
//!
//! Invariants: every part that grew by [`PART_BYTES_MIN`] per connection is named, and the rest is one
//! row, so nothing is left out; the parts of a side sum up to its kernel memory.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use serde::Serialize;

use super::fleet::{Fleet, Outcome};
use super::freeze::Frozen;
use super::kernel::{self, KernelSample};
use super::probe::{Memory, Probe};
use super::report::{Table, number};
use super::server::Server;

/// A part of the kernel that grew by this much per connection has a row of its own.
const PART_BYTES_MIN: f64 = 16.0;
/// The row of all other parts.
const OTHER: &str = "other";
/// The part that is known for each process.
const PAGE_TABLES: &str = "page tables";

/// How long the kernel may take to free what was closed (it waits for grace periods of RCU), and the
/// server to give memory back after that.
const STILL_MAX: Duration = Duration::from_secs(15);
/// Between two looks whether memory stands still.
const STILL_LOOK: Duration = Duration::from_millis(500);
/// Looks in a row that must find it unchanged.
const STILL_LOOKS: u32 = 4;
/// A change between two looks that counts as none.
const STILL_BYTES: u64 = 64 * 1024;

/// All memory at one moment.
#[derive(Debug, Clone, Serialize)]
pub struct Moment {
    /// `before`, `open`, `held`, `clients gone` (the server stands still) or `closed`.
    pub when: &'static str,
    /// The server's, if its process is known and alive.
    pub server: Option<Memory>,
    /// The generator's.
    pub client: Option<Memory>,
    /// The machine's kernel.
    pub kernel: KernelSample,
}

/// Takes the moments of one run.
pub struct Ledger<'a> {
    server: &'a Server,
    own: Probe,
    may_freeze: bool,
    moments: Vec<Moment>,
}

/// What one side holds per connection, in bytes. Absent where it was not measured.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Side {
    /// Growth of its process's PSS.
    pub user_bytes_per_connection: Option<f64>,
    /// Growth of the kernel's memory for it, all parts.
    pub kernel_bytes_per_connection: Option<f64>,
    /// Both: what a server is compared by.
    pub kernel_and_user_bytes_per_connection: Option<f64>,
    /// The kernel's memory by part.
    pub kernel_bytes_per_connection_by_part: BTreeMap<String, f64>,
}

/// The answer; per connection, of which each has two ends.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Account {
    /// Connections that the figures are divided by.
    pub connections: u64,
    /// The server's side.
    pub server: Side,
    /// The generator's side.
    pub client: Side,
    /// Both ends together, which needs no stopping of the server.
    pub both: Side,
    /// Growth of slab pages beyond the objects in them: free objects, and rests too small for one.
    pub slab_slack_bytes_per_connection: Option<f64>,
    /// Kernel and user memory of both ends with that slack: all that this account knows.
    pub machine_bytes_per_connection: Option<f64>,
    /// By how much `MemAvailable` fell: what the machine says, to compare.
    pub available_bytes_per_connection: Option<f64>,
    /// Growth of TCP's buffers, which are in the parts above already.
    pub socket_buffer_bytes_per_connection: Option<f64>,
    /// Growth of the machine's TCP sockets: 2 on a quiet machine that has both ends, and if it is not, then
    /// something else opened or closed sockets and the kernel's figures are not these connections' alone.
    pub tcp_sockets_per_connection: Option<f64>,
    /// Growth of the server's PSS that is left after all connections are closed, in all.
    pub server_user_bytes_left: Option<i64>,
    /// Caches above that hold a connection's other caches too, which are of the same size.
    pub merged_caches: BTreeMap<String, Vec<&'static str>>,
    /// What the figures are made of; caches without a row of their own are left out.
    pub moments: Vec<Moment>,
}

impl<'a> Ledger<'a> {
    /// Opens it with the moment `before`. `may_freeze` says whether `server` may be stopped for a moment.
    pub fn open(server: &'a Server, own: Probe, may_freeze: bool) -> Self {
        let mut ledger = Self { server, own, may_freeze, moments: Vec::new() };
        ledger.note("before");
        ledger
    }

    /// Takes the moment `when`.
    pub fn note(&mut self, when: &'static str) {
        self.note_kernel(when, kernel::sample());
    }

    fn note_kernel(&mut self, when: &'static str, kernel: KernelSample) {
        let server = self.server.probe.and_then(|probe| probe.memory().ok());
        self.moments.push(Moment { when, server, client: self.own.memory().ok(), kernel });
    }

    /// Closes the connections, the server standing still meanwhile if it may, and takes the moments
    /// `clients gone` and `closed`.
    pub fn close(&mut self, fleet: Fleet) -> Outcome {
        eprintln!("closing, and waiting until the memory of both sides stands still");
        let probe = self.server.probe.filter(|_| self.may_freeze);
        let frozen = probe.and_then(|probe| {
            Frozen::new(probe.pid())
                .inspect_err(|error| eprintln!("the sides are not told apart: {error}"))
                .ok()
        });
        let outcome = fleet.reset();
        if let Some(frozen) = frozen {
            let kernel = wait_until_still(kernel::sample, KernelSample::used_bytes);
            self.note_kernel("clients gone", kernel);
            drop(frozen);
        }
        if let Some(probe) = self.server.probe {
            wait_until_still(|| probe.memory().unwrap_or_default(), |memory| memory.pss_bytes);
        }
        self.note("closed");
        outcome
    }

    /// The account of `connections`.
    pub fn account(self, connections: u64) -> Account {
        let mut account = Account::of(self.moments, connections);
        let named = account.both.kernel_bytes_per_connection_by_part.keys();
        let merged = named.map(|name| (name.clone(), kernel::merged_into(name)));
        account.merged_caches = merged.filter(|(_, others)| !others.is_empty()).collect();
        account
    }
}

/// Looks until `bytes` of what is seen stands still, or [`STILL_MAX`] has passed; the last look.
fn wait_until_still<T>(look: impl Fn() -> T, bytes: impl Fn(&T) -> u64) -> T {
    let end = Instant::now() + STILL_MAX;
    let mut seen = look();
    let mut still = 0;
    while still < STILL_LOOKS && Instant::now() < end {
        std::thread::sleep(STILL_LOOK);
        let now = look();
        still = if bytes(&now).abs_diff(bytes(&seen)) > STILL_BYTES { 0 } else { still + 1 };
        seen = now;
    }
    seen
}

impl Account {
    /// Divides the growth between `moments` by `connections`.
    fn of(mut moments: Vec<Moment>, connections: u64) -> Self {
        let mut account = Self { connections, ..Self::default() };
        let find = |when| moments.iter().find(|moment| moment.when == when);
        if let (Some(before), Some(held)) = (find("before"), find("held").or_else(|| find("open")))
            && connections > 0
        {
            account.divide(before, held, find("clients gone"));
            if let (Some(from), Some(to)) = (before.server, find("closed").and_then(|closed| closed.server)) {
                account.server_user_bytes_left = Some(to.pss_bytes as i64 - from.pss_bytes as i64);
            }
        }
        for moment in &mut moments {
            let named = &account.both.kernel_bytes_per_connection_by_part;
            moment.kernel.cache_bytes.retain(|name, _| named.contains_key(name));
        }
        account.moments = moments;
        account
    }

    fn divide(&mut self, before: &Moment, held: &Moment, gone: Option<&Moment>) {
        let count = self.connections as f64;
        let grown = |from: u64, to: u64| (to as f64 - from as f64) / count;
        let user = |from: Option<Memory>, to: Option<Memory>| Some(grown(from?.pss_bytes, to?.pss_bytes));
        self.server.user_bytes_per_connection = user(before.server, held.server);
        self.client.user_bytes_per_connection = user(before.client, held.client);
        if let (Some(server), Some(client)) =
            (self.server.user_bytes_per_connection, self.client.user_bytes_per_connection)
        {
            self.both.user_bytes_per_connection = Some(server + client);
        }
        if before.kernel.has_caches() && held.kernel.has_caches() {
            let tables = |from: Option<Memory>, to: Option<Memory>| {
                Some(grown(from?.page_table_bytes, to?.page_table_bytes))
            };
            let server_tables = tables(before.server, held.server).unwrap_or(0.0);
            let client_tables = tables(before.client, held.client).unwrap_or(0.0);
            let mut both = parts(&before.kernel, &held.kernel, count);
            both.insert(PAGE_TABLES.to_owned(), server_tables + client_tables);
            let mut sides = vec![both];
            if let Some(gone) = gone.filter(|gone| gone.kernel.has_caches()) {
                for (from, to, tables) in [(before, gone, server_tables), (gone, held, client_tables)] {
                    let mut side = parts(&from.kernel, &to.kernel, count);
                    side.insert(PAGE_TABLES.to_owned(), tables);
                    sides.push(side);
                }
            }
            let named = named(&sides);
            let mut sides = sides.into_iter();
            for side in [&mut self.both, &mut self.server, &mut self.client] {
                if let Some(parts) = sides.next() {
                    side.take(parts, &named);
                }
            }
            self.slab_slack_bytes_per_connection =
                Some(grown(before.kernel.slack_bytes(), held.kernel.slack_bytes()));
            self.socket_buffer_bytes_per_connection =
                Some(grown(before.kernel.tcp_buffer_bytes, held.kernel.tcp_buffer_bytes));
        }
        self.tcp_sockets_per_connection = Some(grown(before.kernel.tcp_sockets, held.kernel.tcp_sockets));
        if held.kernel.available_bytes > 0 {
            self.available_bytes_per_connection =
                Some(grown(held.kernel.available_bytes, before.kernel.available_bytes));
        }
        if let (Some(both), Some(slack)) =
            (self.both.kernel_and_user_bytes_per_connection, self.slab_slack_bytes_per_connection)
        {
            self.machine_bytes_per_connection = Some(both + slack);
        }
    }

    /// Adds the account to a table for people.
    pub fn rows(&self, table: &mut Table) {
        for (who, side) in [("server", &self.server), ("client", &self.client), ("both ends", &self.both)] {
            if *side == Side::default() {
                continue;
            }
            table.row_if(
                &format!("{who}: kernel + user bytes per connection"),
                side.kernel_and_user_bytes_per_connection,
                0,
            );
            table.row_if(&format!("{who}: user (PSS)"), side.user_bytes_per_connection, 0);
            table.row_if(&format!("{who}: kernel"), side.kernel_bytes_per_connection, 0);
            let mut parts: Vec<_> = side.kernel_bytes_per_connection_by_part.iter().collect();
            parts.sort_by(|one, other| other.1.total_cmp(one.1));
            for (name, bytes) in parts {
                let row = match self.merged_caches.get(name) {
                    Some(others) => format!("  {name} and {}", others.join(", ")),
                    None => format!("  {name}"),
                };
                table.row(row, number(*bytes, 0));
            }
        }
        if self.server.kernel_bytes_per_connection.is_none() {
            let why = if self.both.kernel_bytes_per_connection.is_none() {
                "/proc/slabinfo is root's"
            } else {
                "the server was not stopped"
            };
            table.row("kernel memory of each side: not measured", why);
        }
        table.row_if("slab pages beyond their objects", self.slab_slack_bytes_per_connection, 0);
        table.row_if("machine: all of the above per pair", self.machine_bytes_per_connection, 0);
        table.row_if("machine: MemAvailable fell by", self.available_bytes_per_connection, 0);
        table.row_if("TCP buffers among them", self.socket_buffer_bytes_per_connection, 0);
        table.row_if("TCP sockets of this machine per connection", self.tcp_sockets_per_connection, 3);
        table.row_if(
            "server user bytes left after closing, in all",
            self.server_user_bytes_left.map(|bytes| bytes as f64),
            0,
        );
    }
}

impl Side {
    /// Takes the kernel's `parts`, those that are not `named` as one.
    fn take(&mut self, parts: BTreeMap<String, f64>, named: &BTreeSet<String>) {
        let total: f64 = parts.values().sum();
        for (name, bytes) in parts {
            let row = if named.contains(&name) { name } else { OTHER.to_owned() };
            *self.kernel_bytes_per_connection_by_part.entry(row).or_default() += bytes;
        }
        self.kernel_bytes_per_connection = Some(total);
        self.kernel_and_user_bytes_per_connection = self.user_bytes_per_connection.map(|user| user + total);
    }
}

/// Growth of every part, divided by `count`. A part may be new at the end, or gone.
fn parts(from: &KernelSample, to: &KernelSample, count: f64) -> BTreeMap<String, f64> {
    let mut parts: BTreeMap<String, f64> = BTreeMap::new();
    for (sample, sign) in [(to, 1.0), (from, -1.0)] {
        for (name, bytes) in sample.parts() {
            *parts.entry(name.to_owned()).or_default() += sign * bytes as f64 / count;
        }
    }
    parts
}

/// The parts that changed enough on one of the `sides` to have a row of their own on all.
fn named(sides: &[BTreeMap<String, f64>]) -> BTreeSet<String> {
    let changed = sides.iter().flatten().filter(|(_, bytes)| bytes.abs() >= PART_BYTES_MIN);
    changed.map(|(name, _)| name.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A moment at which the server's PSS is `pss_bytes` and two caches hold the given bytes, on pages
    /// that are one tenth larger.
    fn moment(when: &'static str, pss_bytes: u64, tcp_bytes: u64, tiny_bytes: u64) -> Moment {
        let caches = [("TCP".to_owned(), tcp_bytes), ("tiny".to_owned(), tiny_bytes)];
        let slab_page_bytes = (tcp_bytes + tiny_bytes) * 11 / 10;
        let kernel = KernelSample {
            cache_bytes: BTreeMap::from(caches),
            slab_page_bytes,
            slab_bytes: slab_page_bytes,
            available_bytes: 1_000_000 - slab_page_bytes,
            ..KernelSample::default()
        };
        let memory = Memory { pss_bytes, page_table_bytes: pss_bytes / 10, ..Memory::default() };
        Moment { when, server: Some(memory), client: Some(Memory::default()), kernel }
    }

    #[test]
    fn what_stays_when_the_clients_are_gone_is_the_servers_and_the_rest_was_theirs() {
        let moments = vec![
            moment("before", 1_000, 1_000, 100),
            moment("open", 1_500, 30_000, 100),
            moment("held", 2_000, 49_000, 200),
            moment("clients gone", 9_000, 25_000, 150),
            moment("closed", 900, 1_000, 100),
        ];
        let account = Account::of(moments, 10);
        assert_eq!(account.server.user_bytes_per_connection, Some(100.0));
        assert_eq!(account.server.kernel_bytes_per_connection_by_part["TCP"], 2_400.0);
        assert_eq!(account.client.kernel_bytes_per_connection_by_part["TCP"], 2_400.0);
        assert_eq!(account.both.kernel_bytes_per_connection_by_part["TCP"], 4_800.0);
        // 5 bytes of the small cache and 10 of page tables are no rows of their own, but they count.
        assert_eq!(account.server.kernel_bytes_per_connection_by_part[OTHER], 15.0);
        assert_eq!(account.server.kernel_and_user_bytes_per_connection, Some(2_515.0));
        assert_eq!(account.slab_slack_bytes_per_connection, Some(481.0));
        assert_eq!(account.machine_bytes_per_connection, Some(100.0 + 4_800.0 + 10.0 + 10.0 + 481.0));
        assert_eq!(account.available_bytes_per_connection, Some(5_291.0));
        assert_eq!(account.server_user_bytes_left, Some(-100));
        assert!(account.moments.iter().all(|moment| !moment.kernel.cache_bytes.contains_key("tiny")));
    }

    #[test]
    fn without_a_stop_only_the_pair_is_known_and_without_caches_not_even_that() {
        let moments = vec![moment("before", 1_000, 1_000, 0), moment("open", 2_000, 49_000, 0)];
        let account = Account::of(moments.clone(), 10);
        assert_eq!(account.server.kernel_bytes_per_connection, None);
        assert_eq!(account.both.kernel_bytes_per_connection, Some(4_810.0));
        let mut table = Table::default();
        account.rows(&mut table);
        assert!(table.render().contains("the server was not stopped"));
        let merged_caches = BTreeMap::from([("TCP".to_owned(), vec!["ep_head"])]);
        Account { merged_caches, ..account }.rows(&mut table);
        assert!(table.render().contains("  TCP and ep_head"));
        let blind = moments.into_iter().map(|moment| Moment { kernel: KernelSample::default(), ..moment });
        let account = Account::of(blind.collect(), 10);
        assert_eq!(account.both.kernel_bytes_per_connection, None);
        assert_eq!(account.server.user_bytes_per_connection, Some(100.0));
    }

    #[test]
    fn a_run_where_nothing_opened_divides_by_nothing() {
        let account = Account::of(vec![moment("before", 1, 1, 1), moment("open", 2, 2, 2)], 0);
        assert_eq!(account.server, Side::default());
        let mut table = Table::default();
        account.rows(&mut table);
        assert!(!table.render().contains("NaN"));
    }
}
