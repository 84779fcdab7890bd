//! TCP's own tables: where connections are looked up, and the memory of what is in flight.

use crate::doctor::case::Case;
use crate::doctor::checks::keys;
use crate::doctor::finding::{Finding, Strength, Wall};
use crate::doctor::sysctl::named;
use crate::doctor::words::count;
use crate::host::tree::Why;

const HASH: &str = "established-hash";
const MEMORY: &str = "tcp-memory";
const EHASH_ENTRIES: &str = "net.ipv4.tcp_ehash_entries";
const TCP_MEM: &str = "net.ipv4.tcp_mem";

/// The hash table of established connections: entries for each bucket. Both ends of a connection
/// within this box are entries, and so are connections in TIME-WAIT.
pub fn established_hash(case: &Case<'_>) -> Vec<Finding> {
    let buckets = match case.sysctl_number::<i64>(EHASH_ENTRIES) {
        Ok(buckets) => buckets.unsigned_abs(),
        Err(error) if error.why == Why::Missing && case.place.in_initial_network => {
            let why =
                "Linux shows the number of buckets since 6.1; `dmesg | grep 'TCP established hash'` has it";
            return vec![Finding::cannot_tell(HASH, format!("{EHASH_ENTRIES} is not known"), why)];
        }
        Err(error) => return vec![case.cannot_tell(HASH, &error)],
    };
    let mut findings = Vec::new();
    if let Some(setting) = named(EHASH_ENTRIES) {
        let entries = case.goal().saturating_mul(case.ends());
        let judged = keys::finding(HASH, setting, case, entries);
        let shared = if case.sysctl(EHASH_ENTRIES).is_ok_and(|text| text.starts_with('-')) {
            ", shared with the host's network namespace"
        } else {
            ""
        };
        let load = entries as f64 / buckets.max(1) as f64;
        let found = format!(
            "{EHASH_ENTRIES} = {}{shared}: {load:.1} entries in each bucket with {}",
            count(buckets),
            count(case.goal())
        );
        let allowed =
            setting.connections(&buckets.to_string(), &case.facts(entries)).map(|most| most / case.ends());
        let remedy = judged.fix.clone().unwrap_or_else(|| remedy(case, setting));
        let wall = allowed.map(|connections| Wall {
            name: "established hash",
            connections,
            strength: Strength::Soft,
            beyond: "every packet walks a longer chain, a cache miss for each entry of it",
            remedy,
        });
        findings.push(Finding { found, wall, ..judged });
    }
    // Keys beside the table's own size, such as that of namespaces to come.
    findings.extend(
        keys::findings(HASH, case).into_iter().filter(|finding| !finding.found.starts_with(EHASH_ENTRIES)),
    );
    findings
}

fn remedy(case: &Case<'_>, setting: &crate::doctor::sysctl::Setting) -> String {
    let wanted = setting.wanted_text(&case.facts(case.goal().saturating_mul(case.ends())));
    keys::remedy(setting, case, &wanted)
}

/// `tcp_mem`: pages of all connections' messages in flight.
pub fn memory(case: &Case<'_>) -> Vec<Finding> {
    let text = match case.sysctl(TCP_MEM) {
        Ok(text) => text,
        Err(error) => return vec![case.cannot_tell(MEMORY, &error)],
    };
    let pages: Vec<u64> = text.split_ascii_whitespace().map_while(|word| word.parse().ok()).collect();
    let [_, pressure, _] = pages[..] else {
        let error = crate::host::tree::unexpected(&crate::host::tree::sysctl_path(TCP_MEM), &text);
        return vec![case.cannot_tell(MEMORY, &error)];
    };
    // Its numbers are bounded by a part of the box's memory.
    if let Err(error) = &case.memory_total {
        return vec![case.cannot_tell(MEMORY, error)];
    }
    let Some(setting) = named(TCP_MEM) else { return Vec::new() };
    let both = case.goal().saturating_mul(case.ends());
    let judged = keys::finding(MEMORY, setting, case, both);
    let wanted = setting.wanted_text(&case.facts(both.max(pressure.saturating_add(1))));
    let remedy = judged.fix.clone().unwrap_or_else(|| case.place.set(TCP_MEM, &wanted));
    let used = pages_used(case);
    let wall = Wall {
        name: TCP_MEM,
        connections: pressure / case.ends(),
        strength: Strength::Soft,
        beyond: "TCP is under memory pressure once each has a message in flight: windows shrink, and at the third \
                 number packets are dropped",
        remedy,
    };
    let found = format!(
        "{TCP_MEM} = {} pages, {used}",
        pages.iter().map(u64::to_string).collect::<Vec<_>>().join(" ")
    );
    vec![Finding { found, wall: Some(wall), ..judged }]
}

/// Pages that TCP has now, in words.
fn pages_used(case: &Case<'_>) -> String {
    let text = case.tree.text(&format!("{}/net/sockstat", case.process)).unwrap_or_default();
    let tcp = text.lines().find_map(|line| line.strip_prefix("TCP: ")).unwrap_or_default();
    let pages = tcp.split(' ').skip_while(|word| *word != "mem").nth(1).and_then(|word| word.parse().ok());
    pages.map_or_else(|| "used pages unknown".to_owned(), |pages: u64| format!("{} used", count(pages)))
}

/// Whether the network namespace has established connections, if that can be told.
pub fn has_connections(case: &Case<'_>) -> Option<bool> {
    let text = case.tree.text(&format!("{}/net/snmp", case.process)).ok()?;
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("Tcp: "));
    let at = lines.next()?.split(' ').position(|name| name == "CurrEstab")?;
    Some(lines.next()?.split(' ').nth(at)?.parse::<u64>().ok()? > 0)
}
