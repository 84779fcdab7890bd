//! The checks, by concern. Each is a function of a [`Case`] and of nothing else.

mod accept;
mod buffers;
mod configured;
mod conntrack;
mod descriptors;
mod files;
mod keys;
mod machine;
mod memory;
mod network;
mod ports;
mod steering;
mod tcp;
mod threads;
mod unit;

pub use ports::parse_range as parse_port_range;

use super::case::Case;
use super::finding::Finding;

/// How a check is made. `name` is what its findings are of.
#[derive(Debug, Clone, Copy)]
pub enum Check {
    /// By a function of its own.
    Own(fn(&Case<'_>) -> Vec<Finding>),
    /// By nothing but the keys that the shipped files give it.
    Keys,
}

/// Checks that bound the number of connections before one is refused: what a server tells at its start.
pub const WALLS: [&str; 7] =
    ["connections-max", "descriptor-limit", "open-files", "epoll-watches", "memory", "cgroup", "conntrack"];

/// Every check by name, in the order in which a table shows those of one status.
pub const CHECKS: [(&str, Check); 32] = [
    ("proc", Check::Own(machine::proc)),
    ("connections-max", Check::Own(configured::connections_max)),
    ("descriptor-limit", Check::Own(descriptors::limit)),
    ("descriptor-tables", Check::Own(descriptors::tables)),
    ("open-files", Check::Own(files::open_files)),
    ("epoll-watches", Check::Own(files::epoll_watches)),
    ("memory", Check::Own(memory::memory)),
    ("cgroup", Check::Own(memory::cgroup)),
    ("threads", Check::Own(threads::threads)),
    ("unit", Check::Own(unit::unit)),
    ("mappings", Check::Keys),
    ("established-hash", Check::Own(tcp::established_hash)),
    ("tcp-memory", Check::Own(tcp::memory)),
    ("socket-buffers", Check::Own(buffers::buffers)),
    ("conntrack", Check::Own(conntrack::conntrack)),
    ("accept-queue", Check::Own(accept::queue)),
    ("syn-queue", Check::Keys),
    ("migrate", Check::Keys),
    ("latency", Check::Keys),
    ("keep-alive", Check::Keys),
    ("time-wait", Check::Keys),
    ("orphans", Check::Keys),
    ("port-range", Check::Own(ports::range)),
    ("tuples", Check::Own(ports::tuples)),
    ("network-queue", Check::Keys),
    ("nic-queues", Check::Own(network::queues)),
    ("packet-steering", Check::Own(steering::receive)),
    ("transmit-steering", Check::Own(steering::send)),
    ("interrupts", Check::Own(network::interrupts)),
    ("huge-pages", Check::Own(machine::huge_pages)),
    ("clocksource", Check::Own(machine::clocksource)),
    ("kernel", Check::Own(machine::kernel)),
];

/// The findings of the checks that `chosen` names, in their order.
pub fn run(case: &Case<'_>, chosen: impl Fn(&str) -> bool) -> Vec<Finding> {
    let checks = CHECKS.iter().filter(|(name, _)| chosen(name));
    checks
        .flat_map(|(name, check)| match check {
            Check::Own(judge) => judge(case),
            Check::Keys => keys::findings(name, case),
        })
        .collect()
}
