//! Checks that bound the number of connections, and those of TCP's tables: each of their ends.

use throng::doctor::sysctl::settings;
use throng::doctor::{Status, Strength};

use crate::made::{Made, TARGET, expect};

#[test]
fn a_box_that_has_enough_of_everything_passes_every_check_and_says_so() {
    let report = Made::new().report();
    let others: Vec<_> = report.findings.iter().filter(|finding| finding.status != Status::Pass).collect();
    // The made box has half as many queues as processors.
    let names: Vec<_> = others.iter().map(|finding| finding.check).collect();
    assert_eq!(names, ["nic-queues", "packet-steering"], "{others:#?}");
    assert_eq!((report.status, report.exit_code), (Status::Warn, 1));
    assert!(report.verdict.connections.unwrap() >= TARGET);
}

#[test]
fn every_shipped_key_is_in_a_finding_of_the_check_that_its_file_names() {
    let report = Made::new().report();
    for setting in settings() {
        let shown = report.findings.iter().any(|finding| {
            finding.check == setting.check && format!("{finding:?}").contains(setting.key.as_str())
        });
        assert!(shown, "{} is not read by {}", setting.key, setting.check);
    }
}

#[test]
fn a_key_below_what_its_file_asks_for_is_a_warning_with_the_command_and_a_garbled_one_is_not_judged() {
    for setting in settings()
        .iter()
        .filter(|setting| setting.judge("0", &facts()) != throng::doctor::sysctl::Judgement::Met)
    {
        let made = Made::new();
        made.set(&setting.key, "garbage");
        let garbled = made
            .findings(&setting.check)
            .into_iter()
            .find(|finding| format!("{finding:?}").contains("garbage"));
        let garbled = garbled.unwrap_or_else(|| panic!("nothing is said of a garbled {}", setting.key));
        assert_eq!(garbled.status, Status::CannotTell, "{garbled:?}");
    }
    let made = Made::new();
    made.set("net.core.somaxconn", "128");
    let words = ["net.core.somaxconn = 128", "`sysctl -w net.core.somaxconn=8192`"];
    let short = &made.findings("accept-queue")[0];
    expect(short, Status::Warn, &words);
    let told = (short.unit.as_deref().unwrap(), short.default.as_deref().unwrap());
    assert_eq!(told.1, "4096 (128 before Linux 5.4)");
    assert!(told.0.starts_with("connections of one listener"), "{told:?}");
}

fn facts() -> throng::doctor::sysctl::Facts {
    throng::doctor::sysctl::Facts::new(TARGET, 8 << 30, 4096)
}

#[test]
fn descriptors_are_the_hard_limit_less_what_is_reserved_times_the_tables() {
    let made = Made::new();
    let pass = made.worst("descriptor-limit");
    // 65,536 less 16 spare, 10 of the process, 2 for each of 4 shards and a listener.
    expect(&pass, Status::Pass, &["65,536 in each of 4 tables (soft 1,024, raised at start)"]);
    assert_eq!(pass.wall.unwrap().connections, (65_536 - 35) * 4);
}

#[test]
fn too_few_descriptors_fail_a_target_and_warn_without_one() {
    let mut made = Made::new();
    made.write("/proc/self/limits", "Max open files  1024  20000  files\n");
    let fail = made.worst("descriptor-limit");
    expect(&fail, Status::Fail, &["25,035 in each of 4 tables", "`--shards 6`", "LimitNOFILE=32768"]);
    made.setup.target = None;
    expect(&made.worst("descriptor-limit"), Status::Warn, &["`--shards 8`", "LimitNOFILE=65536"]);
    made.setup.private_tables = false;
    made.setup.target = Some(TARGET);
    let shared = made.worst("descriptor-limit");
    expect(&shared, Status::Fail, &["20,000 in one table", "LimitNOFILE=131072"]);
    assert!(!shared.fix.unwrap().contains("--shards"), "more shards do not help a table that they share");
}

#[test]
fn a_limit_above_nr_open_needs_that_key_first_and_a_service_its_unit() {
    let made = Made::new();
    made.write("/proc/self/limits", "Max open files  256  256  files\n");
    made.set("fs.nr_open", "20000");
    let words = ["`sysctl -w fs.nr_open=32768` and a higher hard limit"];
    expect(&made.worst("descriptor-limit"), Status::Fail, &words);
    made.write("/proc/self/cgroup", "0::/system.slice/chat.service\n");
    expect(&made.worst("descriptor-limit"), Status::Fail, &["`systemctl edit chat.service`: LimitNOFILE="]);
}

#[test]
fn limits_that_cannot_be_read_are_not_guessed() {
    let made = Made::new();
    made.write("/proc/self/limits", "Max files  many\n");
    expect(&made.worst("descriptor-limit"), Status::CannotTell, &["no Max open files"]);
    made.remove("/proc/self/limits");
    expect(&made.worst("descriptor-limit"), Status::CannotTell, &["/proc/self/limits does not exist here"]);
}

#[test]
fn a_shared_table_is_a_warning_and_a_seccomp_filter_is_only_known_by_a_try() {
    let mut made = Made::new();
    expect(&made.worst("descriptor-tables"), Status::Pass, &["one for each of 4 shards"]);
    made.setup.private_tables = false;
    expect(&made.worst("descriptor-tables"), Status::Warn, &["private_fd_tables"]);
    made.setup.private_tables = true;
    made.write("/proc/self/status", "Seccomp:\t2\nCpus_allowed_list:\t0-3\n");
    expect(&made.worst("descriptor-tables"), Status::CannotTell, &["seccomp filter"]);
}

#[test]
fn open_files_bind_whoever_lacks_the_right_to_pass_them() {
    let made = Made::new();
    assert_eq!(made.worst("open-files").wall.unwrap().connections, 199_000);
    made.set("fs.file-max", "50000");
    let fail = made.worst("open-files");
    expect(&fail, Status::Fail, &["fs.file-max = 50,000, 1,000 used", "`sysctl -w fs.file-max=200000`"]);
    assert_eq!(fail.wall.unwrap().connections, 49_000);
    // CAP_SYS_ADMIN: bit 21.
    made.write("/proc/self/status", "CapEff:\t0000000000200000\nSeccomp:\t0\nCpus_allowed_list:\t0-3\n");
    let admin = made.worst("open-files");
    expect(&admin, Status::Warn, &["no limit to CAP_SYS_ADMIN"]);
    assert_eq!(admin.wall, None);
    // Within a user namespace the same right is none towards the whole box.
    made.write("/proc/self/uid_map", "0 100000 65536\n");
    expect(&made.worst("open-files"), Status::Fail, &["on the host: `sysctl -w fs.file-max"]);
    made.remove("/proc/sys/fs/file-max");
    expect(
        &made.worst("open-files"),
        Status::CannotTell,
        &["fs.file-max is not known", "the container hides it"],
    );
}

#[test]
fn a_limit_that_just_holds_the_target_is_a_warning_where_the_file_asks_for_more() {
    let made = Made::new();
    made.set("fs.file-max", "150000");
    expect(&made.worst("open-files"), Status::Warn, &["at least 2 * 100000 = 200000"]);
}

#[test]
fn epoll_watches_count_once_for_each_end_on_the_box() {
    let mut made = Made::new();
    made.set("fs.epoll.max_user_watches", "150000");
    let one = made.worst("epoll-watches");
    assert_eq!(one.wall.unwrap().connections, 150_000);
    made.setup.with_clients = true;
    let both = made.worst("epoll-watches");
    expect(&both, Status::Fail, &["200,000 for 100,000"]);
    assert_eq!(both.wall.unwrap().connections, 75_000);
    made.remove("/proc/sys/fs/epoll/max_user_watches");
    expect(&made.worst("epoll-watches"), Status::CannotTell, &["an older kernel"]);
}

#[test]
fn memory_is_what_is_available_by_what_a_connection_takes() {
    let mut made = Made::new();
    assert_eq!(made.worst("memory").wall.unwrap().connections, (6 << 30) / (3_894 + 160));
    made.write("/proc/meminfo", "MemTotal: 8388608 kB\nMemAvailable: 200000 kB\n");
    expect(&made.worst("memory"), Status::Fail, &["195.31 MiB available", "386.62 MiB (100,000 ×"]);
    made.setup.target = None;
    expect(&made.worst("memory"), Status::Pass, &[]);
    made.setup.target = Some(TARGET);
    made.write("/proc/meminfo", "MemTotal: 8388608 kB\n");
    expect(&made.worst("memory"), Status::CannotTell, &["no MemAvailable"]);
}

#[test]
fn the_tightest_group_up_to_the_root_binds_in_either_version() {
    let made = Made::new();
    expect(&made.worst("cgroup"), Status::Pass, &["no memory limit"]);
    made.write("/proc/self/cgroup", "4:memory:/a/b\n0::/x/y\n");
    made.write(
        "/proc/self/mountinfo",
        "35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n",
    );
    made.write("/sys/fs/cgroup/unified/x/memory.max", "max\n");
    made.write("/sys/fs/cgroup/unified/x/y/memory.max", "3221225472\n");
    made.write("/sys/fs/cgroup/unified/x/y/memory.current", "0\n");
    // The unlimited of version 1.
    made.write("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
    expect(&made.worst("cgroup"), Status::Pass, &["3.00 GiB of 3.00 GiB left", "unified/x/y/memory.max"]);
    made.write("/sys/fs/cgroup/memory/a/memory.limit_in_bytes", "314572800\n");
    made.write("/sys/fs/cgroup/memory/a/memory.usage_in_bytes", "209715200\n");
    made.write(
        "/sys/fs/cgroup/memory/a/memory.stat",
        "inactive_file 1\ntotal_inactive_file 104857600\ntotal_active_file 0\n",
    );
    let fail = made.worst("cgroup");
    // 200 MiB are used, of which 100 are page cache that is given back when it is needed.
    expect(&fail, Status::Pass, &["200.00 MiB of 300.00 MiB left", "memory/a/memory.limit_in_bytes"]);
    let wall = fail.wall.unwrap();
    assert_eq!((wall.connections, wall.strength), (209_715_200 / 1_608, Strength::Hard));
    made.remove("/proc/self/cgroup");
    expect(&made.worst("cgroup"), Status::CannotTell, &["/proc/self/cgroup does not exist here"]);
}

#[test]
fn a_limit_around_the_outermost_group_that_is_seen_counts() {
    let made = Made::new();
    made.write("/proc/self/cgroup", "4:memory:/\n");
    made.write("/proc/self/mountinfo", "35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n");
    made.write("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
    made.write("/sys/fs/cgroup/memory/memory.usage_in_bytes", "209715200\n");
    let stat = |limit: u64| {
        let text = format!("hierarchical_memory_limit {limit}\ntotal_inactive_file 0\n");
        made.write("/sys/fs/cgroup/memory/memory.stat", &text);
    };
    stat(9_223_372_036_854_771_712);
    expect(&made.worst("cgroup"), Status::Pass, &["no memory limit (/)"]);
    stat(314_572_800);
    let fail = made.worst("cgroup");
    expect(&fail, Status::Fail, &["100.00 MiB of 300.00 MiB left (/sys/fs/cgroup/memory/memory.stat)"]);
}

#[test]
fn a_mount_that_is_at_no_path_is_none() {
    let made = Made::new();
    made.write("/proc/self/mountinfo", "41 31 0:38 / cgroup rw - cgroup2 cgroup2 rw\n");
    expect(&made.worst("cgroup"), Status::Pass, &["no memory limit"]);
}

#[test]
fn a_group_that_no_mount_shows_is_not_one_without_a_limit() {
    let made = Made::new();
    // A namespace of groups under the mount of the one around it; a group beside the namespace's root;
    // a mount of another group.
    for (root, path) in [("/../../..", "/"), ("/", "/../other"), ("/docker/one", "/user.slice")] {
        made.write("/proc/self/cgroup", &format!("0::{path}\n"));
        let mount = format!("41 31 0:38 {root} /sys/fs/cgroup rw,relatime - cgroup2 cgroup2 rw\n");
        made.write("/proc/self/mountinfo", &mount);
        expect(&made.worst("cgroup"), Status::CannotTell, &["is in no mount that is seen here"]);
        // Of two mounts the one that shows the group counts.
        let other = format!("42 31 0:38 {path} /mnt rw - cgroup2 cgroup2 rw\n{mount}");
        made.write("/proc/self/mountinfo", &other);
        expect(&made.worst("cgroup"), Status::Pass, &["no memory limit"]);
    }
}

#[test]
fn memory_high_only_slows_down() {
    let made = Made::new();
    made.write("/proc/self/cgroup", "0::/system.slice/chat.service\n");
    made.write("/sys/fs/cgroup/system.slice/chat.service/memory.high", "104857600\n");
    let warn = made.worst("cgroup");
    expect(&warn, Status::Warn, &["memory.high", "`systemctl set-property chat.service MemoryHigh="]);
    assert_eq!(warn.wall.unwrap().strength, Strength::Soft);
}

#[test]
fn shards_that_no_limit_of_threads_allows_fail() {
    let mut made = Made::new();
    expect(&made.worst("threads"), Status::Pass, &[]);
    made.write("/sys/fs/cgroup/user.slice/pids.max", "200\n");
    made.write("/sys/fs/cgroup/user.slice/pids.current", "15\n");
    expect(
        &made.worst("threads"),
        Status::Warn,
        &["200, 15 used", "up to 512 more", "calls of its API wait"],
    );
    made.write("/sys/fs/cgroup/user.slice/pids.max", "20\n");
    made.write("/sys/fs/cgroup/user.slice/pids.current", "15\n");
    expect(
        &made.worst("threads"),
        Status::Fail,
        &["pids.max of the cgroup = 20, 15 used", "12 for 4 shards"],
    );
    made.remove("/sys/fs/cgroup/user.slice/pids.max");
    made.setup.shards = 1_000;
    made.set("kernel.threads-max", "1500");
    made.write("/proc/loadavg", "0.20 0.18 0.12 1/800 11206\n");
    let words = ["kernel.threads-max = 1,500, 800 used", "`sysctl -w kernel.threads-max=3040`"];
    expect(&made.worst("threads"), Status::Fail, &words);
    made.remove("/proc/sys/kernel/threads-max");
    made.remove("/proc/self/limits");
    expect(&made.worst("threads"), Status::CannotTell, &["/proc tells of none"]);
}

#[test]
fn the_limit_of_a_user_s_processes_does_not_bind_root_and_how_much_of_it_is_used_is_not_claimed() {
    let made = Made::new();
    made.write("/proc/self/limits", "Max processes  10  10  processes\n");
    let status = |users: &str, capabilities: &str| {
        let text = format!("Uid:\t{users}\nCapEff:\t{capabilities}\nSeccomp:\t0\nCpus_allowed_list:\t0-3\n");
        made.write("/proc/self/status", &text);
        made.worst("threads")
    };
    let user = status("1000 1000 1000 1000", "0");
    expect(&user, Status::Fail, &["RLIMIT_NPROC (`ulimit -u`) = 10", "12 for 4 shards"]);
    assert_eq!(user.found, "RLIMIT_NPROC (`ulimit -u`) = 10");
    expect(&status("0 0 0 0", "0"), Status::Pass, &["kernel.threads-max = 60,000"]);
    // CAP_SYS_RESOURCE: bit 24.
    expect(&status("1000 1000 1000 1000", "1000000"), Status::Pass, &["kernel.threads-max"]);
    // Root of a namespace of its own is a user like others outside of it.
    made.write("/proc/self/uid_map", "0 100000 65536\n");
    expect(&status("0 0 0 0", "1000000"), Status::Fail, &["RLIMIT_NPROC"]);
}

#[test]
fn the_configuration_s_own_bound_is_told_if_there_is_one() {
    let mut made = Made::new();
    assert_eq!(made.findings("connections-max"), []);
    made.setup.connections_max = TARGET;
    expect(&made.worst("connections-max"), Status::Pass, &[]);
    made.setup.connections_max = 99;
    expect(&made.worst("connections-max"), Status::Fail, &["limits.connections_max = 99"]);
    assert_eq!(made.report().verdict.binding().unwrap().name, "limits.connections_max");
}

#[test]
fn the_established_hash_counts_both_ends_and_tells_whose_table_it_is() {
    let mut made = Made::new();
    let key = "net.ipv4.tcp_ehash_entries";
    expect(&made.findings("established-hash")[0], Status::Pass, &[]);
    made.set(key, "32768");
    let slow = made.worst("established-hash");
    expect(
        &slow,
        Status::Warn,
        &[
            "tcp_ehash_entries = 32,768: 3.1 entries in each bucket with 100,000",
            "thash_entries=65536 on the kernel's",
        ],
    );
    let wall = slow.wall.unwrap();
    assert_eq!((wall.connections, wall.strength), (65_537, Strength::Soft));
    made.setup.with_clients = true;
    assert_eq!(made.worst("established-hash").wall.unwrap().connections, 32_768);
    made.set(key, "-32768");
    expect(&made.worst("established-hash"), Status::Warn, &["shared with the host's network namespace"]);
    made.remove("/proc/sys/net/ipv4/tcp_ehash_entries");
    expect(&made.worst("established-hash"), Status::CannotTell, &["since 6.1", "dmesg"]);
}

#[test]
fn tcp_memory_is_a_page_in_flight_for_each_connection() {
    let made = Made::new();
    expect(&made.worst("tcp-memory"), Status::Pass, &["3 used"]);
    made.set("net.ipv4.tcp_mem", "3000 4000 6000");
    let slow = made.worst("tcp-memory");
    expect(&slow, Status::Warn, &["`sysctl -w net.ipv4.tcp_mem=\\\"75000 100000 150000\\\"`"]);
    assert_eq!(slow.wall.unwrap().connections, 4_000);
    made.set("net.ipv4.tcp_mem", "3000 4000");
    expect(&made.worst("tcp-memory"), Status::CannotTell, &["says `3000 4000`"]);
    made.remove("/proc/sys/net/ipv4/tcp_mem");
    expect(&made.worst("tcp-memory"), Status::CannotTell, &["ask in the host's"]);
}

#[test]
fn what_tcp_may_take_of_memory_that_is_not_known_cannot_be_told() {
    let made = Made::new();
    made.set("net.ipv4.tcp_mem", "1 2 3");
    made.write("/proc/meminfo", "MemAvailable:    6291456 kB\n");
    expect(&made.worst("tcp-memory"), Status::CannotTell, &["/proc/meminfo says `no MemTotal`"]);
    let error = throng::doctor::facts(&made.tree(), 1_000).unwrap_err();
    assert!(error.contains("/proc/meminfo says `no MemTotal`"), "{error}");
}

#[test]
fn conntrack_binds_once_something_is_tracked() {
    let made = Made::new();
    let max = "net.netfilter.nf_conntrack_max";
    made.set(max, "65536");
    expect(&made.worst("conntrack"), Status::Pass, &["no rule of this network namespace tracks"]);
    made.set("net.netfilter.nf_conntrack_count", "536");
    let fail = made.worst("conntrack");
    expect(&fail, Status::Fail, &["65,536, 536 tracked", "notrack"]);
    assert_eq!(fail.wall.unwrap().connections, 65_000);
    made.set(max, "0");
    for finding in made.findings("conntrack") {
        expect(&finding, Status::Pass, &[]);
        assert_eq!(finding.wall, None, "0 is no limit");
    }
    made.set(max, "65536");
    // Nothing is tracked, and nothing is connected that could be.
    made.set("net.netfilter.nf_conntrack_count", "0");
    made.write("/proc/self/net/snmp", "Tcp: RtoMin CurrEstab\nTcp: 200 0\n");
    let dormant = made.worst("conntrack");
    expect(&dormant, Status::Warn, &["would begin it"]);
    assert_eq!(dormant.wall, None);
    made.set(max, "much");
    expect(&made.worst("conntrack"), Status::CannotTell, &["says `much`"]);
    made.remove("/proc/sys/net/netfilter/nf_conntrack_max");
    expect(&made.worst("conntrack"), Status::Pass, &["no connection tracking here"]);
}
