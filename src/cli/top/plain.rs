//! A snapshot as text: one line for each beat, or all of it once.

use super::words::{bytes, count, harmless, micros, rate, seconds, share, used};
use crate::control::dashboard::Snapshot;
use crate::control::dashboard::snapshot::{Drain, Slow};

/// Rooms, closes and walls that are listed.
const LISTED: usize = 10;

/// A beat in one line.
pub(super) fn line(now: &Snapshot) -> String {
    let Snapshot { connections, rates, latency, backlog, .. } = now;
    let nearest = now
        .limits
        .first()
        .map(|limit| format!(", nearest wall {} {:.0} %", harmless(&limit.name), share(limit) * 100.0));
    format!(
        "{} {}: {} connections, +{}/s -{}/s, {} deliveries/s in {} writes/s, p99 {}, backlog {}{}{}",
        time(now.at_ms),
        harmless(&now.phase),
        count(connections.now),
        rate(rates.connects),
        rate(rates.closes),
        rate(rates.deliveries),
        rate(rates.writes),
        micros(latency.p99_us),
        bytes(backlog.bytes as f64),
        nearest.unwrap_or_default(),
        drain(&now.drain).map(|drain| format!(", {drain}")).unwrap_or_default(),
    )
}

/// The whole snapshot, a line for each thing.
pub(super) fn report(now: &Snapshot) -> String {
    let mut rows = vec![("phase", format!("{}, up {}", harmless(&now.phase), seconds(now.uptime_s)))];
    rows.extend(drain(&now.drain).map(|drain| ("drain", drain)));
    rows.extend(figures(now));
    let rows: Vec<_> = rows.into_iter().map(|(what, value)| (what.to_owned(), value)).collect();
    let shards = now.shards.iter().enumerate().map(|(index, shard)| {
        let cpu = shard.cpu.map(|cpu| format!(", CPU {:.0} %", cpu * 100.0)).unwrap_or_default();
        let value = format!(
            "{} connections, {} deliveries/s, backlog {}{cpu}{}",
            count(shard.connections),
            rate(shard.deliveries),
            bytes(shard.backlog_bytes as f64),
            if shard.is_listening { "" } else { ", does not listen" }
        );
        (format!("shard {index}"), value)
    });
    let walls = now.limits.iter().take(LISTED).map(|limit| {
        let value = format!("{:.0} %, {}; {}", share(limit) * 100.0, used(limit), harmless(&limit.remedy));
        (harmless(&limit.name), value)
    });
    let rooms = now.rooms.iter().take(LISTED).map(|room| {
        let value = format!("{} deliveries/s, {} members", rate(room.deliveries), count(room.members));
        (harmless(&room.name), value)
    });
    let parts = [
        (format!("throng {}, {} UTC", harmless(&now.version), time(now.at_ms)), rows),
        ("shards".to_owned(), shards.collect()),
        ("walls, the nearest first".to_owned(), walls.collect()),
        ("rooms with the most deliveries".to_owned(), rooms.collect()),
    ];
    let parts = parts.iter().filter(|(_, rows)| !rows.is_empty());
    parts.map(|(heading, rows)| part(heading, rows)).collect::<Vec<_>>().join("\n\n")
}

/// A heading, and below it what there is beside how much.
fn part(heading: &str, rows: &[(String, String)]) -> String {
    let width = rows.iter().map(|(what, _)| what.chars().count()).max().unwrap_or(0);
    let rows = rows.iter().map(|(what, value)| format!("\n  {what:<width$}  {value}"));
    heading.to_owned() + &rows.collect::<String>()
}

/// The figures that stand above everything: a word for each, and its value with what matters most first.
pub(super) fn figures(now: &Snapshot) -> Vec<(&'static str, String)> {
    let Snapshot { connections, rates, latency, backlog, memory, .. } = now;
    let each = |one: Option<f64>| one.map(|one| format!(" ({} each)", bytes(one))).unwrap_or_default();
    let of = |all: Option<u64>| all.map_or("unknown".to_owned(), |all| bytes(all as f64));
    vec![
        ("connections", format!("{} now, {} peak", count(connections.now), count(connections.peak))),
        (
            "comings",
            format!(
                "{}/s opened, {}/s closed, {}/s refused",
                rate(rates.connects),
                rate(rates.closes),
                rate(rates.refusals)
            ),
        ),
        ("deliveries", format!("{}/s, {} a write", rate(rates.deliveries), rate(rates.coalescing))),
        ("messages in", format!("{}/s", rate(rates.messages_in))),
        (
            "to last write",
            match latency.count {
                0 => "nothing published".to_owned(),
                _ => format!("p99 {}, p50 {}", micros(latency.p99_us), micros(latency.p50_us)),
            },
        ),
        ("backlog", format!("{} of {}", bytes(backlog.bytes as f64), bytes(backlog.bytes_max as f64))),
        ("slow readers", slow(&now.slow)),
        (
            "memory",
            format!(
                "user {}{}, kernel {}{}",
                of(memory.user_bytes),
                each(memory.user_bytes_per_connection),
                of(memory.kernel_bytes),
                each(memory.kernel_bytes_per_connection)
            ),
        ),
        ("closes", closes(now)),
    ]
}

fn slow(slow: &Slow) -> String {
    let closed: u64 = slow.closed.iter().map(|reason| reason.count).sum();
    let reasons = slow.closed.iter().filter(|reason| reason.count > 0);
    let reasons: Vec<_> =
        reasons.map(|reason| format!("{} {}", harmless(&reason.reason), count(reason.count))).collect();
    let reasons = if reasons.is_empty() { String::new() } else { format!(" ({})", reasons.join(", ")) };
    format!("{} closed{reasons}, {} recovered", count(closed), count(slow.recoveries))
}

/// Close codes, the most frequent first.
fn closes(now: &Snapshot) -> String {
    let mut closes: Vec<_> = now.closes.iter().filter(|closes| closes.count > 0).collect();
    closes.sort_by_key(|closes| std::cmp::Reverse(closes.count));
    let told: Vec<_> = closes
        .iter()
        .take(LISTED)
        .map(|closes| match closes.code {
            0 => format!("other: {}", count(closes.count)),
            code => format!("{code}: {}", count(closes.count)),
        })
        .collect();
    if told.is_empty() { "none".to_owned() } else { told.join(", ") }
}

/// How far a drain is; nothing without one.
pub(super) fn drain(drain: &Drain) -> Option<String> {
    let left = seconds(drain.left_ms.div_ceil(1000));
    match drain.state.as_str() {
        "" | "none" => None,
        "closing" => {
            let (closed, total) = (count(drain.closed), count(drain.total));
            Some(format!("drain: {closed} of {total} closed, {left} left"))
        }
        state => Some(format!("drain: {}, {left} left", harmless(state))),
    }
}

/// Time of day in UTC.
pub(super) fn time(at_ms: u64) -> String {
    let at = std::time::UNIX_EPOCH + std::time::Duration::from_millis(at_ms);
    let text = humantime::format_rfc3339_seconds(at).to_string();
    text.get(11..19).unwrap_or_default().to_owned()
}
