//! What every check is given: the box, what is asked of it, and what follows from both at once.

use super::cgroup::Groups;
use super::finding::{Finding, Status};
use super::place::Place;
use super::setup::Setup;
use super::sysctl::{Facts, TARGET_MAX};
use super::words::number_list;
use crate::host::tree::{Tree, Unreadable, Why, sysctl_path};
use crate::limits::{KERNEL_BYTES_PER_CONNECTION, USER_BYTES_PER_CONNECTION};

/// Descriptors of a server that are neither connections nor of a shard: its three standard streams,
/// the lock of its data, three of the runtime and three of its signals.
pub const DESCRIPTORS_OF_PROCESS: u64 = 10;

/// Descriptors that every table has for each shard: its poll and its waker.
pub const DESCRIPTORS_OF_SHARD: u64 = 2;

/// Descriptors that a server keeps free in each table: log, resolver, short-lived files.
pub const DESCRIPTORS_SPARE: u64 = 16;

/// Descriptors that a shard's own table has more than those of `reserved`, less the spare ones: a
/// copy of its poll.
pub const DESCRIPTORS_LATER: u64 = 1;

/// One page. Source: x86-64, and what most other kernels are built with.
const PAGE_BYTES: u64 = 4096;

/// A box and what is asked of it.
#[derive(Debug)]
pub struct Case<'a> {
    /// The box.
    pub tree: &'a Tree,
    /// What is asked.
    pub setup: &'a Setup,
    /// The process whose limits count, as a directory such as `/proc/self`.
    pub process: String,
    /// Where that process runs.
    pub place: Place,
    /// Its control groups.
    pub groups: Result<Groups, Unreadable>,
    /// Processors that it may run on.
    pub processors: Result<u64, Unreadable>,
    /// `MemAvailable` in bytes, read once: all checks judge by the same.
    pub memory_available: Result<u64, Unreadable>,
    /// Memory of the box, in bytes. Where it is unknown no key that depends on it may be judged.
    pub memory_total: Result<u64, Unreadable>,
    /// Why keys of the network cannot be read: the process is in another namespace than the doctor.
    foreign_network: Option<String>,
    /// The keys as they are, for no connections in particular.
    facts: Facts,
}

impl<'a> Case<'a> {
    /// Reads what several checks need.
    pub fn new(tree: &'a Tree, setup: &'a Setup) -> Self {
        let process = setup.running.as_ref().map_or("/proc/self".to_owned(), |running| running.directory());
        let memory_total = memory_total(tree);
        let facts = Facts::new(0, memory_total.clone().unwrap_or(0), PAGE_BYTES).with_found(tree);
        let mut case = Case {
            place: Place::of(tree, &process),
            groups: Groups::of(tree, &process),
            processors: processors(tree, &process),
            memory_available: tree.size_bytes("/proc/meminfo", "MemAvailable"),
            foreign_network: foreign_network(tree, setup, &process),
            memory_total,
            facts,
            tree,
            setup,
            process,
        };
        if case.foreign_network.is_some() {
            case.facts.found.retain(|key, _| !key.starts_with("net."));
        }
        case
    }

    /// Connections that the box is judged for: the target, or what its memory holds.
    pub fn goal(&self) -> u64 {
        let holds = self.memory_available.as_ref().ok().map(|bytes| self.connections_in(*bytes));
        self.setup.target.or(holds).unwrap_or(u64::MAX)
    }

    /// How a check ends that allows `connections`: a target must be met, and memory may stay unused.
    pub fn status(&self, connections: u64) -> Status {
        if connections >= self.goal() {
            Status::Pass
        } else if self.setup.target.is_some() {
            Status::Fail
        } else {
            Status::Warn
        }
    }

    /// Whether the server is a throng: one that is to start, or a process with shards.
    pub fn is_throng(&self) -> bool {
        self.setup.running.as_ref().is_none_or(|running| running.shards > 0)
    }

    /// Ends of a connection that are on this box.
    pub fn ends(&self) -> u64 {
        1 + u64::from(self.setup.with_clients)
    }

    /// Shards of the server; 1 if the processors cannot be counted.
    pub fn shards(&self) -> u64 {
        match &self.setup.running {
            Some(running) => running.shards.max(1),
            None if self.setup.shards > 0 => self.setup.shards,
            None => self.processors.clone().unwrap_or(1).max(1),
        }
    }

    /// Tables of descriptors that hold connections, for a server of `shards`.
    pub fn tables(&self, shards: u64) -> u64 {
        match &self.setup.running {
            Some(running) => (running.tables.len() as u64).max(1),
            None if self.setup.private_tables => shards,
            None => 1,
        }
    }

    /// Descriptors of each table that are not connections, for a server of `shards`.
    pub fn reserved(&self, shards: u64) -> u64 {
        self.setup.reserved.unwrap_or_else(|| DESCRIPTORS_SPARE + self.descriptors_at_rest(shards))
    }

    /// Descriptors of each table of a server without connections.
    pub fn descriptors_at_rest(&self, shards: u64) -> u64 {
        let listeners =
            if self.tables(shards) > 1 || shards == 1 { 1 } else { shards } * self.setup.addresses;
        DESCRIPTORS_OF_PROCESS + DESCRIPTORS_OF_SHARD * shards + listeners
    }

    /// Connections that are open in the server that runs, as its descriptors tell.
    pub fn held(&self) -> u64 {
        let Some(running) = &self.setup.running else { return 0 };
        let at_rest = match (running.shards, running.inherited) {
            (0, _) => 0,
            (_, Some(inherited)) => inherited + self.setup.addresses + DESCRIPTORS_LATER,
            (shards, None) => {
                self.descriptors_at_rest(shards)
                    + DESCRIPTORS_LATER * if running.tables.len() > 1 { 1 } else { shards }
            }
        };
        let open = running.tables.iter().map(|table| table.open.saturating_sub(at_rest));
        open.fold(0, u64::saturating_add)
    }

    /// What the arithmetic of the shipped keys counts with, for `connections`.
    pub fn facts(&self, connections: u64) -> Facts {
        Facts { target: connections.min(TARGET_MAX), ..self.facts.clone() }
    }

    /// What a connection takes of this box's memory in bytes, at most.
    pub fn connection_bytes(&self) -> u64 {
        self.ends() * KERNEL_BYTES_PER_CONNECTION + USER_BYTES_PER_CONNECTION
    }

    /// Connections in all if `bytes` are free for more of them.
    pub fn connections_in(&self, bytes: u64) -> u64 {
        self.held().saturating_add(bytes / self.connection_bytes())
    }

    /// The text of a key, if it is one of the server's network namespace or of none.
    ///
    /// # Errors
    ///
    /// It cannot be read, or the server is in another network namespace than the doctor.
    pub fn sysctl(&self, key: &str) -> Result<String, Unreadable> {
        match &self.foreign_network {
            Some(why) if key.starts_with("net.") => {
                Err(Unreadable { path: sysctl_path(key), why: Why::Failed(why.clone()) })
            }
            _ => self.tree.sysctl(key),
        }
    }

    /// A key that is one number.
    ///
    /// # Errors
    ///
    /// As [`Case::sysctl`], or it is none.
    pub fn sysctl_number<N: std::str::FromStr>(&self, key: &str) -> Result<N, Unreadable> {
        let text = self.sysctl(key)?;
        text.parse().map_err(|_| crate::host::tree::unexpected(&sysctl_path(key), &text))
    }

    /// That `check` cannot tell, because of `error`.
    pub fn cannot_tell(&self, check: &'static str, error: &Unreadable) -> Finding {
        Finding::cannot_tell(
            check,
            format!("{} is not known", known_as(&error.path)),
            self.place.explain(error),
        )
    }
}

/// What the arithmetic of the shipped keys counts with, for `target` connections on the box of `tree`.
///
/// # Errors
///
/// `/proc/meminfo` does not say how much memory the box has, which bounds what TCP may take; with where
/// to ask.
pub fn facts(tree: &Tree, target: u64) -> Result<Facts, String> {
    let memory_bytes = memory_total(tree).map_err(|error| Place::of(tree, "/proc/self").explain(&error))?;
    Ok(Facts::new(target, memory_bytes, PAGE_BYTES).with_found(tree))
}

/// Memory of the box, in bytes.
fn memory_total(tree: &Tree) -> Result<u64, Unreadable> {
    tree.size_bytes("/proc/meminfo", "MemTotal")
}

/// Major and minor number at the front of a release such as `6.18.44-generic`.
pub fn kernel_version(release: &str) -> Option<(u64, u64)> {
    let mut numbers = release.split(|character: char| !character.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

/// What people call the file `path`: a key of sysctl by its name.
fn known_as(path: &str) -> String {
    match path.strip_prefix("/proc/sys/") {
        Some(key) => key.replace('/', "."),
        None => path.to_owned(),
    }
}

/// Processors that the process may run on.
fn processors(tree: &Tree, process: &str) -> Result<u64, Unreadable> {
    let path = format!("{process}/status");
    let list = tree.field(&path, "Cpus_allowed_list")?;
    let numbers = number_list(&list).filter(|numbers| !numbers.is_empty());
    numbers.map(|numbers| numbers.len() as u64).ok_or_else(|| crate::host::tree::unexpected(&path, &list))
}

/// Why the network's keys that the doctor sees are not those of the server that runs, if they are not.
fn foreign_network(tree: &Tree, setup: &Setup, process: &str) -> Option<String> {
    let running = setup.running.as_ref()?;
    let own = tree.link("/proc/self/ns/net").ok()?;
    let pid = running.pid;
    match tree.link(&format!("{process}/ns/net")) {
        Ok(theirs) if theirs == own => None,
        Ok(_) => Some(format!(
            "process {pid} is in another network namespace: `nsenter -t {pid} -n throng doctor --pid {pid}`"
        )),
        Err(error) if error.why == Why::Forbidden => Some(format!(
            "whether process {pid} is in this network namespace may not be known to this user; run as root"
        )),
        // A recorded tree or an older kernel without the link: taken to be the same.
        Err(_) => None,
    }
}
