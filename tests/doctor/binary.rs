//! The command line: exit codes, JSON, help, and what is refused.

use std::process::{Command, Output};

use serde_json::Value;

use crate::common::{Scratch, Server};
use crate::made::{Made, TARGET};

fn doctor(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_throng")).arg("doctor").args(arguments).output().unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// A directory of `trees/`.
fn recorded(tree: &str) -> String {
    format!("{}/tests/doctor/trees/{tree}", env!("CARGO_MANIFEST_DIR"))
}

/// The doctor's JSON of a made box, and its exit code.
fn json_of(made: &Made, more: &[&str]) -> (Value, i32) {
    made.write("/throng.toml", "[socket]\nlisten_backlog = 8192\n");
    let (root, config) = (made.place("/"), made.place("/throng.toml"));
    let target = TARGET.to_string();
    let mut arguments =
        vec!["--root", root.to_str().unwrap(), "--target", &target, "--shards", "4", "--json"];
    arguments.extend(["--config", config.to_str().unwrap()]);
    arguments.extend(more);
    let output = doctor(&arguments);
    (serde_json::from_slice(&output.stdout).unwrap(), code(&output))
}

#[test]
fn the_exit_code_is_the_worst_status() {
    let made = Made::new();
    for queue in ["rx-0", "rx-1"] {
        made.write(&format!("/sys/class/net/eth0/queues/{queue}/rps_cpus"), "f\n");
    }
    let (passed, exit) = json_of(&made, &[]);
    assert_eq!((passed["status"].as_str().unwrap(), exit), ("pass", 0), "{passed:#}");
    made.set("net.core.somaxconn", "128");
    let (warned, exit) = json_of(&made, &[]);
    assert_eq!((warned["status"].as_str().unwrap(), exit), ("warn", 1));
    made.set("fs.file-max", "5000");
    let (failed, exit) = json_of(&made, &[]);
    assert_eq!(
        (failed["status"].as_str().unwrap(), failed["exit_code"].as_i64().unwrap(), exit),
        ("fail", 2, 2)
    );
}

#[test]
fn a_box_on_which_no_thread_can_be_made_is_judged_all_the_same() {
    // A stack larger than any address space, for which the kernel has no room: no thread is made.
    let output = Command::new(env!("CARGO_BIN_EXE_throng"))
        .args(["doctor", "--json"])
        .env("RUST_MIN_STACK", (1_u64 << 60).to_string())
        .output()
        .unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let findings = report["findings"].as_array().unwrap();
    let tables = findings.iter().find(|finding| finding["check"] == "descriptor-tables").unwrap();
    assert_eq!(tables["status"], "cannot-tell", "{tables:#}");
    assert!(tables["why"].as_str().unwrap().starts_with("no thread can be made"), "{tables:#}");
}

#[test]
fn json_has_the_shape_that_is_promised() {
    let (report, _) = json_of(&Made::new(), &["--with-clients"]);
    assert_eq!(report["schema"], "throng-doctor/1");
    assert_eq!((report["target"].as_u64(), report["shards"].as_u64()), (Some(TARGET), Some(4)));
    assert_eq!((&report["with_clients"], &report["server"]), (&Value::Bool(true), &Value::Null));
    for finding in report["findings"].as_array().unwrap() {
        for field in ["check", "status", "found", "needed", "why"] {
            assert!(finding[field].is_string(), "{field} in {finding}");
        }
        let status = finding["status"].as_str().unwrap();
        assert!(["pass", "warn", "fail", "cannot-tell"].contains(&status), "{finding}");
        let has_fix = finding["fix"].is_string();
        assert_eq!(has_fix, ["warn", "fail"].contains(&status), "{finding}");
    }
    let verdict = &report["verdict"];
    let walls = verdict["hard"].as_array().unwrap();
    assert_eq!(verdict["connections"], walls[0]["connections"]);
    for field in ["name", "connections", "strength", "beyond", "remedy"] {
        assert!(!walls[0][field].is_null(), "{field} in {}", walls[0]);
    }
    assert!(verdict["text"].as_str().unwrap().starts_with("this box holds "));
}

#[test]
fn a_table_ends_with_the_verdict_and_has_no_colours_where_it_is_no_terminal() {
    for (tree, hides_something) in [("small", false), ("tuned", false), ("container", true)] {
        let root = recorded(tree);
        let output = doctor(&["--root", &root]);
        let table = text(&output.stdout);
        assert!(table.contains("\nSTATUS       CHECK              FOUND\n"), "{table}");
        assert!(table.contains("\nthis box holds ") && table.contains("\n0 fail, "), "{table}");
        assert_eq!(!table.contains(" 0 cannot tell, "), hides_something, "{table}");
        assert!(!table.contains('\u{1b}') && output.stderr.is_empty());
        assert_eq!(code(&output), 1, "without a target a limit that is low is a warning: {table}");
        assert!(table.lines().all(|line| line.chars().count() <= 120), "{table}");
    }
    // Of this box, whatever it is, only that it can be told.
    let output = doctor(&[]);
    assert!([0, 1, 2].contains(&code(&output)) && output.stderr.is_empty(), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("\nSTATUS       CHECK              FOUND\n"));
}

#[test]
fn a_running_server_says_how_many_more_fit() {
    let server = Server::start("");
    let output = doctor(&["--pid", &server.pid().to_string()]);
    let table = text(&output.stdout);
    assert!(
        table.contains(&format!("throng (pid {}, 1 shard) has 0 connections open, and ", server.pid())),
        "{table}"
    );
    assert!(table.contains("more connections fit: the first wall is "), "{table}");
}

#[test]
fn what_the_server_allows_at_its_start_is_what_the_doctor_said() {
    let server = Server::with_shards("", 2);
    let log = server.log();
    // "this box allows N connections: WALL binds; …", then "other limits, in connections: WALL N, WALL N (…".
    let after = |words: &str| log.split_once(words).unwrap_or_else(|| panic!("{words} in {log}")).1;
    let (allowed, binding) = after("this box allows ").split_once(" connections: ").unwrap();
    let mut told = vec![(binding.split_once(" binds; ").unwrap().0, allowed.parse::<u64>().unwrap())];
    let others = after("other limits, in connections: ").split_once(" (`throng doctor`").unwrap().0;
    for other in others.split(", ").filter(|other| !other.is_empty()) {
        let (wall, connections) = other.rsplit_once(' ').unwrap();
        told.push((wall, connections.parse().unwrap()));
    }
    let output = doctor(&["--json", "--shards", "2"]);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let predicted = report["verdict"]["hard"].as_array().unwrap();
    let mut walls = Vec::new();
    for wall in predicted {
        let (name, connections) = (wall["name"].as_str().unwrap(), wall["connections"].as_u64().unwrap());
        let (_, allowed) =
            told.iter().find(|(told, _)| *told == name).unwrap_or_else(|| panic!("{name} in {log}"));
        // Other tests open files between the two, and what they take of the memory may be much of it.
        assert!(
            allowed.abs_diff(connections) <= allowed / 10 || name.starts_with("memory"),
            "{name}: {allowed} at the start, {connections} by the doctor"
        );
        walls.push(name);
    }
    assert_eq!(told.len(), walls.len(), "{told:?} and {walls:?}");
    assert!(walls.contains(&"RLIMIT_NOFILE"), "{walls:?}");
}

#[test]
fn targets_that_are_nonsense_are_usage_errors() {
    for target in ["0", "-1", "many", "1000000001", "1000000000000000000000000000000"] {
        let output = doctor(&[&format!("--target={target}")]);
        assert_eq!((code(&output), text(&output.stdout).as_str()), (2, ""), "{target}");
        assert!(text(&output.stderr).contains("--target <N>"), "{target}: {}", text(&output.stderr));
    }
}

#[test]
fn what_cannot_be_looked_at_exits_with_3_and_says_why() {
    let scratch = Scratch::new();
    let empty = scratch.path().to_str().unwrap();
    for (arguments, words) in [
        (&["--pid", "4194304"][..], "there is no process 4194304"),
        (&["--config", "/nonexistent.toml"], "/nonexistent.toml: cannot be read"),
        (&["--root", empty], "has no directory `proc`"),
    ] {
        let output = doctor(arguments);
        assert_eq!((code(&output), text(&output.stdout).as_str()), (3, ""), "{arguments:?}");
        let error = text(&output.stderr);
        assert!(error.starts_with("error: ") && error.contains(words), "{error}");
    }
}

#[test]
fn help_tells_the_exit_codes_and_what_is_asked_without_a_target() {
    let help = text(&doctor(&["--help"]).stdout);
    for words in [
        "Exit code: 0",
        "3 the doctor could not look",
        "Without --target",
        "--pid",
        "--json",
        "--with-clients",
        "with --pid: in all, the open ones included",
        "are those of this shell",
        "\nRecorded boxes:\n      --root <DIR>",
        "or the answer was no",
    ] {
        assert!(help.contains(words), "{words} is missing in\n{help}");
    }
}
