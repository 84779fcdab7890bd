//! Servers that run, recorded and real: what is open, what fits.

use throng::doctor::{Look, NotRunning, Running, Status, TARGET_MAX, show};
use throng::limits::{RUNTIME_THREADS_MAX, SHARDS_MAX, THREADS_BESIDE_SHARDS};

use crate::common::Server;
use crate::made::{Made, expect};

const STATUS: &str = "Name:\tthrong\nState:\tS (sleeping)\nTgid:\t70\nUid:\t1000\t1000\t1000\t1000\nVmSize:\t9 kB\n\
                      CapEff:\t0\nSeccomp:\t0\nCpus_allowed_list:\t0-3\n";

/// A box with a throng of two shards as process 70, whose tables hold as many descriptors.
fn with_server(tables: [u64; 3]) -> Made {
    let mut made = Made::new();
    made.write("/proc/70/status", STATUS);
    for (thread, name, open) in
        [(70, "throng", tables[0]), (71, "shard-0", tables[1]), (73, "shard-1", tables[2])]
    {
        made.write(&format!("/proc/70/task/{thread}/comm"), name);
        made.write(&format!("/proc/70/task/{thread}/fd"), &open.to_string());
    }
    made.write("/proc/70/task/72/comm", "committer");
    made.write("/proc/70/limits", "Max processes 100 100 processes\nMax open files  20000  20000  files\n");
    made.write("/proc/70/cgroup", "0::/system.slice/chat.service\n");
    made.write("/proc/70/uid_map", "0 0 4294967295\n");
    made.setup.running = Some(Running::read(&made.tree(), 70).unwrap());
    made
}

#[test]
fn each_shard_s_table_has_room_of_its_own() {
    let made = with_server([20, 1_016, 516]);
    let finding = made.worst("descriptor-limit");
    expect(&finding, Status::Fail, &["20,000 in each of 2 tables, 1,532 open"]);
    let report = made.report();
    let server = report.server.as_ref().unwrap();
    // 16 of each table are not connections: 10 of the process, 4 of the shards, a listener, a poll.
    assert_eq!((server.shards, server.connections), (2, 1_000 + 500));
    // 15 stay free: of the 16 spare ones a shard's poll has taken one.
    let more = (20_000 - 15 - 1_016) + (20_000 - 15 - 516);
    assert_eq!(report.verdict.more, Some(more));
    assert_eq!(report.verdict.connections, Some(1_500 + more));
    let words = "throng (pid 70, 2 shards) has 1,500 connections open, and 38,438 more connections fit";
    assert!(report.verdict.text.starts_with(words), "{}", report.verdict.text);
}

#[test]
fn connections_that_are_open_are_not_counted_again_among_those_that_are_tracked() {
    let made = with_server([20, 60_016, 30_016]);
    made.set("net.netfilter.nf_conntrack_max", "100000");
    made.set("net.netfilter.nf_conntrack_count", "90500");
    let finding = made.worst("conntrack");
    // 90,000 are the server's, 10,000 are to come, 500 are of others.
    expect(&finding, Status::Fail, &["100,500 for 100,000"]);
    assert_eq!(finding.wall.unwrap().connections, 99_500);
}

#[test]
fn a_full_table_takes_none_and_the_other_still_does() {
    let report = with_server([20, 20_000, 19_985]).report();
    assert_eq!(report.verdict.more, Some(0));
    let report = with_server([20, 20_000, 19_984]).report();
    assert_eq!(report.verdict.more, Some(1));
}

#[test]
fn equal_counts_are_one_table_where_files_cannot_be_compared() {
    let made = with_server([500, 500, 500]);
    assert_eq!(made.setup.running.as_ref().unwrap().tables.len(), 1);
    expect(&made.worst("descriptor-tables"), Status::Warn, &["one that 2 shards share"]);
    let fix = made.worst("descriptor-limit").fix.unwrap();
    assert!(!fix.contains("--shards"), "more shards have the same table: {fix}");
    expect(
        &with_server([20, 500, 500]).worst("descriptor-tables"),
        Status::Pass,
        &["one for each of 2 shards"],
    );
}

#[test]
fn descriptors_of_other_files_under_the_same_number_are_of_another_table() {
    let made = with_server([3, 3, 3]);
    for (thread, socket) in [(70, "socket:[1]"), (71, "socket:[2]"), (73, "socket:[3]")] {
        made.remove(&format!("/proc/70/task/{thread}/fd"));
        for (number, file) in [(0, "/dev/null"), (1, "pipe:[9]"), (2, socket)] {
            made.link(&format!("/proc/70/task/{thread}/fd/{number}"), file);
        }
    }
    let running = Running::read(&made.tree(), 70).unwrap();
    assert_eq!((running.tables.len(), running.inherited), (2, Some(2)));
    for thread in [71, 73] {
        made.link(&format!("/proc/70/task/{thread}/fd/2"), "socket:[1]");
    }
    assert_eq!(Running::read(&made.tree(), 70).unwrap().tables.len(), 1);
}

#[test]
fn a_server_without_limits_overflows_nothing() {
    let limits = "Max processes unlimited unlimited processes\nMax open files  unlimited  unlimited  files\n";
    for tables in [[20, 500, 600], [u64::MAX; 3], [20, u64::MAX, u64::MAX - 1]] {
        let mut made = with_server(tables);
        made.write("/proc/70/limits", limits);
        for key in ["fs.file-max", "fs.epoll.max_user_watches", "net.netfilter.nf_conntrack_max"] {
            made.set(key, &u64::MAX.to_string());
        }
        made.set("net.netfilter.nf_conntrack_count", "1");
        made.write("/proc/meminfo", "MemTotal: 18014398509481983 kB\nMemAvailable: 18014398509481983 kB\n");
        let group = "/sys/fs/cgroup/system.slice/chat.service";
        made.write(&format!("{group}/memory.max"), "1048576\n");
        made.write(
            &format!("{group}/memory.stat"),
            &format!("inactive_file {0}\nactive_file {0}\n", u64::MAX),
        );
        for (target, with_clients) in [(None, false), (Some(TARGET_MAX), true)] {
            (made.setup.target, made.setup.with_clients) = (target, with_clients);
            let limit = made.findings("descriptor-limit").remove(0).wall.unwrap();
            assert!(limit.connections >= u64::MAX - 64, "{limit:?}");
        }
    }
}

#[test]
fn another_program_has_one_table_and_its_soft_limit() {
    let mut made = with_server([900, 0, 0]);
    made.remove("/proc/70/task/71");
    made.remove("/proc/70/task/73");
    made.write("/proc/70/limits", "Max open files  1024  524288  files\n");
    made.setup.running = Some(Running::read(&made.tree(), 70).unwrap());
    let report = made.report();
    assert_eq!(report.verdict.more, Some(124));
    assert!(
        report.verdict.text.contains("not a throng) has 900 descriptors open"),
        "{}",
        report.verdict.text
    );
    expect(&made.worst("descriptor-tables"), Status::Pass, &["no throng"]);
    // Its hard limit has room; what binds is the soft one, and no option of throng moves that.
    let words =
        ["`prlimit --pid 70 --nofile=131072:` for now, `systemctl edit chat.service`: LimitNOFILE=131072"];
    expect(&made.worst("descriptor-limit"), Status::Fail, &words);
    let table = show(&report, Look { width: 200, colours: false, verbose: true });
    assert!(table.starts_with("process 70 (throng, not a throng), 100,000"), "{table}");
    assert!(!table.contains("--shards") && !table.contains("0 shards"), "{table}");
    made.write("/proc/70/cgroup", "0::/user.slice\n");
    made.setup.target = None;
    let words = ["--nofile=2048:` for now, `ulimit -n 2048` where it is started"];
    expect(&made.worst("descriptor-limit"), Status::Warn, &words);
    made.setup.target = Some(1_000_000);
    expect(&made.worst("descriptor-limit"), Status::Fail, &["--nofile=1048576` for now"]);
    made.write("/proc/70/cgroup", "0::/system.slice/chat.service\n");
    expect(
        &made.worst("unit"),
        Status::Warn,
        &["chat.service: LimitNOFILE=1,024:524,288", "systemctl edit chat.service"],
    );
}

#[test]
fn the_unit_of_a_service_is_told_by_its_limits_and_its_group() {
    let made = with_server([20, 500, 600]);
    made.write("/sys/fs/cgroup/system.slice/chat.service/memory.max", "2147483648\n");
    made.write("/sys/fs/cgroup/system.slice/chat.service/memory.high", "1073741824\n");
    made.write("/sys/fs/cgroup/system.slice/chat.service/pids.max", "64\n");
    let words = ["chat.service: LimitNOFILE=20,000, TasksMax=64, MemoryHigh=1.00 GiB, MemoryMax=2.00 GiB"];
    expect(&made.worst("unit"), Status::Pass, &words);
    made.write("/proc/70/limits", "nothing\n");
    expect(&made.worst("unit"), Status::CannotTell, &["LimitNOFILE is not known"]);
    made.remove("/proc/70/limits");
    expect(&made.worst("unit"), Status::CannotTell, &["/proc/70/limits"]);
}

#[test]
fn the_shipped_unit_allows_every_thread_that_a_server_may_have() {
    let unit = include_str!("../../systemd/throng.service");
    let tasks = unit.lines().find_map(|line| line.strip_prefix("TasksMax=")).unwrap();
    let threads = SHARDS_MAX as u64 + THREADS_BESIDE_SHARDS + RUNTIME_THREADS_MAX as u64;
    assert!(tasks.parse::<u64>().unwrap() >= threads, "TasksMax={tasks}, and {threads} threads at most");
}

#[test]
fn tables_that_may_not_be_read_are_not_taken_for_empty() {
    let mut made = with_server([20, 500, 600]);
    made.remove("/proc/70/task/73/fd");
    made.setup.running = Some(Running::read(&made.tree(), 70).unwrap());
    for check in ["descriptor-limit", "descriptor-tables"] {
        expect(&made.worst(check), Status::CannotTell, &["/proc/70/task/73/fd"]);
    }
}

#[test]
fn keys_of_another_network_namespace_are_not_taken_for_the_server_s() {
    let made = with_server([20, 500, 600]);
    made.process("70", "ns/net", "net:[4026540000]");
    let words = ["`nsenter -t 70 -n throng doctor --pid 70`"];
    expect(&made.worst("tcp-memory"), Status::CannotTell, &words);
    expect(&made.worst("accept-queue"), Status::CannotTell, &words);
    made.process("70", "ns/net", "net:[4026531840]");
    expect(&made.worst("tcp-memory"), Status::Pass, &[]);
}

#[test]
fn what_is_no_running_process_is_said_in_its_own_words() {
    let made = with_server([20, 500, 600]);
    let tree = made.tree();
    let read = |pid| Running::read(&tree, pid).unwrap_err();
    assert_eq!(read(99), NotRunning::Missing(99));
    made.write("/proc/71/status", STATUS);
    assert_eq!(read(71), NotRunning::Thread { tid: 71, pid: 70 });
    made.write("/proc/70/status", &STATUS.replace("S (sleeping)", "Z (zombie)"));
    assert_eq!(read(70), NotRunning::Ended(70));
    made.write("/proc/70/status", &STATUS.replace("VmSize:\t9 kB\n", ""));
    assert_eq!(read(70), NotRunning::Ended(70), "it gave its memory back between two looks");
    made.write("/proc/70/stat", "70 (a) b) S 2 0 0 0 -1 4194304 0 0\n");
    assert_eq!(read(70), NotRunning::Ended(70));
    made.write("/proc/70/stat", "70 (kworker/0:0) I 2 0 0 0 -1 69238880 0 0\n");
    assert_eq!(read(70), NotRunning::Kernel(70));
    made.remove("/proc/70/stat");
    // The first thread has ended, and another goes on.
    made.write(
        "/proc/70/status",
        &STATUS.replace("S (sleeping)", "Z (zombie)").replace("VmSize:\t9 kB\n", ""),
    );
    made.write("/proc/70/task/71/status", STATUS);
    assert_eq!(read(70), NotRunning::FirstThreadEnded(70));
    assert!(read(70).to_string().starts_with("the first thread of process 70 has ended and others go on"));
    made.write("/proc/70/status", "garbage");
    assert!(matches!(read(70), NotRunning::Unreadable(_)));
    for error in [NotRunning::Missing(7), NotRunning::Ended(7), NotRunning::Thread { tid: 7, pid: 7 }] {
        assert!(error.to_string().contains('7'), "{error}");
    }
}

#[test]
fn a_real_server_has_the_connections_that_are_open_to_each_of_its_tables() {
    for (arguments, tables) in [(&["--shards", "3"][..], 3), (&["--shards", "3", "--shared-fd-table"], 1)] {
        let server = Server::with_arguments("", arguments);
        let clients: Vec<_> = (0..5).map(|_| server.client()).collect();
        let running = Running::read(&throng::host::tree::Tree::live(), server.pid()).unwrap();
        assert_eq!((running.shards, running.tables.len()), (3, tables));
        assert!(running.threads <= 3 + THREADS_BESIDE_SHARDS, "{running:?}");
        let setup = throng::doctor::Setup { running: Some(running), ..Default::default() };
        let report = throng::doctor::examine(&throng::host::tree::Tree::live(), &setup);
        let held = report.server.unwrap().connections;
        if tables == 3 {
            assert_eq!(held, 5);
        } else {
            // The store's files are in the one table too.
            assert!((5..30).contains(&held), "{held}");
        }
        drop(clients);
    }
}
