//! Threads: each shard is one, and several limits count them.

use crate::doctor::case::Case;
use crate::doctor::checks::descriptors::limit_of;
use crate::doctor::checks::keys;
use crate::doctor::finding::{Finding, Status};
use crate::doctor::words::{count, several};

const THREADS: &str = "threads";

/// Threads of a server beside its shards: the first, the committer, and those of the store.
const THREADS_BESIDE_SHARDS: u64 = 8;

/// RLIMIT_NPROC, `kernel.threads-max` and the `pids` control group against the server's threads.
pub fn threads(case: &Case<'_>) -> Vec<Finding> {
    let wanted = case.shards() + THREADS_BESIDE_SHARDS;
    let has = case.setup.running.as_ref().map_or(0, |running| running.threads);
    let missing = wanted.saturating_sub(has);
    let mut limits = Vec::new();
    let text = case.tree.text(&format!("{}/limits", case.process)).unwrap_or_default();
    if let Some((soft, _)) = limit_of(&text, "Max processes") {
        // It counts all of the user's, which only the sum over all processes would tell.
        limits.push((
            soft,
            "RLIMIT_NPROC (`ulimit -u`)",
            has,
            "a higher `ulimit -u`, systemd LimitNPROC".to_owned(),
        ));
    }
    if let Ok(limit) = case.sysctl_number::<u64>("kernel.threads-max") {
        let more = limit.saturating_mul(2).to_string();
        limits.push((limit, "kernel.threads-max", has, case.place.set("kernel.threads-max", &more)));
    }
    if let Some(limit) = case.groups.as_ref().ok().and_then(|groups| groups.threads(case.tree)) {
        let service = case.groups.as_ref().ok().and_then(|groups| groups.service());
        let remedy = match service {
            Some(service) => format!("`systemctl set-property {service} TasksMax={}`", wanted * 2),
            None => {
                format!("a higher pids.max for the group ({}), as `docker update --pids-limit`", limit.path)
            }
        };
        limits.push((limit.limit, "pids.max of the cgroup", limit.used, remedy));
    }
    let mut findings = Vec::new();
    let Some((limit, name, used, remedy)) =
        limits.into_iter().min_by_key(|(limit, _, used, _)| limit.saturating_sub(*used))
    else {
        findings.push(Finding::cannot_tell(THREADS, "no limit of threads is known", "/proc tells of none"));
        return findings;
    };
    let status = if limit.saturating_sub(used) >= missing { Status::Pass } else { Status::Fail };
    findings.push(
        Finding::new(THREADS, status, format!("{name} = {}, {} used", count(limit), count(used)))
            .needed(format!("{} for {}", count(missing), several(case.shards(), "shard")))
            .why("each shard is a thread; the server does not start if one cannot be made")
            .fix(format!("{remedy}, or fewer --shards")),
    );
    findings.extend(keys::findings(THREADS, case));
    findings
}
