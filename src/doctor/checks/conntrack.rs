//! Connection tracking: a table of the firewall's with an entry for each connection.
//!
//! Linux tracks in a network namespace only once a rule there needs it. The count tells: with
//! connections open and none counted, nothing is tracked.

use crate::doctor::case::Case;
use crate::doctor::checks::{keys, tcp};
use crate::doctor::finding::{Finding, Status, Strength, Wall};
use crate::doctor::sysctl::named;
use crate::doctor::words::count;
use crate::host::tree::Why;

const CHECK: &str = "conntrack";
const MAX: &str = "net.netfilter.nf_conntrack_max";
const COUNT: &str = "net.netfilter.nf_conntrack_count";

/// The table's bound against the connections.
pub fn conntrack(case: &Case<'_>) -> Vec<Finding> {
    let limit = match case.sysctl_number::<u64>(MAX) {
        Ok(limit) => limit,
        Err(error) if error.why == Why::Missing && case.tree.exists("/proc/sys/net") => {
            let why = "the module that tracks connections is not loaded, or not in this network namespace";
            return vec![Finding::new(CHECK, Status::Pass, "no connection tracking here").why(why)];
        }
        Err(error) => return vec![case.cannot_tell(CHECK, &error)],
    };
    let tracked = match case.sysctl_number::<u64>(COUNT) {
        Ok(tracked) => tracked,
        Err(error) => return vec![case.cannot_tell(CHECK, &error)],
    };
    let mut others: Vec<_> =
        keys::findings(CHECK, case).into_iter().filter(|finding| !finding.found.starts_with(MAX)).collect();
    let found = format!("{MAX} = {}, {} tracked", count(limit), count(tracked));
    if tracked == 0 && tcp::has_connections(case) == Some(true) {
        // The table is there and nothing is put into it, so what is short does not matter.
        for other in others.iter_mut().filter(|other| other.status == Status::Warn) {
            other.status = Status::Pass;
            other.fix = None;
        }
        let why = "no rule of this network namespace tracks connections";
        others.insert(0, Finding::new(CHECK, Status::Pass, found).why(why));
        return others;
    }
    // Source: Linux `__nf_conntrack_alloc`.
    if limit == 0 {
        let found = format!("{MAX} = 0, no limit, {} tracked", count(tracked));
        let why = "the kernel drops no packet for a number of tracked connections when this is 0";
        others.insert(0, Finding::new(CHECK, Status::Pass, found).why(why));
        return others;
    }
    let connections = case.held().saturating_add(limit.saturating_sub(tracked));
    // What the server holds is among them.
    let needed = case.goal().saturating_sub(case.held().min(tracked)).saturating_add(tracked);
    let wanted = named(MAX).map_or(0, |setting| setting.wanted(&case.facts(needed))[0]);
    let remedy = format!(
        "{}, or no tracking of the server's port: `nft add rule … tcp dport PORT notrack`",
        case.place.set(MAX, &wanted.max(needed).max(limit.saturating_add(1)).to_string())
    );
    let why = "a full table drops packets of new connections: clients time out, and the kernel logs \
               `nf_conntrack: table full, dropping packet`";
    let status = case.status(connections);
    let finding = if tracked == 0 {
        let why =
            format!("{why}; nothing is tracked now, and a firewall rule with `ct` or NAT would begin it");
        Finding::new(CHECK, if status == Status::Fail { Status::Warn } else { status }, found).why(why)
    } else {
        Finding::new(CHECK, status, found).why(why).wall(Wall {
            name: MAX,
            connections,
            strength: Strength::Hard,
            beyond: "packets of new connections are dropped",
            remedy: remedy.clone(),
        })
    };
    others.insert(0, finding.needed(format!("{} for {}", count(needed), count(case.goal()))).fix(remedy));
    others
}
