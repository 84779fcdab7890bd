//! Whole recorded boxes: the status of every check, and the verdict.

use std::path::Path;

use throng::doctor::{Report, Setup, Status, examine};
use throng::host::tree::Tree;

/// What the doctor says of a recorded box for a server of two shards with queues for a million connections.
fn report(name: &str, target: u64) -> Report {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/doctor/trees").join(name);
    let setup = Setup { target: Some(target), shards: 2, listen_backlog: 65_536, ..Setup::default() };
    examine(&Tree::recorded(root), &setup)
}

/// The checks with a finding of `status`, each once.
fn checks(report: &Report, status: Status) -> Vec<&'static str> {
    let mut names: Vec<_> = report
        .findings
        .iter()
        .filter(|finding| finding.status == status)
        .map(|finding| finding.check)
        .collect();
    names.dedup();
    names
}

/// Walls with their connections, the nearest first.
type Walls<'a> = Vec<(&'a str, u64)>;

/// The hard walls, then the soft ones.
fn walls(report: &Report) -> (Walls<'_>, Walls<'_>) {
    let told =
        |walls: &[throng::doctor::Wall]| walls.iter().map(|wall| (wall.name, wall.connections)).collect();
    (told(&report.verdict.hard), told(&report.verdict.soft))
}

#[test]
fn a_small_box_has_too_few_descriptors_and_is_otherwise_slow_at_worst() {
    let report = report("small", 100_000);
    assert_eq!(checks(&report, Status::Fail), ["descriptor-limit"]);
    assert_eq!(
        checks(&report, Status::Warn),
        ["accept-queue", "syn-queue", "migrate", "network-queue", "nic-queues", "packet-steering"]
    );
    assert_eq!(checks(&report, Status::CannotTell), [""; 0]);
    assert_eq!(
        checks(&report, Status::Pass),
        [
            "descriptor-limit",
            "descriptor-tables",
            "open-files",
            "epoll-watches",
            "memory",
            "cgroup",
            "threads",
            "mappings",
            "established-hash",
            "tcp-memory",
            "socket-buffers",
            "conntrack",
            "accept-queue",
            "syn-queue",
            "latency",
            "keep-alive",
            "time-wait",
            "orphans",
            "port-range",
            "tuples",
            "transmit-steering",
            "interrupts",
            "huge-pages",
            "clocksource",
            "kernel",
        ]
    );
    let (hard, soft) = walls(&report);
    // 1,024 less 31 in each of two tables; 256 MiB less what is used at 1,608 B.
    assert_eq!(hard[..2], [("RLIMIT_NOFILE", 1_986), ("memory limit of the cgroup", SMALL_GROUP)]);
    let names: Vec<_> = hard.iter().map(|wall| wall.0).collect();
    assert_eq!(names[2..], ["fs.file-max", "fs.epoll.max_user_watches", "memory"]);
    assert_eq!(soft, [("net.ipv4.tcp_mem", 383_867), ("established hash", 524_289)]);
    assert_eq!(report.exit_code, 2);
    let words = "this box holds 1,986 connections: the first wall is RLIMIT_NOFILE, after it memory limit of the \
                 cgroup at ";
    assert!(report.verdict.text.starts_with(words), "{}", report.verdict.text);
}

/// Connections of the small box's control group, by what was recorded of it.
const SMALL_GROUP: u64 = 165_653;

#[test]
fn a_box_with_the_printed_settings_passes_every_check_for_the_connections_that_they_are_for() {
    let tuned = report("tuned", 1_000_000);
    for status in [Status::Fail, Status::Warn, Status::CannotTell] {
        assert_eq!(checks(&tuned, status), [""; 0], "{status:?}");
    }
    assert_eq!((tuned.status, tuned.exit_code), (Status::Pass, 0));
    let (hard, soft) = walls(&tuned);
    assert_eq!(hard[..2], [("RLIMIT_NOFILE", 2_097_090), ("fs.epoll.max_user_watches", 5_491_511)]);
    assert_eq!(soft, [("net.ipv4.tcp_mem", 1_000_000), ("established hash", 2_097_153)]);
    // For twice as many the same settings are short.
    let more = report("tuned", 2_000_000);
    assert_eq!(checks(&more, Status::Fail), [""; 0]);
    let short = checks(&more, Status::Warn);
    for check in ["tcp-memory", "conntrack", "time-wait", "orphans"] {
        assert!(short.contains(&check), "{check} in {short:?}");
    }
}

#[test]
fn a_container_is_judged_by_its_own_limits_and_says_what_it_cannot_see() {
    let report = report("container", 100_000);
    assert_eq!(checks(&report, Status::Fail), ["descriptor-limit"]);
    assert_eq!(checks(&report, Status::Warn), ["threads", "accept-queue", "syn-queue", "migrate"]);
    let hidden = [
        "descriptor-limit",
        "mappings",
        "tcp-memory",
        "orphans",
        "network-queue",
        "nic-queues",
        "packet-steering",
        "transmit-steering",
        "interrupts",
    ];
    assert_eq!(checks(&report, Status::CannotTell), hidden);
    for finding in report.findings.iter().filter(|finding| finding.status == Status::CannotTell) {
        assert!(
            finding.why.contains("ask on the host") || finding.why.contains("ask in the host's"),
            "{finding:?}"
        );
    }
    let (hard, soft) = walls(&report);
    // 2 GiB less 60 MiB that are used beside page cache, at 3,984 B: version 2 pays for the sockets too.
    assert_eq!(
        hard[..2],
        [("RLIMIT_NOFILE", 39_938), ("memory limit of the cgroup", ((2_048 - 60) << 20) / 3_984)]
    );
    assert_eq!(
        soft,
        [("memory.high of the cgroup", ((1_536 - 60) << 20) / 3_984), ("established hash", 524_289)]
    );
    // All rights within a user namespace are none towards the box, so its open files bind.
    assert!(hard.iter().any(|wall| wall.0 == "fs.file-max"), "{hard:?}");
    let fix = |check: &str| {
        report.findings.iter().find(|finding| finding.check == check).unwrap().fix.clone().unwrap()
    };
    assert!(fix("accept-queue").contains("docker run --sysctl"), "{}", fix("accept-queue"));
}
