//! Memory: what the box has for connections, and what control groups leave of it.

use crate::doctor::case::{Case, kernel_version};
use crate::doctor::cgroup::Limit;
use crate::doctor::finding::{Finding, Status, Strength, Wall};
use crate::doctor::words::{count, size};
use crate::limits::{KERNEL_BYTES_PER_CONNECTION, USER_BYTES_PER_CONNECTION};

const MEMORY: &str = "memory";
const CGROUP: &str = "cgroup";

/// Bytes of the kernel's memory of a connection that its server's control group is charged with in any
/// version: the socket's inode, dentry, file and epoll entry, 832 + 192 + 192 + 128 + 64, and a pointer to
/// the group beside each. The TCP socket itself is made when the handshake ends, in nobody's name.
/// Source: `benches/results/2026-11-22-2core-xeon-os/doctor.txt`, 1,627 B with the user's part.
const CHARGED_BYTES: u64 = 1_408 + 5 * 8;

/// Bytes of the TCP socket, with which version 2 charges whoever accepts it, since [`CHARGED_SINCE`].
/// Source: Linux `__inet_accept`, `kmem_cache_charge`.
const CHARGED_SOCKET_BYTES: u64 = 2_368 + 8;

/// The kernel that began to charge for accepted sockets.
const CHARGED_SINCE: (u64, u64) = (6, 13);

const WHY: &str = "an idle connection is memory of the kernel's (socket, inode, dentry, file, epoll entry) and a \
                   little of the server's; messages in flight come on top";

/// `MemAvailable` against what the connections take.
pub fn memory(case: &Case<'_>) -> Vec<Finding> {
    vec![match &case.memory_available {
        Err(error) => case.cannot_tell(MEMORY, error),
        Ok(available) => {
            let connections = case.connections_in(*available);
            let remedy = "more memory, or fewer other processes".to_owned();
            Finding::new(MEMORY, case.status(connections), format!("{} available", size(*available)))
                .needed(needed(case))
                .why(WHY)
                .fix(remedy.clone())
                .wall(Wall {
                    name: "memory",
                    connections,
                    strength: Strength::Hard,
                    beyond: "the kernel ends a process, mostly the largest",
                    remedy,
                })
        }
    }]
}

/// Memory limits of the process's control groups, of both versions.
pub fn cgroup(case: &Case<'_>) -> Vec<Finding> {
    let groups = match &case.groups {
        Ok(groups) => groups,
        Err(error) => return vec![case.cannot_tell(CGROUP, error)],
    };
    let total = case.memory_total.clone().unwrap_or(u64::MAX);
    let limits = [
        (
            groups.memory(case.tree, total),
            Strength::Hard,
            "memory limit of the cgroup",
            "the kernel ends the server",
        ),
        (
            groups.memory_high(case.tree, total),
            Strength::Soft,
            "memory.high of the cgroup",
            "the kernel slows the server down to reclaim memory",
        ),
    ];
    let found = limits.into_iter().filter_map(|(limit, strength, name, beyond)| {
        let limit = limit?;
        let bytes = charged_bytes(case, limit.is_unified);
        let connections = case.held().saturating_add(limit.room() / bytes);
        let status = match (case.status(connections), strength) {
            (Status::Fail, Strength::Soft) => Status::Warn,
            (status, _) => status,
        };
        let remedy = remedy(case, strength, &limit, bytes);
        let finding = Finding::new(
            CGROUP,
            status,
            format!("{} of {} left ({})", size(limit.room()), size(limit.limit), limit.path),
        );
        Some(finding.needed(needed_in_group(case, bytes)).why(WHY_CHARGED).fix(remedy.clone()).wall(Wall {
            name,
            connections,
            strength,
            beyond,
            remedy,
        }))
    });
    let mut found: Vec<_> = found.collect();
    if groups.hides_memory() {
        let why = "the process's own control group is in no mount that is seen here, as after `unshare -C` \
                   without a new mount of /sys/fs/cgroup; ask on the host (`throng doctor --pid` there)";
        found.push(Finding::cannot_tell(CGROUP, format!("the limit of {} is not known", groups.path), why));
    } else if found.is_empty() {
        let path = if groups.path.is_empty() { "/" } else { &groups.path };
        return vec![Finding::new(CGROUP, Status::Pass, format!("no memory limit ({path})")).why(WHY)];
    }
    found
}

const WHY_CHARGED: &str = "a group pays for the memory of its server and for most of the kernel's for each connection; \
                           at the limit the kernel ends a process of the group";

/// Bytes that the server's group is charged with for a connection; with the clients in the same group, for
/// their ends too.
fn charged_bytes(case: &Case<'_>, is_unified: bool) -> u64 {
    let version = case.tree.sysctl("kernel.osrelease").ok().and_then(|release| kernel_version(&release));
    let has_sockets = is_unified && version.is_none_or(|version| version >= CHARGED_SINCE);
    let socket = if has_sockets { CHARGED_SOCKET_BYTES } else { 0 };
    let clients = (case.ends() - 1) * KERNEL_BYTES_PER_CONNECTION;
    CHARGED_BYTES + socket + USER_BYTES_PER_CONNECTION + clients
}

fn needed_in_group(case: &Case<'_>, bytes: u64) -> String {
    let goal = case.goal().saturating_sub(case.held());
    format!(
        "{} ({} × {} B that the group is charged with)",
        size(goal.saturating_mul(bytes)),
        count(goal),
        count(bytes)
    )
}

/// The memory that the goal takes, beside what the connections have that are open.
fn needed(case: &Case<'_>) -> String {
    let goal = case.goal().saturating_sub(case.held());
    let kernel = match case.ends() {
        1 => format!("{} B", count(KERNEL_BYTES_PER_CONNECTION)),
        ends => format!("{ends} × {} B", count(KERNEL_BYTES_PER_CONNECTION)),
    };
    format!(
        "{} ({} × ({kernel} kernel + {USER_BYTES_PER_CONNECTION} B user))",
        size(goal.saturating_mul(case.connection_bytes())),
        count(goal)
    )
}

/// What raises `limit` for the target, or to twice of what it is if there is no target above it.
fn remedy(case: &Case<'_>, strength: Strength, limit: &Limit, connection_bytes: u64) -> String {
    let target = case.setup.target.unwrap_or(0).saturating_mul(connection_bytes);
    // For all of them, and a quarter on top for messages in flight.
    let bytes = target.saturating_add(target / 4).max(limit.limit.saturating_mul(2));
    let mib = bytes.div_ceil(1024 * 1024);
    let service = case.groups.as_ref().ok().and_then(|groups| groups.service());
    let name = if strength == Strength::Hard { "MemoryMax" } else { "MemoryHigh" };
    match service {
        Some(service) => format!("`systemctl set-property {service} {name}={mib}M`"),
        None if case.place.in_container => {
            format!("on the host: a higher limit for the container, as `docker update --memory {mib}m`")
        }
        None => format!("a higher limit for the group, {mib} MiB or more"),
    }
}
