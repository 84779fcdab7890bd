//! The sysctl keys that connections depend on: what `sysctl/*.conf` says of each, for any number.
//!
//! The shipped files are the only place where a key, its reason and its arithmetic are written. The
//! checks of `throng doctor`, `--print-sysctl` and `--apply` all read them here, out of the binary.
//!
//! Invariants: each key stands once and belongs to one check of [`CHECKS`], and the number shipped is
//! the arithmetic's for 1,000,000 connections on a box of 64 GiB.

mod arithmetic;
mod parse;
mod print;
mod rule;

use std::sync::OnceLock;

pub use print::{drop_in, print};
pub use rule::{Facts, Judgement, TARGET_MAX};

use crate::host::tree::Tree;
use rule::{Rule, joined};

/// The shipped files by name, in the order in which `sysctl --system` reads them.
const FILES: [(&str, &str); 9] = [
    ("10-descriptors.conf", include_str!("../../../sysctl/10-descriptors.conf")),
    ("20-accept.conf", include_str!("../../../sysctl/20-accept.conf")),
    ("30-tcp-memory.conf", include_str!("../../../sysctl/30-tcp-memory.conf")),
    ("40-buffers.conf", include_str!("../../../sysctl/40-buffers.conf")),
    ("50-ports.conf", include_str!("../../../sysctl/50-ports.conf")),
    ("60-timeouts.conf", include_str!("../../../sysctl/60-timeouts.conf")),
    ("70-conntrack.conf", include_str!("../../../sysctl/70-conntrack.conf")),
    ("80-established-hash.conf", include_str!("../../../sysctl/80-established-hash.conf")),
    ("90-vm.conf", include_str!("../../../sysctl/90-vm.conf")),
];

/// The checks of `throng doctor` that read keys.
pub const CHECKS: [&str; 17] = [
    "descriptor-limit",
    "open-files",
    "epoll-watches",
    "accept-queue",
    "syn-queue",
    "migrate",
    "network-queue",
    "tcp-memory",
    "orphans",
    "socket-buffers",
    "latency",
    "port-range",
    "time-wait",
    "keep-alive",
    "conntrack",
    "established-hash",
    "mappings",
];

/// How far the value of a key reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// There is one for the whole box: a network namespace of its own does not have the key, or has it
    /// to be read only, so that it is set on the host.
    Box,
    /// Each network namespace has one of its own, which can be written there.
    Namespace,
}

/// One key of the shipped files.
#[derive(Debug, Clone)]
pub struct Setting {
    /// Its name, such as `net.core.somaxconn`.
    pub key: String,
    /// The shipped file that it stands in.
    pub file: &'static str,
    /// What it is, in a few words.
    pub title: String,
    /// Why it is as it is, with the symptom that one sees otherwise.
    pub why: String,
    /// What its numbers count.
    pub unit: String,
    /// What a larger value costs.
    pub cost: String,
    /// What Linux starts with.
    pub default: String,
    /// Where that can be read.
    pub source: String,
    /// The check of `throng doctor` that reads it.
    pub check: String,
    /// How far its value reaches.
    pub scope: Scope,
    /// What it must be, as written.
    pub needs: String,
    /// What to do instead of writing it, for a key that is left alone or that nobody can write.
    pub instead: Option<String>,
    /// Whether a box may be without it.
    pub is_optional: bool,
    /// The shipped numbers.
    pub value: Vec<u64>,
    rule: Rule,
}

/// Every key of the shipped files, in their order.
pub fn settings() -> &'static [Setting] {
    static SETTINGS: OnceLock<Vec<Setting>> = OnceLock::new();
    SETTINGS.get_or_init(|| {
        let parsed = FILES.iter().map(|(file, text)| parse::parse(file, text));
        let parsed: Result<Vec<_>, _> = parsed.collect();
        // The files are part of the binary, and a test parses them.
        parsed.unwrap_or_else(|error| panic!("shipped file {error}")).concat()
    })
}

/// The keys that `check` reads.
pub fn of_check(check: &str) -> impl Iterator<Item = &'static Setting> {
    settings().iter().filter(move |setting| setting.check == check)
}

/// The key named `key`.
pub fn named(key: &str) -> Option<&'static Setting> {
    settings().iter().find(|setting| setting.key == key)
}

impl Facts {
    /// The same with every key that `tree` shows.
    #[must_use]
    pub fn with_found(mut self, tree: &Tree) -> Self {
        let texts = settings().iter().filter_map(|s| Some((s.key.clone(), tree.sysctl(&s.key).ok()?)));
        self.found = texts.collect();
        self
    }
}

impl Setting {
    /// What the key should hold: one to three numbers. A number of `facts.found` that is enough stays.
    pub fn wanted(&self, facts: &Facts) -> Vec<u64> {
        let found = facts.found.get(&self.key).and_then(|text| self.rule.numbers(text));
        self.rule.wanted(found.as_deref(), &facts.names())
    }

    /// As [`Setting::wanted`], as the key takes it.
    pub fn wanted_text(&self, facts: &Facts) -> String {
        joined(&self.wanted(facts))
    }

    /// Whether `found`, the key's text, is enough for `facts.target` connections.
    pub fn judge(&self, found: &str, facts: &Facts) -> Judgement {
        self.rule.judge(found, &facts.names())
    }

    /// What it must be, with the numbers filled in: `at least 2 * 1000000 = 2000000`.
    pub fn explained(&self, facts: &Facts) -> String {
        self.rule.explained(&facts.names())
    }

    /// Most connections for which `found` is enough, if more connections ever need more of the key.
    pub fn connections(&self, found: &str, facts: &Facts) -> Option<u64> {
        let is_met = |target| {
            let facts = Facts { target, ..facts.clone() };
            self.judge(found, &facts) == Judgement::Met
        };
        if is_met(TARGET_MAX) {
            return None;
        }
        // `low` is enough or 0, `high` is too many.
        let (mut low, mut high) = (0, TARGET_MAX);
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            if is_met(middle) { low = middle } else { high = middle }
        }
        Some(low)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// The box that the shipped numbers are for.
    fn reference() -> Facts {
        Facts::new(1_000_000, 64 << 30, 4096)
    }

    fn setting(key: &str) -> &'static Setting {
        named(key).unwrap_or_else(|| panic!("{key} is in no file"))
    }

    #[test]
    fn every_shipped_file_parses_and_no_other_file_is_there() {
        for (file, text) in FILES {
            let parsed = parse::parse(file, text).unwrap_or_else(|error| panic!("{error}"));
            assert!(!parsed.is_empty(), "{file}");
            assert!(text.starts_with("# ") && text.contains("1,000,000 connections"), "{file}");
            // Copying a file in which nothing is assigned would do nothing.
            let is_assigned = parsed.iter().any(|setting| setting.instead.is_none());
            assert_eq!(
                text.contains(&format!("\n#    cp sysctl/{file} /etc/sysctl.d/")),
                is_assigned,
                "{file}"
            );
            assert_eq!(text.contains("\n# Nothing here is assigned"), !is_assigned, "{file}");
        }
        let shipped = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/sysctl")).unwrap();
        let shipped: BTreeSet<_> = shipped.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        assert_eq!(shipped, FILES.iter().map(|(file, _)| (*file).to_owned()).collect());
    }

    #[test]
    fn every_shipped_number_is_the_arithmetic_s_for_a_million_connections() {
        for setting in settings() {
            assert_eq!(setting.value, setting.wanted(&reference()), "{}", setting.key);
        }
    }

    #[test]
    fn every_key_stands_once() {
        let keys: BTreeSet<_> = settings().iter().map(|setting| &setting.key).collect();
        assert_eq!(keys.len(), settings().len());
    }

    #[test]
    fn every_key_has_a_check_and_every_check_a_key() {
        let named: BTreeSet<_> = settings().iter().map(|setting| setting.check.as_str()).collect();
        assert_eq!(named, CHECKS.into());
    }

    #[test]
    fn keys_that_are_best_left_alone_are_there_and_not_assigned() {
        let alone = settings().iter().filter(|setting| setting.instead.is_some());
        let alone: BTreeSet<_> = alone.map(|setting| setting.key.as_str()).collect();
        let expected = [
            "net.ipv4.tcp_child_ehash_entries",
            "net.ipv4.tcp_ehash_entries",
            "net.ipv4.tcp_fin_timeout",
            "net.ipv4.tcp_keepalive_intvl",
            "net.ipv4.tcp_keepalive_probes",
            "net.ipv4.tcp_keepalive_time",
            "net.ipv4.tcp_notsent_lowat",
            "net.ipv4.tcp_orphan_retries",
            "net.ipv4.tcp_retries2",
            "net.ipv4.tcp_rmem",
            "net.ipv4.tcp_slow_start_after_idle",
            "net.ipv4.tcp_tw_reuse",
            "net.ipv4.tcp_wmem",
        ];
        assert_eq!(alone, expected.into());
    }

    #[test]
    fn keys_of_the_whole_box_are_told_from_those_of_a_network_namespace() {
        // As `unshare -n ls -l /proc/sys/net/...` shows them on Linux 6.18: absent, or not writable.
        let of_box = settings().iter().filter(|s| s.scope == Scope::Box && s.key.starts_with("net."));
        let of_box: BTreeSet<_> = of_box.map(|setting| setting.key.as_str()).collect();
        let expected = [
            "net.core.netdev_max_backlog",
            "net.core.rmem_max",
            "net.core.wmem_max",
            "net.ipv4.tcp_ehash_entries",
            "net.ipv4.tcp_max_orphans",
            "net.ipv4.tcp_mem",
            "net.netfilter.nf_conntrack_buckets",
            "net.netfilter.nf_conntrack_max",
        ];
        assert_eq!(of_box, expected.into());
        for setting in settings().iter().filter(|setting| !setting.key.starts_with("net.")) {
            assert_eq!(setting.scope, Scope::Box, "{}", setting.key);
        }
    }

    #[test]
    fn what_is_better_than_needed_is_wanted_as_it_is() {
        let mut facts = reference();
        facts.found.insert("fs.file-max".to_owned(), "9223372036854775807\n".to_owned());
        facts.found.insert("net.ipv4.tcp_mem".to_owned(), "100 2000000 300\n".to_owned());
        assert_eq!(setting("fs.file-max").wanted_text(&facts), "9223372036854775807");
        assert_eq!(setting("net.ipv4.tcp_mem").wanted(&facts), [750_000, 2_000_000, 1_500_000]);
    }

    #[test]
    fn tcp_never_gets_more_than_a_quarter_of_a_small_box() {
        let small = Facts::new(1_000_000, 4 << 30, 4096);
        assert_eq!(setting("net.ipv4.tcp_mem").wanted(&small), [131_072, 174_762, 262_144]);
    }

    #[test]
    fn every_key_says_how_many_connections_a_value_is_enough_for() {
        let enough = |key: &str, found: &str| setting(key).connections(found, &reference());
        assert_eq!(enough("fs.file-max", "2466170"), Some(1_233_085));
        assert_eq!(enough("net.ipv4.tcp_ehash_entries", "-262144"), Some(524_289));
        assert_eq!(enough("fs.file-max", "9223372036854775807"), None);
        assert_eq!(enough("net.ipv4.tcp_migrate_req", "0"), Some(0));
        assert_eq!(enough("net.ipv4.tcp_rmem", "1 1 1"), None);
    }

    #[test]
    fn the_largest_target_fits_in_the_kernel_s_numbers() {
        let huge = Facts::new(u64::MAX, u64::MAX, 4096);
        for setting in settings().iter().filter(|setting| setting.key != "net.ipv4.tcp_notsent_lowat") {
            for number in setting.wanted(&huge) {
                assert!(number < 1 << 31, "{} = {number}", setting.key);
            }
        }
        // Buckets of 8 bytes in a table of less than 2^31. Source: Linux `nf_ct_alloc_hashtable`.
        assert_eq!(setting("net.netfilter.nf_conntrack_buckets").wanted(&huge), [1 << 27]);
    }
}
