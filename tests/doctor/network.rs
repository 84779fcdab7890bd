//! Checks of the network: queues of connections, source ports, cards, interrupts.

use throng::doctor::Status;

use crate::made::{Made, expect};

#[test]
fn the_accept_queue_is_what_the_server_asks_for_and_the_kernel_allows() {
    let mut made = Made::new();
    let queue = |made: &Made| made.findings("accept-queue").into_iter().last().unwrap();
    expect(&queue(&made), Status::Pass, &["8,192 may wait at each of 4 listeners, 12 overflows since boot"]);
    // The key alone does nothing for a server that asks for less.
    made.set("net.core.somaxconn", "65536");
    made.setup.listen_backlog = 4_096;
    let words = ["4,096 may wait", "at least 8,192 for 100,000", "`listen_backlog = 8192`", "`Backlog=8192`"];
    expect(&queue(&made), Status::Warn, &words);
    made.set("net.core.somaxconn", "8192");
    made.setup.listen_backlog = 100_000;
    expect(&queue(&made), Status::Warn, &["8,192 may wait", "`sysctl -w net.core.somaxconn=100000`"]);
    made.remove("/proc/sys/net/core/somaxconn");
    expect(&made.worst("accept-queue"), Status::CannotTell, &["net.core.somaxconn"]);
}

#[test]
fn buffers_that_the_configuration_asks_for_are_compared_with_the_largest_that_may_be() {
    let mut made = Made::new();
    let words = ["SO_SNDBUF = 65,536", "SO_RCVBUF is left to the kernel"];
    let all = made.findings("socket-buffers");
    let told: String = all.iter().map(|finding| format!("{}\n", finding.found)).collect();
    assert!(words.iter().all(|word| told.contains(word)), "{told}");
    made.setup.receive_buffer_bytes = 1 << 20;
    let words = ["SO_RCVBUF = 1,048,576", "`sysctl -w net.core.rmem_max=1048576`"];
    expect(&made.worst("socket-buffers"), Status::Warn, &words);
}

#[test]
fn keys_of_each_kind_pass_warn_and_cannot_be_told() {
    for (check, key, short) in [
        ("syn-queue", "net.ipv4.tcp_max_syn_backlog", "64"),
        ("migrate", "net.ipv4.tcp_migrate_req", "0"),
        ("network-queue", "net.core.netdev_max_backlog", "10"),
        ("socket-buffers", "net.core.wmem_max", "1000"),
        ("time-wait", "net.ipv4.tcp_max_tw_buckets", "10"),
        ("orphans", "net.ipv4.tcp_max_orphans", "10"),
        ("mappings", "vm.max_map_count", "100"),
    ] {
        let made = Made::new();
        expect(&made.worst(check), Status::Pass, &[]);
        made.set(key, short);
        expect(&made.worst(check), Status::Warn, &[key, "`sysctl -w"]);
        made.remove(&throng::host::tree::sysctl_path(key));
        let report = made.report();
        // A kernel may be without a key that is optional, and does as it would with it.
        let is_optional = throng::doctor::sysctl::named(key).unwrap().is_optional;
        let (status, words) =
            if is_optional { (Status::Pass, "is not in use") } else { (Status::CannotTell, "is not known") };
        let said = format!("{key} {words}");
        let told = report.findings.iter().find(|finding| finding.check == check && finding.found == said);
        expect(told.unwrap_or_else(|| panic!("nothing is said of a missing {key}")), status, &[]);
    }
}

#[test]
fn a_port_range_matters_to_whoever_connects_from_this_box() {
    let mut made = Made::new();
    made.set("net.ipv4.ip_local_port_range", "32768 60999");
    expect(&made.worst("port-range"), Status::Pass, &["--with-clients"]);
    made.setup.with_clients = true;
    expect(&made.worst("port-range"), Status::Warn, &["net.ipv4.ip_local_port_range=\\\"10000 65535\\\""]);
}

#[test]
fn tuples_say_how_many_source_addresses_the_connections_take() {
    let mut made = Made::new();
    made.set("net.ipv4.ip_local_port_range", "32768 60999");
    expect(&made.worst("tuples"), Status::Pass, &["28,232 connections from one source address"]);
    made.setup.with_clients = true;
    expect(&made.worst("tuples"), Status::Warn, &["4 source addresses for 100,000", "--source-ips 4"]);
    made.setup.addresses = 4;
    expect(&made.worst("tuples"), Status::Pass, &["112,928 connections"]);
    made.set("net.ipv4.ip_local_port_range", "1 x");
    expect(&made.worst("tuples"), Status::CannotTell, &["says `1 x`"]);
}

/// A box whose card has `queues` to receive, the first steered to `mask`.
fn with_queues(queues: usize, mask: &str) -> Made {
    let made = Made::new();
    made.remove("/sys/class/net/eth0/queues");
    for queue in 0..queues {
        made.write(&format!("/sys/class/net/eth0/queues/rx-{queue}/rps_cpus"), mask);
    }
    made
}

#[test]
fn a_card_needs_a_queue_for_each_processor_or_steering() {
    let statuses = |made: &Made| [made.worst("nic-queues").status, made.worst("packet-steering").status];
    assert_eq!(statuses(&with_queues(1, "00000000\n")), [Status::Warn; 2]);
    assert_eq!(statuses(&with_queues(1, "f\n")), [Status::Pass; 2]);
    assert_eq!(statuses(&with_queues(4, "0\n")), [Status::Pass; 2]);
    assert_eq!(statuses(&with_queues(0, "0\n")), [Status::CannotTell; 2]);
    expect(&with_queues(1, "0\n").worst("packet-steering"), Status::Warn, &["echo f | tee"]);
    // Packets may be steered to processors that the server may not run on, and be online with gaps.
    let cornered = with_queues(1, "0\n");
    cornered.write("/proc/self/status", "Cpus_allowed_list:\t4-5\n");
    cornered.write("/sys/devices/system/cpu/online", "0-3,5,32\n");
    expect(&cornered.worst("packet-steering"), Status::Warn, &["`echo 1,0000002f | tee"]);
    cornered.remove("/sys/devices/system/cpu/online");
    expect(&cornered.worst("packet-steering"), Status::Warn, &["`echo MASK | tee"]);
    let unreadable = with_queues(2, "0\n");
    unreadable.remove("/sys/class/net/eth0/queues/rx-0/rps_cpus");
    unreadable.write("/sys/class/net/eth0/queues/rx-0/other", "");
    expect(&unreadable.worst("packet-steering"), Status::CannotTell, &["rps_cpus does not exist here"]);
}

#[test]
fn few_queues_to_send_need_a_map_of_processors() {
    let check = "transmit-steering";
    let with = |queues: &[(&str, &str)]| {
        let made = with_queues(1, "f\n");
        for (queue, mask) in queues {
            made.write(&format!("/sys/class/net/eth0/queues/{queue}/xps_cpus"), mask);
        }
        made
    };
    // What the made card's driver has mapped, one queue for all, and one for each.
    expect(&Made::new().worst(check), Status::Pass, &["eth0: 2 queues to send, 4 processors, XPS is on"]);
    let single = with(&[]);
    // The kernel has no map for a single queue.
    single.write("/sys/class/net/eth0/queues/tx-0/tx_timeout", "0\n");
    expect(&single.worst(check), Status::Pass, &["1 queue to send"]);
    let each = with(&[("tx-0", "0\n"), ("tx-1", "0\n"), ("tx-2", "0\n"), ("tx-3", "0\n")]);
    expect(&each.worst(check), Status::Pass, &["4 queues to send"]);
    let none = with(&[("tx-0", "00000000,00000000\n"), ("tx-1", "0\n")]);
    let words = [
        "XPS is off",
        "`echo 5 > /sys/class/net/eth0/queues/tx-0/xps_cpus`, `echo a > /sys/class/net/eth0/queues/tx-1/xps_cpus`",
    ];
    expect(&none.worst(check), Status::Warn, &words);
    none.remove("/sys/devices/system/cpu/online");
    expect(&none.worst(check), Status::Warn, &["`echo MASK > "]);
    // The other map is one too.
    none.write("/sys/class/net/eth0/queues/tx-0/xps_rxqs", "1\n");
    expect(&none.worst(check), Status::Warn, &[]);
    none.write("/sys/class/net/eth0/queues/tx-1/xps_rxqs", "1\n");
    expect(&none.worst(check), Status::Pass, &[]);
    let half = with(&[("tx-0", "3\n"), ("tx-1", "0\n")]);
    expect(&half.worst(check), Status::Warn, &["XPS is off"]);
    half.remove("/sys/class/net/eth0/queues/tx-1/xps_cpus");
    expect(&half.worst(check), Status::CannotTell, &["tx-1/xps_cpus does not exist here"]);
    expect(&with(&[]).worst(check), Status::CannotTell, &["shows no queue to send"]);
}

#[test]
fn boxes_without_a_card_are_not_blamed_for_its_queues() {
    let checks = ["nic-queues", "packet-steering", "transmit-steering", "interrupts"];
    let made = Made::new();
    made.remove("/sys/class/net/eth0/device");
    for check in checks {
        expect(&made.worst(check), Status::CannotTell, &["only virtual interfaces (eth0)"]);
    }
    made.write("/sys/class/net/eth0/operstate", "down\n");
    for check in checks {
        expect(&made.worst(check), Status::Pass, &["no network card is up"]);
    }
    made.remove("/sys/class/net");
    for check in checks {
        expect(&made.worst(check), Status::CannotTell, &["/sys/class/net is not known"]);
    }
    made.write("/sys/class/net/eth0/operstate", "up\n");
    made.write("/proc/self/status", "Name:\tthrong\n");
    for check in checks {
        expect(&made.worst(check), Status::CannotTell, &["no Cpus_allowed_list"]);
    }
}

#[test]
fn interrupts_are_spread_or_all_on_one_processor() {
    let made = Made::new();
    expect(&made.worst("interrupts"), Status::Pass, &["eth0: 4 busy interrupts on 4 processors"]);
    for number in [24, 26, 27] {
        made.write(&format!("/proc/irq/{number}/effective_affinity_list"), "1\n");
    }
    expect(
        &made.worst("interrupts"),
        Status::Warn,
        &["4 busy interrupts on 1 processor", "smp_affinity_list"],
    );
    made.remove("/proc/irq/25");
    expect(&made.worst("interrupts"), Status::CannotTell, &["/proc/irq/25/smp_affinity_list"]);
    made.write("/proc/interrupts", "   CPU0\n 24: 0 0 0 0 PCI-MSI eth0-TxRx-0\n");
    expect(&made.worst("interrupts"), Status::CannotTell, &["no interrupt found"]);
    // A virtio card is found by the numbers that its bus device has.
    made.write("/sys/class/net/devices/msi_irqs/24", "msix\n");
    made.write("/proc/interrupts", "   CPU0\n 24: 7 0 0 0 PCI-MSIX virtio2-input.0\n");
    made.link("/sys/class/net/eth0/device", "../devices/card");
    made.write("/sys/class/net/devices/card/vendor", "0x1af4\n");
    expect(&made.worst("interrupts"), Status::Pass, &["1 busy interrupt on 1 processor"]);
}
