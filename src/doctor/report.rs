//! Everything a doctor has to say of one box: what `throng doctor --json` prints.
//!
//! The shape is stable: fields may be added, and none goes or changes its meaning while `schema` is
//! the same.

use serde::Serialize;

use super::case::Case;
use super::finding::{Finding, Status};
use super::verdict::{Held, Verdict};

/// The name of this shape.
const SCHEMA: &str = "throng-doctor/1";

/// What was asked, what was found, and what it amounts to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// `throng-doctor/1`.
    pub schema: &'static str,
    /// Connections that were asked for; absent if none were.
    pub target: Option<u64>,
    /// Connections that the box was judged for: the target, or what its memory holds.
    pub goal: u64,
    /// Shards of the server.
    pub shards: u64,
    /// The clients are on this box too.
    pub with_clients: bool,
    /// The server, if it runs.
    pub server: Option<Server>,
    /// The worst status of all findings that could be told.
    pub status: Status,
    /// What the process exits with: 0 pass, 1 warn, 2 fail.
    pub exit_code: u8,
    /// One or more for each check, in the order of the checks.
    pub findings: Vec<Finding>,
    /// How many connections the box holds, and the walls in their order.
    pub verdict: Verdict,
}

/// A server that runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Server {
    /// Its process.
    pub pid: u32,
    /// What it is called.
    pub name: String,
    /// The user it acts as; absent if that cannot be read.
    pub user: Option<u64>,
    /// Its threads.
    pub threads: u64,
    /// Its shards; 0 if it is no throng.
    pub shards: u64,
    /// Connections that are open, as its descriptors tell: a few more if it holds other descriptors.
    pub connections: u64,
    /// Its tables of descriptors.
    pub tables: Vec<Table>,
}

/// A table of descriptors of a server that runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Table {
    /// The thread whose table it is, or `all threads`.
    pub thread: String,
    /// Descriptors that are open.
    pub open: u64,
}

impl Report {
    /// Sums up what was found in `case`.
    pub fn new(case: &Case<'_>, findings: Vec<Finding>) -> Self {
        let running = case.setup.running.as_ref();
        let told =
            findings.iter().map(|finding| finding.status).filter(|status| *status != Status::CannotTell);
        // Fail is the first of the statuses, pass the last.
        let status = told.min_by_key(|status| *status as u8).unwrap_or(Status::CannotTell);
        let held = running.map(|running| Held {
            name: running.words(),
            connections: case.held(),
            is_throng: running.shards > 0,
        });
        Report {
            schema: SCHEMA,
            target: case.setup.target,
            goal: case.goal(),
            shards: running.map_or_else(|| case.shards(), |running| running.shards),
            with_clients: case.setup.with_clients,
            server: running.map(|running| Server {
                pid: running.pid,
                name: running.name.clone(),
                user: running.user,
                threads: running.threads,
                shards: running.shards,
                connections: case.held(),
                tables: running
                    .tables
                    .iter()
                    .map(|table| Table { thread: table.thread.clone(), open: table.open })
                    .collect(),
            }),
            status,
            exit_code: match status {
                Status::Fail => 2,
                Status::Warn => 1,
                Status::CannotTell | Status::Pass => 0,
            },
            verdict: Verdict::of(&findings, held.as_ref()),
            findings,
        }
    }
}
