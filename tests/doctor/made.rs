//! A box that a test makes: everything passes for [`TARGET`] connections, until a file is changed.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use throng::doctor::sysctl::{Facts, settings};
use throng::doctor::{Finding, Report, Setup, Status, examine};
use throng::host::tree::{Tree, sysctl_path};

use crate::common::Scratch;

/// Connections that the box holds without a warning.
pub const TARGET: u64 = 100_000;

/// Memory of the box.
const MEMORY_BYTES: u64 = 8 << 30;

/// A box of its own for one test.
pub struct Made {
    scratch: Scratch,
    /// What the doctor is asked.
    pub setup: Setup,
}

impl Made {
    /// A box with four processors, a network card, a target of [`TARGET`] and queues for so many.
    pub fn new() -> Self {
        let setup = Setup { target: Some(TARGET), shards: 4, listen_backlog: 8_192, ..Setup::default() };
        let made = Made { scratch: Scratch::new(), setup };
        let facts = Facts::new(TARGET, MEMORY_BYTES, 4096);
        for setting in settings() {
            made.write(&sysctl_path(&setting.key), &setting.wanted_text(&facts));
        }
        for (path, text) in FILES {
            made.write(path, text);
        }
        made.link("/sys/class/net/eth0/device", "../../../devices/card");
        made.process("self", "ns/net", "net:[4026531840]");
        made
    }

    /// Writes a file of the box.
    pub fn write(&self, path: &str, text: &str) {
        let place = self.place(path);
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        fs::write(place, text).unwrap();
    }

    /// Makes a symbolic link of the box.
    pub fn link(&self, path: &str, target: &str) {
        let place = self.place(path);
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        drop(fs::remove_file(&place));
        symlink(target, place).unwrap();
    }

    /// A link of a process, by its number or `self`.
    pub fn process(&self, process: &str, path: &str, target: &str) {
        self.link(&format!("/proc/{process}/{path}"), target);
    }

    /// Sets a key.
    pub fn set(&self, key: &str, value: &str) {
        self.write(&sysctl_path(key), value);
    }

    /// Takes a file or a directory away.
    pub fn remove(&self, path: &str) {
        let place = self.place(path);
        if place.is_dir() { fs::remove_dir_all(place).unwrap() } else { fs::remove_file(place).unwrap() }
    }

    /// The box as the doctor sees it.
    pub fn tree(&self) -> Tree {
        Tree::recorded(self.scratch.path())
    }

    /// Everything that the doctor says.
    pub fn report(&self) -> Report {
        examine(&self.tree(), &self.setup)
    }

    /// The findings of one check.
    pub fn findings(&self, check: &str) -> Vec<Finding> {
        self.report().findings.into_iter().filter(|finding| finding.check == check).collect()
    }

    /// The worst finding of one check.
    pub fn worst(&self, check: &str) -> Finding {
        let findings = self.findings(check);
        findings
            .into_iter()
            .min_by_key(|finding| finding.status as u8)
            .unwrap_or_else(|| panic!("no {check}"))
    }

    /// Where a file of the box is.
    pub fn place(&self, path: &str) -> PathBuf {
        self.scratch.path().join(&path[1..])
    }
}

/// Asserts how `finding` ended and that each of `words` is somewhere in it.
#[track_caller]
pub fn expect(finding: &Finding, status: Status, words: &[&str]) {
    let all = format!("{finding:?}");
    assert_eq!(finding.status, status, "{all}");
    for word in words {
        assert!(all.contains(word), "`{word}` is not in {all}");
    }
}

/// What is on the box beside the shipped keys.
const FILES: [(&str, &str); 28] = [
    (
        "/proc/self/limits",
        "Limit  Soft Limit  Hard Limit  Units\nMax processes  30000  30000  processes\nMax open files  1024  65536  files\n",
    ),
    (
        "/proc/self/status",
        "Name:\tthrong\nUid:\t1000\t1000\t1000\t1000\nCapEff:\t0000000000000000\nSeccomp:\t0\nCpus_allowed_list:\t0-3\n",
    ),
    ("/proc/self/uid_map", "         0          0 4294967295\n"),
    ("/proc/self/cgroup", "0::/user.slice\n"),
    ("/proc/self/mountinfo", "41 31 0:38 / /sys/fs/cgroup rw,relatime - cgroup2 cgroup2 rw\n"),
    ("/proc/self/net/sockstat", "sockets: used 20\nTCP: inuse 7 orphan 0 tw 2 alloc 9 mem 3\n"),
    ("/proc/self/net/snmp", "Tcp: RtoMin CurrEstab InSegs\nTcp: 200 7 99\n"),
    ("/proc/self/net/netstat", "TcpExt: SyncookiesSent ListenOverflows ListenDrops\nTcpExt: 0 12 13\n"),
    ("/proc/meminfo", "MemTotal:        8388608 kB\nMemFree:  1 kB\nMemAvailable:    6291456 kB\n"),
    ("/proc/sys/fs/file-nr", "1000\t0\t200000\n"),
    ("/proc/sys/fs/epoll/max_user_watches", "400000\n"),
    ("/proc/sys/kernel/threads-max", "60000\n"),
    ("/proc/sys/kernel/osrelease", "6.18.44-generic\n"),
    ("/proc/sys/net/netfilter/nf_conntrack_count", "0\n"),
    (
        "/proc/interrupts",
        "           CPU0       CPU1       CPU2       CPU3\n 24:  5  0  0  0  PCI-MSI  eth0-TxRx-0\n 25:  0  5  0  0  PCI-MSI  eth0-TxRx-1\n\
         26:  0  0  5  0  PCI-MSI  eth0-TxRx-2\n 27:  0  0  0  5  PCI-MSI  eth0-TxRx-3\n 28:  0  0  0  0  PCI-MSI  eth0-config\nNMI: 0 0 0 0 Non-maskable\n",
    ),
    ("/proc/irq/24/smp_affinity_list", "0\n"),
    ("/proc/irq/25/effective_affinity_list", "1\n"),
    ("/proc/irq/26/smp_affinity_list", "2\n"),
    ("/proc/irq/27/smp_affinity_list", "3\n"),
    ("/sys/class/net/lo/operstate", "unknown\n"),
    ("/sys/class/net/eth0/operstate", "up\n"),
    ("/sys/class/net/eth0/queues/rx-0/rps_cpus", "0\n"),
    ("/sys/class/net/eth0/queues/rx-1/rps_cpus", "0\n"),
    ("/sys/class/net/eth0/queues/tx-0/xps_cpus", "5\n"),
    ("/sys/class/net/eth0/queues/tx-1/xps_cpus", "a\n"),
    ("/sys/devices/system/cpu/online", "0-3\n"),
    ("/sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never\n"),
    ("/sys/devices/system/clocksource/clocksource0/current_clocksource", "tsc\n"),
];
