//! A running service: what its unit, or whoever started it, gave it.

use crate::doctor::case::Case;
use crate::doctor::checks::descriptors::limit_of;
use crate::doctor::finding::{Finding, Status};
use crate::doctor::words::{count, size};

const UNIT: &str = "unit";

/// Descriptors that a soft limit may have before somebody looks as if nobody had thought of it.
/// Source: the limit that Linux starts the first process with.
const DESCRIPTORS_OF_NOBODY: u64 = 1024;

/// Limits of a running server as its systemd unit names them. Nothing without `--pid`.
pub fn unit(case: &Case<'_>) -> Vec<Finding> {
    let Some(running) = &case.setup.running else { return Vec::new() };
    let text = match case.tree.text(&format!("{}/limits", case.process)) {
        Ok(text) => text,
        Err(error) => return vec![case.cannot_tell(UNIT, &error)],
    };
    let groups = case.groups.clone().unwrap_or_default();
    let total = case.memory_total.clone().unwrap_or(u64::MAX);
    let Some((soft, hard)) = limit_of(&text, "Max open files") else {
        return vec![Finding::cannot_tell(
            UNIT,
            "LimitNOFILE is not known",
            format!("{}/limits does not tell it", case.process),
        )];
    };
    let threads = groups.threads(case.tree).map_or_else(|| "none".to_owned(), |limit| count(limit.limit));
    let bytes = |limit: Option<crate::doctor::cgroup::Limit>| {
        limit.map_or_else(|| "none".to_owned(), |limit| size(limit.limit))
    };
    let name = groups.service().unwrap_or("no unit");
    let found = format!(
        "{name}: LimitNOFILE={}, TasksMax={threads}, MemoryHigh={}, MemoryMax={}",
        if soft == hard { count(hard) } else { format!("{}:{}", count(soft), count(hard)) },
        bytes(groups.memory_high(case.tree, total)),
        bytes(groups.memory(case.tree, total)),
    );
    let is_default = hard <= DESCRIPTORS_OF_NOBODY || (running.shards == 0 && soft <= DESCRIPTORS_OF_NOBODY);
    let status = if is_default { Status::Warn } else { Status::Pass };
    let finding = Finding::new(UNIT, status, found)
        .needed(format!("LimitNOFILE above {}", count(DESCRIPTORS_OF_NOBODY)))
        .why("a service has the limits of its unit, whatever the shell of whoever wrote it says")
        .fix(match groups.service() {
            Some(service) => format!("`systemctl edit {service}`: LimitNOFILE=524288"),
            None => "a higher limit where the server is started (`ulimit -n`)".to_owned(),
        });
    vec![finding]
}
