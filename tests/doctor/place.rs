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
    made.write("/sys/fs/cgroup/memory.max", "1048576\n");
    expect(&made.worst("cgroup"), Status::Fail, &["on the host: a higher limit for the container"]);
    // On the host itself, neither is said.
    made.process("self", "ns/pid", "pid:[4026531836]");
    let fix = made.worst("open-files").fix.unwrap();
    assert!(fix.starts_with("`sysctl -w fs.file-max="), "{fix}");
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
