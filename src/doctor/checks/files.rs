//! Tables of the whole box that a connection has an entry in: open files and epoll watches.

use crate::doctor::case::Case;
use crate::doctor::checks::keys;
use crate::doctor::finding::{Finding, Status, Strength, Wall};
use crate::doctor::sysctl::named;
use crate::doctor::words::count;

const OPEN_FILES: &str = "open-files";
const WATCHES: &str = "epoll-watches";
const FILE_MAX: &str = "fs.file-max";
const MAX_USER_WATCHES: &str = "fs.epoll.max_user_watches";

/// `fs.file-max`, which binds whoever lacks CAP_SYS_ADMIN. Source: Linux `alloc_empty_file`.
pub fn open_files(case: &Case<'_>) -> Vec<Finding> {
    let limit = match case.sysctl_number::<u64>(FILE_MAX) {
        Ok(limit) => limit,
        Err(error) => return vec![case.cannot_tell(OPEN_FILES, &error)],
    };
    let used = case.tree.numbers::<u64>("/proc/sys/fs/file-nr").map_or(0, |numbers| numbers[0]);
    let connections = case.held().saturating_add(limit.saturating_sub(used) / case.ends());
    let remedy = remedy(case, FILE_MAX, limit);
    let found = format!("{FILE_MAX} = {}, {} used", count(limit), count(used));
    if case.place.is_admin {
        let is_enough = connections >= case.goal();
        let status = if is_enough { Status::Pass } else { Status::Warn };
        let finding = Finding::new(OPEN_FILES, status, format!("{found}; no limit to CAP_SYS_ADMIN"))
            .needed(format!("{} for a server of another user", count(needed(case))))
            .why("accept(2) fails with ENFILE for whoever lacks CAP_SYS_ADMIN, as a service of its own user does")
            .fix(remedy);
        return vec![finding];
    }
    let finding = Finding::new(OPEN_FILES, case.status(connections), found)
        .needed(format!("{} free for {}", count(needed(case)), count(case.goal())))
        .why("accept(2) fails with ENFILE, and so does open(2) of every other process without CAP_SYS_ADMIN")
        .fix(remedy.clone())
        .wall(Wall {
            name: FILE_MAX,
            connections,
            strength: Strength::Hard,
            beyond: "accept(2) fails with ENFILE, and nobody else without CAP_SYS_ADMIN opens a file",
            remedy,
        });
    vec![or_key(case, finding, FILE_MAX)]
}

/// `fs.epoll.max_user_watches`, which counts per user. Source: epoll(7).
pub fn epoll_watches(case: &Case<'_>) -> Vec<Finding> {
    let limit = match case.sysctl_number::<u64>(MAX_USER_WATCHES) {
        Ok(limit) => limit,
        Err(error) => return vec![case.cannot_tell(WATCHES, &error)],
    };
    let connections = limit / case.ends();
    let remedy = remedy(case, MAX_USER_WATCHES, limit);
    let finding = Finding::new(WATCHES, case.status(connections), format!("{MAX_USER_WATCHES} = {}", count(limit)))
        .needed(format!("{} for {}", count(needed(case)), count(case.goal())))
        .why("every connection is watched by epoll; epoll_ctl(2) fails with ENOSPC when its user has no watch left")
        .fix(remedy.clone())
        .wall(Wall {
            name: MAX_USER_WATCHES,
            connections,
            strength: Strength::Hard,
            beyond: "epoll_ctl(2) fails with ENOSPC, and the connection is closed",
            remedy,
        });
    vec![or_key(case, finding, MAX_USER_WATCHES)]
}

fn needed(case: &Case<'_>) -> u64 {
    case.goal().saturating_mul(case.ends())
}

/// The command that gives the goal what it needs, or twice of what is there if that is enough.
fn remedy(case: &Case<'_>, key: &str, limit: u64) -> String {
    let needed = needed(case).max(limit.saturating_add(1));
    let wanted = named(key).map_or(0, |setting| setting.wanted(&case.facts(needed))[0]);
    case.place.set(key, &wanted.max(needed).to_string())
}

/// The finding, or a warning if it passes and the shipped file asks for more than that.
fn or_key(case: &Case<'_>, finding: Finding, key: &str) -> Finding {
    let Some(setting) = named(key).filter(|_| finding.status == Status::Pass) else { return finding };
    let asked = keys::finding(finding.check, setting, case, needed(case));
    if asked.status == Status::Warn && case.setup.target.is_some() {
        Finding { wall: finding.wall, ..asked }
    } else {
        finding
    }
}
