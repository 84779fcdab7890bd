//! The accept path: connections that wait at a listener.

use crate::doctor::case::Case;
use crate::doctor::checks::keys;
use crate::doctor::finding::{Finding, Status};
use crate::doctor::words::{count, several};

const QUEUE: &str = "accept-queue";

/// The listeners' queues: what the server asks for, what the kernel allows, what overflowed so far.
pub fn queue(case: &Case<'_>) -> Vec<Finding> {
    let mut findings = keys::findings(QUEUE, case);
    let asked = case.setup.listen_backlog;
    let Ok(allowed) = case.sysctl_number::<u64>("net.core.somaxconn") else { return findings };
    let shards = case.shards();
    let length = asked.min(allowed);
    let overflows = overflows(case).unwrap_or(0);
    let found = format!(
        "{} may wait at each of {}, {} since boot",
        count(length),
        several(shards, "listener"),
        several(overflows, "overflow")
    );
    let finding = if asked > allowed {
        Finding::new(QUEUE, Status::Warn, found)
            .needed(format!("{} as `listen_backlog` asks", count(asked)))
            .why("the kernel cuts the backlog that the server asks for to net.core.somaxconn, silently")
            .fix(case.place.set("net.core.somaxconn", &asked.to_string()))
    } else {
        Finding::new(QUEUE, Status::Pass, found)
            .needed(format!("`listen_backlog` = {}", count(asked)))
            .why("connects that find the queue full are tried again by TCP after 1, 3 and 7 seconds")
    };
    findings.push(finding);
    findings
}

/// Connections that found an accept queue full since boot: `ListenOverflows` of the `TcpExt` lines.
fn overflows(case: &Case<'_>) -> Option<u64> {
    let text = case.tree.text(&format!("{}/net/netstat", case.process)).ok()?;
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("TcpExt: "));
    let at = lines.next()?.split(' ').position(|name| name == "ListenOverflows")?;
    lines.next()?.split(' ').nth(at)?.parse().ok()
}
