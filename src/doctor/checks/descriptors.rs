//! Descriptors: how many a table may hold, and how many tables there are.
//!
//! RLIMIT_NOFILE counts per table. A throng raises its soft limit to the hard one when it starts, and
//! gives each shard a table of its own, so shards multiply what the limit allows.

use std::io;
use std::thread::Builder;

use crate::doctor::case::{Case, DESCRIPTORS_LATER, DESCRIPTORS_OF_SHARD, DESCRIPTORS_SPARE};
use crate::doctor::finding::{Finding, Status, Strength, Wall};
use crate::doctor::sysctl::named;
use crate::doctor::words::{count, several};
use crate::host::descriptors;
use crate::host::tree::{Unreadable, unexpected};
use crate::limits::SHARDS_MAX;

const LIMIT: &str = "descriptor-limit";
const TABLES: &str = "descriptor-tables";
const NR_OPEN: &str = "fs.nr_open";

/// The limit of a table times the tables.
pub fn limit(case: &Case<'_>) -> Vec<Finding> {
    let (soft, hard) = match limits(case) {
        Ok(limits) => limits,
        Err(error) => return vec![case.cannot_tell(LIMIT, &error)],
    };
    let shards = case.shards();
    let tables = case.tables(shards);
    let (limit, connections) = match &case.setup.running {
        None => (hard, connections(case, hard, shards)),
        Some(running) => {
            if let Some(error) = &running.unreadable {
                return vec![case.cannot_tell(LIMIT, error)];
            }
            let spare = if running.shards > 0 { DESCRIPTORS_SPARE - DESCRIPTORS_LATER } else { 0 };
            let free =
                running.tables.iter().map(|table| soft.saturating_sub(table.open.saturating_add(spare)));
            // Tables without a limit are several times the largest number.
            (soft, free.fold(case.held(), u64::saturating_add))
        }
    };
    let status = case.status(connections);
    let raised = if case.setup.running.is_none() && soft < hard {
        format!(" (soft {}, raised at start)", count(soft))
    } else {
        String::new()
    };
    let found = match &case.setup.running {
        None => format!("{} in {}{raised}", count(limit), each_of(tables)),
        Some(running) => format!("{} in {}, {} open", count(limit), each_of(tables), count(running.open())),
    };
    let each = case.goal().div_ceil(tables).saturating_add(case.reserved(shards));
    let remedy = remedy(case, (soft, hard), connections);
    let finding = Finding::new(LIMIT, status, found)
        .needed(format!("{} in {} for {}", count(each), each_of(tables), count(case.goal())))
        .why("every connection is a descriptor; accept(2) fails with EMFILE when the table of its thread is full")
        .fix(remedy.clone())
        .wall(Wall {
            name: "RLIMIT_NOFILE",
            connections,
            strength: Strength::Hard,
            beyond: match &case.setup.running {
                Some(running) if running.shards == 0 => "accept(2) fails with EMFILE",
                _ => "a shard takes no more, and suspends its listeners",
            },
            remedy,
        });
    vec![finding, highest_limit(case, each)]
}

/// `fs.nr_open`, above which nobody may raise the limit: it matters if a table needs more.
fn highest_limit(case: &Case<'_>, each: u64) -> Finding {
    let setting = named(NR_OPEN).expect("a shipped file has it");
    match case.sysctl_number::<u64>(NR_OPEN) {
        Err(error) => case.cannot_tell(LIMIT, &error),
        Ok(highest) => {
            let status = if highest >= each { Status::Pass } else { Status::Warn };
            Finding::new(LIMIT, status, format!("{NR_OPEN} = {}", count(highest)))
                .needed(format!("{} in one table", count(each)))
                .why(setting.why.clone())
                .fix(format!(
                    "{}{}",
                    case.place.set(NR_OPEN, &setting.wanted_text(&case.facts(case.goal()))),
                    if has_shards_of_tables(case) { ", or more --shards with a table each" } else { "" }
                ))
        }
    }
}

/// The tables themselves: one for each shard is what makes many connections possible, and cheap.
pub fn tables(case: &Case<'_>) -> Vec<Finding> {
    let why = "a table that threads share has one lock for accept(2) and close(2), one RLIMIT_NOFILE for all, and \
               an atomic operation more in each system call";
    if let Some(running) = &case.setup.running {
        return match &running.unreadable {
            Some(error) => vec![case.cannot_tell(TABLES, error)],
            None => vec![running_tables(running.shards, running.tables.len() as u64).why(why)],
        };
    }
    if !case.setup.private_tables {
        let finding = Finding::new(TABLES, Status::Warn, "one that all shards share")
            .needed("one for each shard")
            .why(why)
            .fix("`private_fd_tables = true` in the configuration, no --shared-fd-table");
        return vec![finding];
    }
    let shards = case.shards();
    vec![match may_unshare(case) {
        Ok(Ok(())) => {
            Finding::new(TABLES, Status::Pass, format!("one for each of {}", several(shards, "shard")))
                .why(why)
        }
        Ok(Err(error)) => Finding::new(TABLES, Status::Fail, format!("unshare(2) is refused: {error}"))
            .needed("one for each shard")
            .why("a security filter forbids unshare(CLONE_FILES), without which the server does not start")
            .fix("allow unshare(2) in the container's seccomp profile, or `throng serve --shared-fd-table`"),
        Err(why) => Finding::cannot_tell(
            TABLES,
            format!("one for each of {}, if unshare(2) is allowed", several(shards, "shard")),
            why,
        ),
    }]
}

fn running_tables(shards: u64, tables: u64) -> Finding {
    match (shards, tables) {
        (0, _) => Finding::new(TABLES, Status::Pass, "one; the process is no throng"),
        (1, 1) => Finding::new(TABLES, Status::Pass, "one, of one shard"),
        (shards, 1) => {
            Finding::new(TABLES, Status::Warn, format!("one that {} share", several(shards, "shard")))
                .needed("one for each shard")
                .fix("`private_fd_tables = true` in the configuration, no --shared-fd-table; then a restart")
        }
        (shards, _) => {
            Finding::new(TABLES, Status::Pass, format!("one for each of {}", several(shards, "shard")))
        }
    }
}

/// Whether a thread may have a table of its own: tried here, or told by the absence of a filter.
///
/// # Errors
///
/// Why that cannot be told: only a try elsewhere would show, or no thread can be made to try it in,
/// which is what the check of threads is there to say.
fn may_unshare(case: &Case<'_>) -> Result<io::Result<()>, String> {
    if case.tree.is_live() {
        let tried = Builder::new()
            .spawn(descriptors::unshare_table)
            .map_err(|error| format!("no thread can be made to try unshare(CLONE_FILES) in: {error}"))?;
        return Ok(tried.join().unwrap_or_else(|_| Err(io::Error::other("the thread that tried panicked"))));
    }
    match case.tree.field(&format!("{}/status", case.process), "Seccomp") {
        Ok(filters) if filters == "0" => Ok(Ok(())),
        _ => Err("a seccomp filter is on, and only a try would show whether it allows unshare(CLONE_FILES)"
            .to_owned()),
    }
}

/// Connections that a limit of `limit` descriptors allows to a server of `shards`.
fn connections(case: &Case<'_>, limit: u64, shards: u64) -> u64 {
    limit.saturating_sub(case.reserved(shards)).saturating_mul(case.tables(shards))
}

/// Soft and hard RLIMIT_NOFILE of the process.
fn limits(case: &Case<'_>) -> Result<(u64, u64), Unreadable> {
    let path = format!("{}/limits", case.process);
    limit_of(&case.tree.text(&path)?, "Max open files").ok_or_else(|| unexpected(&path, "no Max open files"))
}

/// The soft and the hard limit that a `limits` file names `name`.
pub fn limit_of(text: &str, name: &str) -> Option<(u64, u64)> {
    let mut words = text.lines().find_map(|line| line.strip_prefix(name))?.split_ascii_whitespace();
    let mut limit = || match words.next()? {
        "unlimited" => Some(u64::MAX),
        number => number.parse().ok(),
    };
    Some((limit()?, limit()?))
}

fn each_of(tables: u64) -> String {
    if tables == 1 { "one table".to_owned() } else { format!("each of {} tables", count(tables)) }
}

/// What gives the target a descriptor each, or twice the `connections` that there are if there is no
/// target above them: more shards, or a higher limit of each table.
fn remedy(case: &Case<'_>, (soft, hard): (u64, u64), connections: u64) -> String {
    let shards = case.shards();
    let target = case.setup.target.filter(|target| *target > connections);
    let shards_needed = match target {
        Some(target) => {
            (shards + 1..=SHARDS_MAX as u64).find(|shards| connections_with(case, hard, *shards) >= target)
        }
        None => Some(shards * 2).filter(|shards| *shards <= SHARDS_MAX as u64),
    };
    let each = match target {
        Some(target) => target.div_ceil(case.tables(shards)).saturating_add(case.reserved(shards)),
        None => (if case.is_throng() { hard } else { soft }).saturating_mul(2),
    };
    let raise = raise(case, hard, each.checked_next_power_of_two().unwrap_or(each));
    match shards_needed.filter(|_| has_shards_of_tables(case)) {
        Some(shards) => {
            format!(
                "`--shards {shards}` (each shard has its own table of {} descriptors), or {raise}",
                count(hard)
            )
        }
        None => raise,
    }
}

/// Whether a further shard brings a table: not in a throng whose shards share one, nor in another program.
fn has_shards_of_tables(case: &Case<'_>) -> bool {
    match &case.setup.running {
        Some(running) => running.shards > 0 && running.tables.len() as u64 == running.shards,
        None => case.setup.private_tables,
    }
}

/// What allows `each` descriptors in a table where the hard limit is `hard`. It is what binds a throng,
/// which raises its own soft limit; another program has the soft one, whatever the hard one is.
fn raise(case: &Case<'_>, hard: u64, each: u64) -> String {
    let service = case.groups.as_ref().ok().and_then(|groups| groups.service());
    let other = case.setup.running.as_ref().filter(|running| running.shards == 0);
    let raise = match (service, other) {
        (Some(service), _) => format!("`systemctl edit {service}`: LimitNOFILE={each}"),
        (None, Some(_)) => format!("`ulimit -n {each}` where it is started"),
        (None, None) => {
            format!("a higher hard limit (`ulimit -Hn {each}` as root, systemd `LimitNOFILE={each}`)")
        }
    };
    let raise = match other {
        // With a colon behind it, prlimit(1) sets the soft limit alone.
        Some(other) => {
            let (pid, colon) = (other.pid, if each > hard { "" } else { ":" });
            format!("`prlimit --pid {pid} --nofile={each}{colon}` for now, {raise} for good")
        }
        None => raise,
    };
    let nr_open = case.sysctl_number::<u64>(NR_OPEN).unwrap_or(u64::MAX);
    if each > nr_open { format!("{} and {raise}", case.place.set(NR_OPEN, &each.to_string())) } else { raise }
}

/// Connections that a server of `shards` with tables of their own would be allowed, by arithmetic.
fn connections_with(case: &Case<'_>, limit: u64, shards: u64) -> u64 {
    let reserved = match case.setup.reserved {
        Some(measured) => measured + DESCRIPTORS_OF_SHARD * shards.saturating_sub(case.shards()),
        None => case.reserved(shards),
    };
    limit.saturating_sub(reserved).saturating_mul(shards)
}
