//! What the operating system gives, what a number of connections needs of it, and how to change it.
//!
//! [`examine`] judges a box for `throng doctor`; [`walls`] tells a server that starts what it may
//! hold, by the same checks. The keys of sysctl and their reasons are in the shipped files alone,
//! which [`sysctl`] reads.
//!
//! Invariants: a check reads the box through [`crate::host::tree::Tree`] and changes nothing; what it
//! cannot read it says, with the reason, and takes for no limit.

pub mod apply;
mod case;
mod cgroup;
mod checks;
mod finding;
mod place;
mod report;
mod running;
mod setup;
pub mod sysctl;
mod table;
mod verdict;
mod words;

pub use case::{DESCRIPTORS_SPARE, facts};
pub use cgroup::{Groups, Limit};
pub use finding::{Finding, Status, Strength, Wall};
pub use report::Report;
pub use running::{NotRunning, Running};
pub use setup::Setup;
pub use sysctl::TARGET_MAX;
pub use table::{Look, show};
pub use verdict::Verdict;

use crate::host::tree::Tree;
use case::Case;

/// Judges the box that `tree` shows for the server that `setup` describes.
pub fn examine(tree: &Tree, setup: &Setup) -> Report {
    let case = Case::new(tree, setup);
    let findings = checks::run(&case, |_| true);
    Report::new(&case, findings)
}

/// How many connections the box allows: the checks that bound their number, and no others.
pub fn walls(tree: &Tree, setup: &Setup) -> Verdict {
    let case = Case::new(tree, setup);
    let findings = checks::run(&case, |check| checks::WALLS.contains(&check));
    Verdict::of(&findings, None)
}

/// Ports that the kernel chooses from for one source address; nothing if the box does not tell.
pub fn ports_per_source(tree: &Tree) -> Option<u64> {
    checks::parse_port_range(&tree.sysctl("net.ipv4.ip_local_port_range").ok()?)
}
