//! A server that runs: its threads, and what each table of descriptors holds.
//!
//! A throng is known by its threads, `shard-0` and on. Whether its shards have tables of their own
//! is seen without a system call for it: descriptors of the same number, such as those of the
//! listeners, are the same file in one table and different ones in two.

use std::fmt::{self, Display};

use super::case::DESCRIPTORS_LATER;
use super::place::effective_user;
use super::setup::Setup;
use super::words::count;
use crate::host::tree::{Tree, Unreadable, Why};

/// Threads of a throng that hold connections are named so, with a number behind.
const SHARD_PREFIX: &str = "shard-";

/// Descriptors in which two tables are compared at most: what a shard's table has from the process's,
/// two for each of up to 1,024 shards, are fewer.
const COMPARED_MAX: u64 = 2_048 + 64;

/// Flag of a thread of the kernel. Source: Linux `include/linux/sched.h`.
const PF_KTHREAD: u64 = 0x0020_0000;

/// A process that serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Running {
    /// Its number.
    pub pid: u32,
    /// What it is called, such as `throng`.
    pub name: String,
    /// The user it acts as.
    pub user: Option<u64>,
    /// Its threads.
    pub threads: u64,
    /// Its shards; 0 if it is no throng.
    pub shards: u64,
    /// Its tables of descriptors that hold connections: one for each shard, or one for all.
    pub tables: Vec<Table>,
    /// Descriptors that each shard's own table has from the process's; none if that cannot be told.
    pub inherited: Option<u64>,
    /// Why its tables could not be read.
    pub unreadable: Option<Unreadable>,
}

/// A table of descriptors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// The thread by which it was read, such as `shard-0`.
    pub thread: String,
    /// Descriptors that are open in it.
    pub open: u64,
}

/// Why a process cannot be judged as a server that runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotRunning {
    /// There is no such process, or it is hidden from this user.
    Missing(u32),
    /// It has ended, and its parent has not waited for it.
    Ended(u32),
    /// Its first thread has ended and others go on, so that its number tells nothing of what it holds.
    FirstThreadEnded(u32),
    /// The number is one of a thread.
    Thread {
        /// The number.
        tid: u32,
        /// Its process.
        pid: u64,
    },
    /// It is a part of the kernel.
    Kernel(u32),
    /// What `/proc` says of it cannot be read.
    Unreadable(Unreadable),
}

impl Display for NotRunning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NotRunning::Missing(pid) => write!(
                f,
                "there is no process {pid}, or it is hidden from this user (`pgrep -a throng` lists servers)"
            ),
            NotRunning::Ended(pid) => {
                write!(
                    f,
                    "process {pid} has ended: it holds nothing (a zombie until its parent waits for it)"
                )
            }
            NotRunning::FirstThreadEnded(pid) => write!(
                f,
                "the first thread of process {pid} has ended and others go on: what they hold is not told by \
                 that number"
            ),
            NotRunning::Thread { tid, pid } => {
                write!(f, "{tid} is a thread of process {pid}: give --pid {pid}")
            }
            NotRunning::Kernel(pid) => write!(f, "process {pid} is a thread of the kernel, no server"),
            NotRunning::Unreadable(error) => write!(f, "{error}"),
        }
    }
}

impl std::error::Error for NotRunning {}

impl Running {
    /// This very process, of whose shards each holds as many connections as `held` says and has `inherited`
    /// descriptors from the process's table. Without reading anything: a server knows.
    pub fn own(held: &[u64], inherited: u64, setup: &Setup) -> Self {
        let at_rest = inherited + setup.addresses + DESCRIPTORS_LATER;
        let table = |(shard, held): (usize, u64)| Table {
            thread: format!("{SHARD_PREFIX}{shard}"),
            open: at_rest + held,
        };
        let tables = match setup.private_tables {
            true => held.iter().copied().enumerate().map(table).collect(),
            false => vec![table((0, held.iter().sum()))],
        };
        Running {
            pid: std::process::id(),
            name: "throng".to_owned(),
            user: None,
            threads: held.len() as u64,
            shards: held.len() as u64,
            tables,
            inherited: Some(inherited),
            unreadable: None,
        }
    }

    /// Reads process `pid`.
    ///
    /// # Errors
    ///
    /// There is none, it has ended, or it is no process of a program.
    pub fn read(tree: &Tree, pid: u32) -> Result<Self, NotRunning> {
        let status = format!("/proc/{pid}/status");
        let field = |name: &str| {
            tree.field(&status, name).map_err(|error| match error.why {
                Why::Missing => NotRunning::Missing(pid),
                _ => NotRunning::Unreadable(error),
            })
        };
        let group = field("Tgid")?;
        if group != pid.to_string() {
            return Err(NotRunning::Thread { tid: pid, pid: group.parse().unwrap_or(0) });
        }
        if field("State")?.starts_with(['Z', 'X']) {
            return Err(ended(tree, pid));
        }
        // Threads of the kernel have no memory of their own, hence no such line; and neither has a process
        // that ends.
        if tree.field(&status, "VmSize").is_err() {
            return Err(if is_kernel(tree, pid) { NotRunning::Kernel(pid) } else { ended(tree, pid) });
        }
        let threads = tree.entries(&format!("/proc/{pid}/task")).map_err(|error| match error.why {
            Why::Missing => NotRunning::Missing(pid),
            _ => NotRunning::Unreadable(error),
        })?;
        let mut running = Running {
            pid,
            name: field("Name")?,
            user: effective_user(tree, &status),
            threads: threads.len() as u64,
            shards: 0,
            tables: Vec::new(),
            inherited: None,
            unreadable: None,
        };
        let mut shards: Vec<_> =
            threads.iter().filter_map(|thread| Some((shard_number(tree, pid, thread)?, thread))).collect();
        shards.sort_unstable();
        running.shards = shards.len() as u64;
        match tables(tree, pid, &shards) {
            Ok((tables, inherited)) => (running.tables, running.inherited) = (tables, inherited),
            Err(error) => running.unreadable = Some(error),
        }
        Ok(running)
    }

    /// Its directory under `/proc`.
    pub fn directory(&self) -> String {
        format!("/proc/{}", self.pid)
    }

    /// Descriptors that are open in all of its tables.
    pub fn open(&self) -> u64 {
        self.tables.iter().map(|table| table.open).fold(0, u64::saturating_add)
    }

    /// Who it is, in words: `throng (pid 1, 2 shards)`.
    pub fn words(&self) -> String {
        let shards = match self.shards {
            0 => "not a throng".to_owned(),
            1 => "1 shard".to_owned(),
            shards => format!("{} shards", count(shards)),
        };
        format!("{} (pid {}, {shards})", self.name, self.pid)
    }
}

/// How process `pid` has ended: whole, or its first thread alone.
fn ended(tree: &Tree, pid: u32) -> NotRunning {
    let threads = tree.entries(&format!("/proc/{pid}/task")).unwrap_or_default();
    let goes_on = |thread: &String| {
        let status = format!("/proc/{pid}/task/{thread}/status");
        // A thread that ends has given its memory back already.
        tree.field(&status, "VmSize").is_ok()
    };
    let others = threads.iter().filter(|thread| **thread != pid.to_string());
    if others.into_iter().any(goes_on) { NotRunning::FirstThreadEnded(pid) } else { NotRunning::Ended(pid) }
}

/// Whether `pid` is a thread of the kernel, by its flags: the seventh word behind the name that
/// parentheses are around (proc_pid_stat(5)).
fn is_kernel(tree: &Tree, pid: u32) -> bool {
    let text = tree.text(&format!("/proc/{pid}/stat")).unwrap_or_default();
    let flags =
        text.rsplit_once(')').and_then(|(_, rest)| rest.split_ascii_whitespace().nth(6)?.parse().ok());
    flags.is_some_and(|flags: u64| flags & PF_KTHREAD != 0)
}

/// The number of the shard that `thread` of process `pid` is, if it is one.
fn shard_number(tree: &Tree, pid: u32, thread: &str) -> Option<u64> {
    // A thread may end while its process goes on; then it is no shard.
    let name = tree.text(&format!("/proc/{pid}/task/{thread}/comm")).ok()?;
    name.strip_prefix(SHARD_PREFIX)?.parse().ok()
}

/// The tables that hold connections, those of `shards`, given as numbers and threads, or the process's
/// one; and the descriptors that a shard's table has from the process's, if it is another.
fn tables(tree: &Tree, pid: u32, shards: &[(u64, &String)]) -> Result<(Vec<Table>, Option<u64>), Unreadable> {
    let place = |thread: &str| format!("/proc/{pid}/task/{thread}/fd");
    let process = place(&pid.to_string());
    let [(_, first), ..] = shards else { return Ok((vec![one_table(tree, &process)?], None)) };
    let likeness = Likeness::of(tree, &process, &place(first))?;
    if !likeness.differ {
        return Ok((vec![one_table(tree, &process)?], None));
    }
    let tables = shards.iter().map(|(number, thread)| {
        let open = tree.open_descriptors(&place(thread))?;
        Ok(Table { thread: format!("{SHARD_PREFIX}{number}"), open })
    });
    Ok((tables.collect::<Result<_, _>>()?, likeness.common))
}

fn one_table(tree: &Tree, process: &str) -> Result<Table, Unreadable> {
    Ok(Table { thread: "all threads".to_owned(), open: tree.open_descriptors(process)? })
}

/// What two tables have in common.
struct Likeness {
    /// They are not the same table.
    differ: bool,
    /// Descriptors of the same number and file, if files may be looked at.
    common: Option<u64>,
}

impl Likeness {
    /// Compares the process's table, which has few descriptors unless it is shared, with a shard's.
    fn of(tree: &Tree, process: &str, shard: &str) -> Result<Self, Unreadable> {
        let opens = [tree.open_descriptors(process)?, tree.open_descriptors(shard)?];
        let numbers: Vec<String> = if opens[0] <= COMPARED_MAX && tree.entries(process).is_ok() {
            tree.entries(process)?
        } else {
            (0..COMPARED_MAX).map(|number| number.to_string()).collect()
        };
        let same_file = |number: &str| {
            let link = |table: &str| tree.link(&format!("{table}/{number}"));
            (link(process), link(shard))
        };
        let (mut common, mut differ) = (0, false);
        for number in &numbers {
            match same_file(number) {
                (Ok(one), Ok(other)) if one == other => common += 1,
                (Err(one), Err(other)) if one.why == Why::Missing && other.why == Why::Missing => {}
                // In one table a connection may have come or gone between the two looks.
                (one, other) if is_told(&one) && is_told(&other) => {
                    let (one, other) = same_file(number);
                    differ |= one.ok() != other.ok();
                }
                // Another user's files may not be looked at: the counts must do.
                _ => return Ok(Likeness { differ: opens[0] != opens[1], common: None }),
            }
        }
        Ok(Likeness {
            differ: differ || (common == 0 && opens[0] != opens[1]),
            common: (common > 0).then_some(common),
        })
    }
}

/// Whether a link was read, or is known to be none.
fn is_told(link: &Result<String, Unreadable>) -> bool {
    link.as_ref().map_or_else(|error| error.why == Why::Missing, |_| true)
}
