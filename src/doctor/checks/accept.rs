//! The accept path: connections that wait at a listener.

use crate::doctor::case::Case;
use crate::doctor::checks::keys;
use crate::doctor::finding::{Finding, Status};
use crate::doctor::sysctl::named;
use crate::doctor::words::{count, several};

const QUEUE: &str = "accept-queue";
const SOMAXCONN: &str = "net.core.somaxconn";

/// The listeners' queues: what the server asks for, what the kernel allows, what overflowed so far.
pub fn queue(case: &Case<'_>) -> Vec<Finding> {
    let mut findings = keys::findings(QUEUE, case);
    let Ok(allowed) = case.sysctl_number::<u64>(SOMAXCONN) else { return findings };
    let overflows = format!("{} since boot", several(overflows(case).unwrap_or(0), "overflow"));
    if !case.is_throng() {
        let why = "a program that is no throng asks for a length of its own; `ss -lt` shows it as Send-Q";
        findings.push(Finding::new(QUEUE, Status::Pass, overflows).why(why));
        return findings;
    }
    let asked = case.setup.listen_backlog;
    let wanted = wanted(case);
    let listeners = several(case.shards().saturating_mul(case.setup.addresses), "listener");
    let found = format!("{} may wait at each of {listeners}, {overflows}", count(asked.min(allowed)));
    let finding = if asked < wanted {
        Finding::new(QUEUE, Status::Warn, found)
            .needed(format!("`listen_backlog` of at least {} for {}", count(wanted), count(case.goal())))
            .why(format!(
                "a queue is as long as the server asks for, {}, however large {SOMAXCONN} is",
                count(asked)
            ))
            .fix(format!(
                "`listen_backlog = {wanted}` in `[socket]` of the configuration; for sockets that systemd hands \
                 over `Backlog={wanted}` in their unit"
            ))
    } else if asked > allowed {
        Finding::new(QUEUE, Status::Warn, found)
            .needed(format!("{} as `listen_backlog` asks", count(asked)))
            .why("the kernel cuts the backlog that the server asks for to net.core.somaxconn, silently")
            .fix(case.place.set(SOMAXCONN, &asked.to_string()))
    } else {
        Finding::new(QUEUE, Status::Pass, found)
            .needed(format!("`listen_backlog` = {}", count(asked)))
            .why("connects that find the queue full are tried again by TCP after 1, 3 and 7 seconds")
    };
    findings.push(finding);
    findings
}

/// How long a queue has to be for the goal: what the shipped file asks of the key that caps it, whatever the
/// key is now.
fn wanted(case: &Case<'_>) -> u64 {
    let mut facts = case.facts(case.goal().saturating_mul(case.ends()));
    facts.found.clear();
    named(SOMAXCONN).map_or(0, |setting| setting.wanted(&facts)[0])
}

/// Connections that found an accept queue full since boot: `ListenOverflows` of the `TcpExt` lines.
fn overflows(case: &Case<'_>) -> Option<u64> {
    let text = case.tree.text(&format!("{}/net/netstat", case.process)).ok()?;
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("TcpExt: "));
    let at = lines.next()?.split(' ').position(|name| name == "ListenOverflows")?;
    lines.next()?.split(' ').nth(at)?.parse().ok()
}
