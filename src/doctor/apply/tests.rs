//! Plans for boxes that are directories of text files.

use std::fs;
use std::path::PathBuf;

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
        fs::create_dir_all(root.join("etc/sysctl.d")).unwrap();
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
        self.root.join("etc/sysctl.d")
    }

    fn file(&self, name: &str) -> String {
        fs::read_to_string(self.etc().join(name)).unwrap()
    }

    fn plan(&self, target: u64) -> Plan {
        Plan::new(&self.tree, &Facts::new(target, 64 << 30, 4096))
    }

    fn apply(&self, target: u64) -> Outcome {
        self.plan(target).carry_out(&self.tree).unwrap()
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.root));
    }
}

fn keys(plan: &Plan) -> Vec<&str> {
    plan.changes.iter().map(|change| change.key).collect()
}

#[test]
fn only_keys_that_are_short_are_changed() {
    let made = Fake::new("short");
    let plan = made.plan(1_000_000);
    assert_eq!(keys(&plan), ["net.core.somaxconn", "net.ipv4.tcp_mem"]);
    assert!(plan.hindered.is_empty(), "{:?}", plan.hindered);
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
    assert_eq!(second.before, None, "there was none before the first");
    assert_eq!(second.replaced, Some(made.etc().join("90-throng.conf.replaced")));
    assert!(made.file("90-throng.conf.replaced").contains("For 1000000 connections"));
    assert!(second.to_string().contains("is kept as"));
    // somaxconn is enough because of the first drop-in, and has to be in the second one too.
    let drop_in = files::assignments(&made.file("90-throng.conf"));
    assert_eq!(drop_in["net.core.somaxconn"], "65536");
    assert_eq!(drop_in["net.ipv4.tcp_mem"], "1500000 2000000 3000000");
    assert_eq!(drop_in["fs.file-max"], "4000000");
}

#[test]
fn a_plan_that_was_made_before_another_was_carried_out_undoes_nothing_of_it() {
    let made = Fake::new("stale");
    let stale = made.plan(1_000_000);
    made.apply(2_000_000);
    let outcome = stale.carry_out(&made.tree).unwrap();
    assert_eq!((outcome.loaded.len(), outcome.refused.len()), (0, 0));
    assert_eq!(made.get("net.ipv4.tcp_mem"), "1500000 2000000 3000000");
    assert_eq!(
        files::assignments(&made.file("90-throng.conf"))["net.ipv4.tcp_mem"],
        "1500000 2000000 3000000"
    );
}

#[test]
fn plans_that_are_carried_out_at_once_leave_whole_files_and_the_first_values() {
    let made = Fake::new("at-once");
    std::thread::scope(|scope| {
        for target in [1_000_000, 2_000_000, 1_500_000, 2_000_000] {
            let made = &made;
            scope.spawn(move || made.apply(target));
        }
    });
    let undo = files::assignments(&made.file("90-throng.undo"));
    assert_eq!(undo["net.ipv4.tcp_mem"], "287898 383867 575796");
    assert_eq!(made.get("net.ipv4.tcp_mem"), "1500000 2000000 3000000");
    assert_eq!(
        files::assignments(&made.file("90-throng.conf"))["net.ipv4.tcp_mem"],
        "1500000 2000000 3000000"
    );
    let left = fs::read_dir(made.etc()).unwrap().map(|entry| entry.unwrap().file_name());
    let left: Vec<_> =
        left.map(|name| name.into_string().unwrap()).filter(|name| name.ends_with("new")).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_plan_waits_for_the_one_that_is_carried_out() {
    let made = Fake::new("waits");
    let lock = files::lock(&made.etc()).unwrap();
    std::thread::scope(|scope| {
        let second = scope.spawn(|| made.apply(1_000_000));
        // The lock's holder goes on changing keys: what it has made enough is not the second's to write.
        made.set("net.ipv4.tcp_mem", "750000\t1000000\t1500000");
        drop(lock);
        let second = second.join().unwrap();
        assert_eq!(keys_of(&second), ["net.core.somaxconn"]);
    });
}

fn keys_of(outcome: &Outcome) -> Vec<&str> {
    outcome.loaded.iter().map(|change| change.key).collect()
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
    let hindered: Vec<_> = plan.hindered.iter().map(|hindered| hindered.key).collect();
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
    let hindered = &plan.hindered[0];
    assert_eq!((hindered.key, hindered.found.as_deref()), ("net.ipv4.tcp_ehash_entries", Some("-262144")));
    assert_eq!(hindered.wanted, "524288");
    assert!(hindered.why.starts_with("thash_entries=524288 on the kernel"), "{}", hindered.why);
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
    let outcome = plan.carry_out(&made.tree).unwrap();
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
    let setting = crate::doctor::sysctl::named("net.core.somaxconn").unwrap();
    assert_eq!(
        Writer::of(&made.tree).hindrance(setting, &denied),
        "only root may write it: run this as root"
    );
}

#[test]
fn a_directory_that_cannot_be_written_changes_nothing_and_says_what_to_do() {
    let made = Fake::new("etc");
    let plan = made.plan(1_000_000);
    for etc in ["etc/sysctl.d", "etc"] {
        // A file in its place, which root cannot write into either.
        fs::remove_dir(made.root.join(etc)).unwrap();
        fs::write(made.root.join(etc), "").unwrap();
        let said = plan.carry_out(&made.tree).unwrap_err().to_string();
        fs::remove_file(made.root.join(etc)).unwrap();
        assert!(said.starts_with(&format!("{} cannot be written: ", made.etc().display())), "{said}");
        assert!(said.contains("`throng doctor --target 1000000 --print-sysctl > FILE`"), "{said}");
    }
    assert_eq!(made.get("net.core.somaxconn"), "4096");
}

#[test]
fn a_pipe_in_the_place_of_a_file_is_refused_and_not_waited_for() {
    let made = Fake::new("pipe");
    let plan = made.plan(1_000_000);
    let undo = made.etc().join("90-throng.undo");
    assert!(std::process::Command::new("mkfifo").arg(&undo).status().unwrap().success());
    let failure = plan.carry_out(&made.tree).unwrap_err();
    assert_eq!((failure.path, failure.error.to_string().as_str()), (undo, "it is no regular file"));
    assert_eq!(made.get("net.core.somaxconn"), "4096");
}

#[test]
fn a_missing_directory_is_made() {
    let made = Fake::new("made");
    fs::remove_dir_all(made.root.join("etc")).unwrap();
    made.apply(1_000_000);
    assert!(made.etc().join("90-throng.conf").is_file());
}

#[test]
fn a_drop_in_that_somebody_had_is_put_back_by_undoing_however_many_plans_came_after() {
    let made = Fake::new("somebody");
    fs::write(made.etc().join("90-throng.conf"), "vm.swappiness = 1\n").unwrap();
    let commands = |outcome: &Outcome| {
        let etc = made.etc().display().to_string();
        let said = outcome.to_string();
        let (_, commands) = said.split_once("To go back to the values before:\n").unwrap();
        let undo = made.file("90-throng.undo");
        for command in commands.lines() {
            assert!(undo.contains(&format!("\n#    {}\n", command.trim())), "{command} in {undo}");
        }
        commands.replace(&format!("{etc}/"), "")
    };
    let expected =
        "  sysctl -p 90-throng.undo\n  mv 90-throng.conf.before 90-throng.conf\n  rm 90-throng.undo\n";
    assert_eq!(commands(&made.apply(1_000_000)), expected);
    assert_eq!(commands(&made.apply(2_000_000)), expected);
    assert_eq!(made.file("90-throng.conf.before"), "vm.swappiness = 1\n");
    // Undone, nothing is left of it but the copies.
    fs::remove_file(made.etc().join("90-throng.undo")).unwrap();
    fs::remove_file(made.etc().join("90-throng.conf")).unwrap();
    made.set("fs.file-max", "2466170");
    assert!(commands(&made.apply(3_000_000)).ends_with("  rm 90-throng.conf 90-throng.undo\n"));
}

#[test]
fn drop_ins_that_are_read_later_and_set_less_are_told() {
    let made = Fake::new("later");
    let write = |file: &str, text: &str| {
        let path = made.root.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    let told = |plan: &Plan| {
        let later = plan.later.iter();
        later.map(|later| format!("{}: {} = {}", later.file, later.key, later.value)).collect::<Vec<_>>()
    };
    let somaxconn = |value: u64| format!("net.core.somaxconn = {value}\n");
    // Read earlier, not read at all, of another key, and enough.
    write("etc/sysctl.d/90-throng.conf", "");
    write("usr/lib/sysctl.d/50-default.conf", &somaxconn(1));
    write("usr/lib/sysctl.d/99-old.conf.bak", &somaxconn(2));
    write("run/sysctl.d/95-other.conf", "net.ipv4.ip_forward=1\n-net.core.somaxconn = 70000\n");
    assert_eq!(told(&made.plan(1_000_000)), [""; 0]);
    assert!(!made.plan(1_000_000).leaves_short());
    // Short, with a second one that is hidden by a file of the same name in an earlier directory.
    write("etc/sysctl.d/99-tuned.conf", "net/core/somaxconn=128\n");
    write("usr/lib/sysctl.d/99-tuned.conf", &somaxconn(3));
    write("etc/sysctl.conf", "net.ipv4.tcp_mem = 1\t2 3\n");
    // What distributions link to it is the same file.
    std::os::unix::fs::symlink("../sysctl.conf", made.etc().join("99-sysctl.conf")).unwrap();
    let plan = made.plan(1_000_000);
    assert_eq!(
        told(&plan),
        [
            "/etc/sysctl.d/99-tuned.conf: net.core.somaxconn = 128",
            "/etc/sysctl.conf: net.ipv4.tcp_mem = 1 2 3"
        ]
    );
    assert!(plan.leaves_short());
    let line = "  /etc/sysctl.d/99-tuned.conf also sets net.core.somaxconn = 128 and is read later: remove it there \
                (needed 65536)\n";
    assert!(plan.render().contains(line), "{}", plan.render());
    // After it was loaded, too: the keys are those of the drop-in then.
    made.apply(1_000_000);
    let plan = made.plan(1_000_000);
    assert!(plan.is_empty() && plan.leaves_short());
    assert_eq!(told(&plan).len(), 2);
    // The last one decides.
    write("etc/sysctl.conf", &somaxconn(65_536));
    assert_eq!(told(&made.plan(1_000_000)), [""; 0]);
}

#[test]
fn where_connections_are_tracked_the_module_has_to_be_there_at_boot() {
    let made = Fake::new("tracked");
    let modules = "echo nf_conntrack > /etc/modules-load.d/throng.conf";
    for (count, is_told) in [("0", false), ("7", true)] {
        made.set("net.netfilter.nf_conntrack_max", "262144");
        made.set("net.netfilter.nf_conntrack_count", count);
        let outcome = made.apply(1_000_000);
        assert!(outcome.loaded.iter().any(|change| change.key == "net.netfilter.nf_conntrack_max"));
        assert_eq!(outcome.to_string().contains(modules), is_told, "{outcome}");
    }
    // Nothing of it is set.
    assert!(!made.apply(1_000_000).to_string().contains(modules));
}

#[test]
fn with_the_clients_on_the_box_what_is_asked_is_said_as_it_was() {
    let made = Fake::new("clients");
    let facts = Facts { ends: 2, ..Facts::new(100_000, 64 << 30, 4096) };
    assert!(Plan::new(&made.tree, &facts).render().starts_with("For 100000 connections and their clients, "));
    fs::remove_dir_all(made.etc()).unwrap();
    fs::write(made.etc(), "").unwrap();
    let said = Plan::new(&made.tree, &facts).carry_out(&made.tree).unwrap_err().to_string();
    assert!(said.contains("`throng doctor --target 100000 --with-clients --print-sysctl > FILE`"), "{said}");
}
