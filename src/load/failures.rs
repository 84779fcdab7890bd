//! Why connections failed, in words that say what to do, and limits of this box that are known before.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::progress::Waited;
use super::report::number;
use crate::doctor::{self, Setup};
use crate::host::tree::Tree;

/// Tables of the whole box that a run needs room in before it begins. Memory and descriptors are told as
/// they run out: how much of them a foreign server takes is not known.
const TABLES: [&str; 2] = ["fs.file-max", "fs.epoll.max_user_watches"];

/// A sentence that names every reason with its count, and for known ones what helps.
pub fn explain(whole: u64, connections: u64, reasons: &BTreeMap<String, u64>, target: SocketAddr) -> String {
    let mut text = format!(
        "only {} of {} connections became whole",
        number(whole as f64, 0),
        number(connections as f64, 0)
    );
    for (reason, count) in reasons {
        text.push_str(&format!("\n  {} × {reason}", number(*count as f64, 0)));
        if let Some(remedy) = remedy(reason, target) {
            text.push_str(&format!(": {remedy}"));
        }
    }
    if reasons.is_empty() {
        text.push_str(": nothing moved for ten seconds, the server accepts no more or does not answer");
    }
    text
}

/// Why a run ends that could not open all of its connections: [`explain`], or that the user ended it.
pub fn not_open(
    waited: Waited,
    whole: u64,
    connections: u64,
    reasons: &BTreeMap<String, u64>,
    target: SocketAddr,
) -> String {
    if waited != Waited::Interrupted {
        return explain(whole, connections, reasons, target);
    }
    let [whole, connections] = [whole, connections].map(|count| number(count as f64, 0));
    format!("interrupted while {whole} of {connections} connections were whole: nothing is measured yet")
}

/// Refuses a run in which the server ended every one of `connections`.
///
/// # Errors
///
/// It did; the figures are those up to then.
pub fn server_stayed(drops: &BTreeMap<String, u64>, connections: u64) -> Result<(), String> {
    let dropped: u64 = drops.values().sum();
    if connections > 0 && dropped >= connections {
        return Err("the server ended every connection; the figures are those up to then".to_owned());
    }
    Ok(())
}

fn remedy(reason: &str, target: SocketAddr) -> Option<String> {
    let known = [
        ("ECONNREFUSED", format!("nothing listens at {target}; start the server or correct --target")),
        (
            "EADDRNOTAVAIL",
            "the source addresses have no port left; give more --source-ips, or \
             `sysctl -w net.ipv4.ip_local_port_range=\"1024 65535\"`"
                .to_owned(),
        ),
        (
            "EMFILE",
            "a thread's descriptor table is full; give more --threads or raise `ulimit -Hn`".to_owned(),
        ),
        ("ENFILE", "the kernel's file table is full; raise it with `sysctl -w fs.file-max=N`".to_owned()),
        (
            "ENOSPC",
            "epoll watches are used up; raise them with `sysctl -w fs.epoll.max_user_watches=N`".to_owned(),
        ),
        ("not HTTP", "whatever listens there does not speak WebSocket".to_owned()),
        (
            "refused: HTTP",
            "the server speaks HTTP but takes no WebSocket at this path; correct the path of --target"
                .to_owned(),
        ),
    ];
    known.into_iter().find_map(|(sign, remedy)| reason.contains(sign).then_some(remedy))
}

/// Refuses what this box cannot hold, before it is begun: source ports and the kernel's tables.
///
/// `is_local` says that the other ends of the connections are on this machine too.
///
/// # Errors
///
/// The limit that binds, what it is, what is needed, and the command that raises it.
pub fn check_box(connections: u64, source_ips: u64, is_local: bool) -> Result<(), String> {
    let tree = Tree::live();
    let sources = source_ips.max(1);
    if let Some(ports) = doctor::ports_per_source(&tree)
        && connections > ports.saturating_mul(sources)
    {
        return Err(format!(
            "{connections} connections need {} source ports on each of {sources} source addresses, and \
             net.ipv4.ip_local_port_range has {ports}: give --source-ips {} or \
             `sysctl -w net.ipv4.ip_local_port_range=\"1024 65535\"`",
            connections.div_ceil(sources),
            connections.div_ceil(ports.max(1))
        ));
    }
    let setup = Setup { target: Some(connections), with_clients: is_local, ..Setup::default() };
    let verdict = doctor::walls(&tree, &setup);
    let short =
        verdict.hard.iter().find(|wall| TABLES.contains(&wall.name) && wall.connections < connections);
    short.map_or(Ok(()), |wall| {
        Err(format!(
            "{} has room for {} connections, and {connections} are asked for: {}",
            wall.name, wall.connections, wall.remedy
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_is_named_with_its_count_and_what_helps() {
        let reasons = BTreeMap::from([("connect: ECONNREFUSED".to_owned(), 1_500), ("odd".to_owned(), 2)]);
        let text = explain(0, 1_502, &reasons, "127.0.0.1:9".parse().unwrap());
        assert!(text.starts_with("only 0 of 1,502 connections became whole"), "{text}");
        assert!(text.contains("1,500 × connect: ECONNREFUSED: nothing listens at 127.0.0.1:9"), "{text}");
        assert!(text.ends_with("2 × odd"), "{text}");
        assert!(explain(1, 2, &BTreeMap::new(), "127.0.0.1:9".parse().unwrap()).contains("nothing moved"));
    }

    #[test]
    fn a_user_who_ends_the_opening_is_not_told_that_the_server_failed() {
        let said = |waited| not_open(waited, 1, 1_200, &BTreeMap::new(), "127.0.0.1:9".parse().unwrap());
        assert!(said(Waited::Interrupted).starts_with("interrupted while 1 of 1,200"));
        assert!(said(Waited::Stalled).contains("nothing moved"));
    }

    #[test]
    fn more_connections_than_source_ports_are_refused_with_both_ways_out() {
        let error = check_box(10_000_000, 2, false).unwrap_err();
        assert!(error.contains("--source-ips") && error.contains("ip_local_port_range"), "{error}");
        assert_eq!(check_box(1, 0, true), Ok(()));
    }

    #[test]
    fn a_server_that_ended_everybody_is_an_error_and_one_that_ended_some_is_a_figure() {
        let drops = BTreeMap::from([("closed by the server: 3001 shutdown".to_owned(), 5)]);
        assert!(server_stayed(&drops, 5).unwrap_err().contains("every connection"));
        assert_eq!(server_stayed(&drops, 6), Ok(()));
        assert_eq!(server_stayed(&BTreeMap::new(), 0), Ok(()));
    }
}
