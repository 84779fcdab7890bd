//! Threads: each shard is one, and several limits count them.

use crate::doctor::case::Case;
use crate::doctor::checks::descriptors::limit_of;
use crate::doctor::finding::{Finding, Status};
use crate::doctor::words::{count, several};
use crate::limits::{RUNTIME_THREADS_MAX, THREADS_BESIDE_SHARDS};

const THREADS: &str = "threads";

/// Bits of CAP_SYS_ADMIN and CAP_SYS_RESOURCE. Source: capabilities(7), linux/capability.h.
const PASSES_PROCESS_LIMIT: u64 = 1 << 21 | 1 << 24;

/// A limit of threads.
struct Limit {
    name: &'static str,
    limit: u64,
    /// What is used of it, by whoever shares it; none if that is not known.
    used: Option<u64>,
    remedy: String,
}

/// RLIMIT_NPROC, `kernel.threads-max` and the `pids` control group against the server's threads.
pub fn threads(case: &Case<'_>) -> Vec<Finding> {
    let has = case.setup.running.as_ref().map_or(0, |running| running.threads);
    let at_start = case.shards() + THREADS_BESIDE_SHARDS;
    let at_most = at_start + RUNTIME_THREADS_MAX as u64;
    let limits = limits(case, at_most);
    // Of what nobody counts, the server's own threads are known to be used.
    let room = |limit: &Limit| limit.limit.saturating_sub(limit.used.unwrap_or(has));
    let Some(limit) = limits.into_iter().min_by_key(room) else {
        return vec![Finding::cannot_tell(THREADS, "no limit of threads is known", "/proc tells of none")];
    };
    let used = limit.used.map_or_else(String::new, |used| format!(", {} used", count(used)));
    let found = format!("{} = {}{used}", limit.name, count(limit.limit));
    if !case.is_throng() {
        let why = "how many threads a program that is no throng needs is not known";
        return vec![Finding::new(THREADS, Status::Pass, found).why(why)];
    }
    let status = match room(&limit) {
        room if room >= at_most.saturating_sub(has) => Status::Pass,
        room if room >= at_start.saturating_sub(has) => Status::Warn,
        _ => Status::Fail,
    };
    let finding = Finding::new(THREADS, status, found)
        .needed(format!(
            "{} for {}, up to {} more for calls of its API that walk all rooms",
            count(at_start.saturating_sub(has)),
            several(case.shards(), "shard"),
            RUNTIME_THREADS_MAX
        ))
        .why(if status == Status::Warn {
            "the server starts, and calls of its API wait for each other when no thread can be made for them"
        } else {
            "each shard is a thread; the server does not start if one cannot be made"
        })
        .fix(match status {
            Status::Fail => format!("{}, or fewer --shards", limit.remedy),
            _ => limit.remedy,
        });
    vec![finding]
}

/// The limits that bind the server, with what raises each for `threads`.
fn limits(case: &Case<'_>, threads: u64) -> Vec<Limit> {
    let mut limits = Vec::new();
    let text = case.tree.text(&format!("{}/limits", case.process)).unwrap_or_default();
    if let Some((limit, _)) = limit_of(&text, "Max processes").filter(|_| is_bound_by_process_limit(case)) {
        limits.push(Limit {
            name: "RLIMIT_NPROC (`ulimit -u`)",
            limit,
            // It counts all of the user's, which only the sum over all processes would tell.
            used: None,
            remedy: "a higher `ulimit -u`, systemd LimitNPROC".to_owned(),
        });
    }
    let key = "kernel.threads-max";
    if let Ok(limit) = case.sysctl_number::<u64>(key) {
        let more = limit.max(threads).saturating_mul(2).to_string();
        limits.push(Limit {
            name: key,
            limit,
            used: threads_of_box(case),
            remedy: case.place.set(key, &more),
        });
    }
    let groups = case.groups.as_ref().ok();
    if let Some(limit) = groups.and_then(|groups| groups.threads(case.tree)) {
        let remedy = match groups.and_then(|groups| groups.service()) {
            Some(service) => format!("`systemctl set-property {service} TasksMax={}`", threads * 2),
            None => {
                format!("a higher pids.max for the group ({}), as `docker update --pids-limit`", limit.path)
            }
        };
        let (name, used) = ("pids.max of the cgroup", Some(limit.used));
        limits.push(Limit { name, limit: limit.limit, used, remedy });
    }
    limits
}

/// Threads of the whole box: the number behind the slash of `0.20 0.18 0.12 1/80 11206` (proc_loadavg(5)).
fn threads_of_box(case: &Case<'_>) -> Option<u64> {
    let text = case.tree.text("/proc/loadavg").ok()?;
    text.split_ascii_whitespace().nth(3)?.split_once('/')?.1.parse().ok()
}

/// Whether RLIMIT_NPROC binds the process: it does not bind the box's own root, nor whoever has
/// CAP_SYS_RESOURCE or CAP_SYS_ADMIN towards the whole box. Source: Linux `copy_process`.
fn is_bound_by_process_limit(case: &Case<'_>) -> bool {
    let status = format!("{}/status", case.process);
    let users = case.tree.numbers::<u64>(&format!("{}/uid_map", case.process));
    if users.is_ok_and(|map| map != [0, 0, u64::from(u32::MAX)]) {
        return true;
    }
    let field = |name: &str| case.tree.field(&status, name).ok();
    let is_root = field("Uid").is_some_and(|users| users.split_ascii_whitespace().next() == Some("0"));
    let capabilities = field("CapEff").and_then(|hex| u64::from_str_radix(&hex, 16).ok());
    !is_root && capabilities.is_none_or(|set| set & PASSES_PROCESS_LIMIT == 0)
}
