//! Where the doctor is: containers, network namespaces, users without rights.

use throng::doctor::Status;

use crate::made::{Made, TARGET, expect};

#[test]
fn in_a_container_the_host_s_keys_are_to_be_set_on_the_host() {
    let made = Made::new();
    made.process("self", "ns/pid", "pid:[4026532183]");
    made.set("fs.file-max", "5000");
    made.set("net.core.somaxconn", "128");
    expect(&made.worst("open-files"), Status::Fail, &["on the host: `sysctl -w fs.file-max="]);
    expect(&made.worst("accept-queue"), Status::Warn, &["`docker run --sysctl net.core.somaxconn=8192`"]);
    // A network namespace of its own has this one, and nobody can write it there.
    made.set("net.core.wmem_max", "1024");
    expect(&made.worst("socket-buffers"), Status::Warn, &["on the host: `sysctl -w net.core.wmem_max="]);
    made.write("/sys/fs/cgroup/memory.max", "1048576\n");
    expect(&made.worst("cgroup"), Status::Fail, &["on the host: a higher limit for the container"]);
    // On the host itself, neither is said.
    made.process("self", "ns/pid", "pid:[4026531836]");
    let fix = made.worst("open-files").fix.unwrap();
    assert!(fix.starts_with("`sysctl -w fs.file-max="), "{fix}");
    // In a network namespace of its own, without a container, the box's keys of the network are the host's.
    for key in ["tcp_mem", "tcp_max_orphans"] {
        made.remove(&format!("/proc/sys/net/ipv4/{key}"));
    }
    expect(&made.worst("socket-buffers"), Status::Warn, &["on the host: `sysctl -w net.core.wmem_max="]);
    let fix = made.worst("accept-queue").fix.unwrap();
    assert_eq!(fix, "`sysctl -w net.core.somaxconn=8192`");
}

#[test]
fn a_service_with_users_of_its_own_is_on_the_host_and_has_no_rights_towards_it() {
    let made = Made::new();
    let status = made.tree().text("/proc/self/status").unwrap();
    // All rights, but within the user namespace: root and 61184 are themselves, others nobody.
    made.write(
        "/proc/self/status",
        &status.replace("CapEff:\t0000000000000000", "CapEff:\t000001ffffffffff"),
    );
    made.write("/proc/self/uid_map", "         0          0          1\n     61184      61184          1\n");
    made.process("self", "ns/pid", "pid:[4026531836]");
    made.set("fs.file-max", "5000");
    made.set("net.core.somaxconn", "128");
    let finding = made.worst("open-files");
    expect(&finding, Status::Fail, &[]);
    assert!(finding.fix.unwrap().starts_with("`sysctl -w fs.file-max="));
    assert_eq!(made.worst("accept-queue").fix.unwrap(), "`sysctl -w net.core.somaxconn=8192`");
    // An unprivileged container, whose root is user 1000 outside, is one even if it shares the processes.
    made.write("/proc/self/uid_map", "         0       1000          1\n         1     100000      65536\n");
    let fix = made.worst("open-files").fix.unwrap();
    assert!(fix.starts_with("on the host: "), "{fix}");
}

#[test]
fn a_container_whose_namespaces_may_not_be_read_is_known_by_its_numbers() {
    let made = Made::new();
    made.set("fs.file-max", "5000");
    let status = made.tree().text("/proc/self/status").unwrap();
    for (numbers, is_container) in [("4711", false), ("4711\t1", true)] {
        made.write("/proc/self/status", &format!("{status}\nNSpid:\t{numbers}\n"));
        let fix = made.worst("open-files").fix.unwrap();
        assert_eq!(fix.starts_with("on the host: "), is_container, "{fix}");
    }
}

#[test]
fn a_namespace_without_the_host_s_keys_says_where_to_ask() {
    let made = Made::new();
    for key in ["tcp_mem", "tcp_max_orphans"] {
        made.remove(&format!("/proc/sys/net/ipv4/{key}"));
    }
    for check in ["tcp-memory", "orphans"] {
        expect(&made.worst(check), Status::CannotTell, &["a network namespace of its own does not show it"]);
    }
    // What cannot be told is no failure.
    let report = made.report();
    assert_eq!(report.exit_code, 1, "the made box warns of its card");
    assert!(report.verdict.connections.unwrap() >= TARGET);
}

#[test]
fn without_proc_everything_that_is_not_known_is_said_to_be_and_nothing_is_claimed() {
    let made = Made::new();
    made.remove("/proc");
    made.remove("/sys");
    let report = made.report();
    for finding in &report.findings {
        let needs_nothing = finding.status == Status::Pass && finding.wall.is_none();
        assert!(finding.status == Status::CannotTell || needs_nothing, "{finding:?}");
        assert!(!finding.why.is_empty(), "{finding:?}");
    }
    assert_eq!(report.verdict.connections, None);
    assert!(report.verdict.text.contains("cannot be told"));
}

#[test]
fn the_largest_target_overflows_nothing() {
    let mut made = Made::new();
    made.setup.target = Some(throng::doctor::TARGET_MAX);
    made.setup.with_clients = true;
    let report = made.report();
    assert_eq!(report.exit_code, 2);
    expect(&made.worst("descriptor-limit"), Status::Fail, &["LimitNOFILE="]);
    // The limits of a process may be anything.
    made.write("/proc/self/limits", "Max open files unlimited unlimited files\n");
    made.set("fs.file-max", "9223372036854775807");
    made.set("fs.epoll.max_user_watches", "18446744073709551615");
    made.set("net.ipv4.tcp_mem", "18446744073709551615 18446744073709551615 18446744073709551615");
    made.write("/proc/meminfo", "MemTotal: 18014398509481983 kB\nMemAvailable: 18014398509481983 kB\n");
    let report = made.report();
    assert!(report.verdict.connections.is_some());
    made.setup.target = None;
    made.report();
}

#[test]
fn a_box_without_proc_is_told_first_and_blamed_on_nothing_else() {
    let made = Made::new();
    made.remove("/proc");
    std::fs::create_dir(made.place("/proc")).unwrap();
    let report = made.report();
    let first = &report.findings.iter().find(|finding| finding.status == Status::CannotTell).unwrap();
    assert_eq!((first.check, first.found.as_str()), ("proc", "/proc is not mounted"));
    for finding in report.findings.iter().filter(|finding| finding.status == Status::CannotTell) {
        let all = format!("{finding:?}");
        assert!(!all.contains("namespace of its own") && !all.contains("older kernel"), "{all}");
    }
    let error = throng::doctor::facts(&made.tree(), 1_000).unwrap_err();
    assert!(error.ends_with(": /proc is not mounted"), "{error}");
    assert!(Made::new().findings("proc").is_empty());
}
