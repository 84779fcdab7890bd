//! Plans for boxes that are directories of text files.

use std::fs;
use std::path::{Path, PathBuf};

use super::*;

/// A box for one test: a directory with `proc/sys` and `etc`.
struct Fake {
    root: PathBuf,
    tree: Tree,
}

impl Fake {
    /// Keys as Linux 6.18 starts with them on 24 GiB, where a server would need more for a million.
    fn new(name: &str) -> Self {
        let root = std::env::temp_dir().join(format!("throng-apply-{}-{name}", std::process::id()));
        drop(fs::remove_dir_all(&root));
        fs::create_dir_all(root.join("etc")).unwrap();
        let made = Fake { tree: Tree::recorded(&root), root };
        for setting in settings() {
            let words: Vec<_> = setting.value.iter().map(u64::to_string).collect();
            made.set(&setting.key, &words.join("\t"));
        }
        made.set("fs.file-max", "2466170");
        made.set("net.core.somaxconn", "4096");
        made.set("net.ipv4.tcp_mem", "287898\t383867\t575796");
        made
    }

    fn set(&self, key: &str, value: &str) {
        let path = self.tree.place(&sysctl_path(key));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, format!("{value}\n")).unwrap();
    }

    fn remove(&self, key: &str) {
        fs::remove_file(self.tree.place(&sysctl_path(key))).unwrap();
    }

    fn get(&self, key: &str) -> String {
        self.tree.sysctl(key).unwrap()
    }

    fn etc(&self) -> PathBuf {
        self.root.join("etc")
    }

    fn file(&self, name: &str) -> String {
        fs::read_to_string(self.etc().join(name)).unwrap()
    }

    fn plan(&self, target: u64) -> Plan {
        Plan::new(&self.tree, &Facts::new(target, 64 << 30, 4096))
    }

    fn apply(&self, target: u64) -> Outcome {
        self.plan(target).carry_out(&self.etc(), &self.tree).unwrap()
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.root));
    }
}

fn keys(plan: &Plan) -> Vec<&str> {
    plan.changes().iter().map(|change| change.key).collect()
}

#[test]
fn only_keys_that_are_short_are_changed() {
    let made = Fake::new("short");
    let plan = made.plan(1_000_000);
    assert_eq!(keys(&plan), ["net.core.somaxconn", "net.ipv4.tcp_mem"]);
    assert!(plan.hindered().is_empty(), "{:?}", plan.hindered());
    let shown = "For 1000000 connections, 2 keys change:\n  \
                 net.core.somaxconn                  4096  ->  65536                   20-accept.conf\n  \
                 net.ipv4.tcp_mem    287898 383867 575796  ->  750000 1000000 1500000  30-tcp-memory.conf\n";
    assert_eq!(plan.render(), shown);
    assert_eq!(made.get("net.core.somaxconn"), "4096", "a plan writes nothing");
}

#[test]
fn a_box_that_is_tuned_needs_nothing() {
    let made = Fake::new("tuned");
    let plan = made.plan(1_000);
    assert!(plan.is_empty());
    assert_eq!(plan.render(), "No key that can be written here is short of what 1000 connections need.\n");
}

#[test]
fn a_plan_is_loaded_written_and_undone() {
    let made = Fake::new("undone");
    let outcome = made.apply(1_000_000);
    assert_eq!((outcome.loaded.len(), outcome.refused.len(), &outcome.before), (2, 0, &None));
    assert_eq!(made.get("net.core.somaxconn"), "65536");
    assert_eq!(made.get("net.ipv4.tcp_mem"), "750000 1000000 1500000");
    let drop_in = files::assignments(&made.file("90-throng.conf"));
    assert_eq!(drop_in.keys().collect::<Vec<_>>(), ["net.core.somaxconn", "net.ipv4.tcp_mem"]);
    assert_eq!(drop_in["net.core.somaxconn"], "65536");
    let undo = files::assignments(&made.file("90-throng.undo"));
    assert_eq!((undo.len(), undo["net.ipv4.tcp_mem"].as_str()), (2, "287898 383867 575796"));
    let said = outcome.to_string();
    assert!(said.contains("90-throng.conf and loaded: 2 of 2 keys.\n"), "{said}");
    let undo_path = made.etc().join("90-throng.undo");
    assert!(said.contains(&format!("  sysctl -p {}\n", undo_path.display())), "{said}");
    assert!(made.plan(1_000_000).is_empty(), "a second plan has nothing to do");
}

#[test]
fn the_file_that_undoes_keeps_the_values_before_the_first_of_two_plans() {
    let made = Fake::new("twice");
    made.apply(1_000_000);
    let second = made.apply(2_000_000);
    let undo = files::assignments(&made.file("90-throng.undo"));
    assert_eq!(undo["net.ipv4.tcp_mem"], "287898 383867 575796", "not the first plan's");
    assert_eq!(undo["fs.file-max"], "2466170", "which only the second plan changed");
    assert_eq!(second.before.as_deref(), Some(made.etc().join("90-throng.conf.before").as_path()));
    assert!(made.file("90-throng.conf.before").contains("For 1000000 connections"));
    assert!(second.to_string().contains("is kept as"));
    // somaxconn is enough because of the first drop-in, and has to be in the second one too.
    let drop_in = files::assignments(&made.file("90-throng.conf"));
    assert_eq!(drop_in["net.core.somaxconn"], "65536");
    assert_eq!(drop_in["net.ipv4.tcp_mem"], "1500000 2000000 3000000");
    assert_eq!(drop_in["fs.file-max"], "4000000");
}

#[test]
fn what_is_better_than_needed_is_neither_lowered_nor_written() {
    let made = Fake::new("better");
    made.set("fs.file-max", "9223372036854775807");
    made.set("net.ipv4.tcp_mem", "100\t9000000\t9000001");
    made.apply(1_000_000);
    assert_eq!(made.get("fs.file-max"), "9223372036854775807");
    assert_eq!(made.get("net.ipv4.tcp_mem"), "750000 9000000 9000001");
    assert!(!files::assignments(&made.file("90-throng.conf")).contains_key("fs.file-max"));
}

#[test]
fn keys_that_are_not_there_are_told_with_the_reason_and_in_no_file() {
    let made = Fake::new("absent");
    for key in ["net.netfilter.nf_conntrack_max", "net.netfilter.nf_conntrack_buckets", "net.ipv4.tcp_mem"] {
        made.remove(key);
    }
    made.remove("net.ipv4.tcp_child_ehash_entries");
    let plan = made.plan(1_000_000);
    let hindered: Vec<_> = plan.hindered().iter().map(|hindered| hindered.key).collect();
    let absent = ["net.ipv4.tcp_mem", "net.netfilter.nf_conntrack_max", "net.netfilter.nf_conntrack_buckets"];
    assert_eq!(hindered, absent);
    let shown = plan.render();
    assert!(
        shown.contains(
            "  net.ipv4.tcp_mem: unknown, needed 750000 1000000 1500000\n    this network namespace"
        )
    );
    assert_eq!(shown.matches("nf_conntrack is not loaded").count(), 1, "{shown}");
    made.apply(1_000_000);
    assert_eq!(files::assignments(&made.file("90-throng.conf")).len(), 1);
}

#[test]
fn keys_that_nobody_can_write_say_what_to_do_instead() {
    let made = Fake::new("instead");
    made.set("net.ipv4.tcp_ehash_entries", "-262144");
    let plan = made.plan(1_000_000);
    let hindered = &plan.hindered()[0];
    assert_eq!((hindered.key, hindered.found.as_deref()), ("net.ipv4.tcp_ehash_entries", Some("-262144")));
    assert_eq!(hindered.wanted, "524288");
    assert!(hindered.why.starts_with("thash_entries="), "{}", hindered.why);
}

#[test]
fn a_key_that_holds_no_numbers_is_told_and_left() {
    let made = Fake::new("garbage");
    made.set("net.core.somaxconn", "many");
    let plan = made.plan(1_000_000);
    assert_eq!(keys(&plan), ["net.ipv4.tcp_mem"]);
    assert!(plan.render().contains("net.core.somaxconn: many, needed 65536\n    it holds `many`"));
}

#[test]
fn a_key_that_the_kernel_refuses_is_told_and_in_no_file() {
    let made = Fake::new("refused");
    let plan = made.plan(1_000_000);
    // The key goes away between the plan and its being carried out.
    made.remove("net.core.somaxconn");
    let outcome = plan.carry_out(&made.etc(), &made.tree).unwrap();
    assert_eq!((outcome.loaded.len(), outcome.refused.len()), (1, 1));
    let said = outcome.to_string();
    assert!(said.contains("loaded: 1 of 2 keys.\n"), "{said}");
    assert!(
        said.contains("Not loaded: net.core.somaxconn stays at 4096 (wanted 65536): it is gone\n"),
        "{said}"
    );
    assert_eq!(
        files::assignments(&made.file("90-throng.conf")).keys().collect::<Vec<_>>(),
        ["net.ipv4.tcp_mem"]
    );
}

#[test]
fn a_key_that_another_user_may_not_write_asks_for_root() {
    let made = Fake::new("user");
    fs::create_dir_all(made.root.join("proc/self")).unwrap();
    fs::write(made.root.join("proc/self/status"), "Name:\tthrong\nUid:\t1000\t1000\t1000\t1000\n").unwrap();
    let denied = std::io::Error::from_raw_os_error(libc::EACCES);
    assert_eq!(Writer::of(&made.tree).hindrance(&denied), "only root may write it: run this as root");
}

#[test]
fn a_directory_that_cannot_be_written_changes_nothing_and_says_what_to_do() {
    let made = Fake::new("etc");
    let plan = made.plan(1_000_000);
    let blocked = made.root.join("file");
    fs::write(&blocked, "").unwrap();
    for etc in [blocked.as_path(), Path::new("/proc/throng-has-no-such-directory/etc")] {
        let failure = plan.carry_out(etc, &made.tree).unwrap_err();
        let said = failure.to_string();
        assert!(said.starts_with(&format!("{} cannot be written: ", etc.display())), "{said}");
        assert!(said.contains("`throng doctor --target 1000000 --print-sysctl > FILE`"), "{said}");
    }
    assert_eq!(made.get("net.core.somaxconn"), "4096");
}

#[test]
fn a_missing_directory_is_made() {
    let made = Fake::new("made");
    fs::remove_dir(made.etc()).unwrap();
    made.apply(1_000_000);
    assert!(made.etc().join("90-throng.conf").is_file());
}
