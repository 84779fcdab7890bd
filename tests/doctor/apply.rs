//! `--print-sysctl` and `--apply` by the binary, of made boxes: nothing of this box is changed.

use std::fs;
use std::process::{Command, Output, Stdio};

use throng::doctor::Status;

use crate::made::{Made, TARGET, expect};

/// Runs the doctor of `made` for [`TARGET`] connections, with nobody to ask.
fn doctor(made: &Made, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_throng"))
        .args(["doctor", "--target", &TARGET.to_string(), "--root"])
        .arg(made.place("/"))
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// A box on which one key is short.
fn short() -> Made {
    let made = Made::new();
    made.set("net.core.somaxconn", "128");
    made
}

/// Sets every key of a printed drop-in; returns how many there are.
fn install(made: &Made, drop_in: &str) -> usize {
    let lines = drop_in.lines().filter(|line| !line.starts_with('#'));
    let settings: Vec<_> = lines.filter_map(|line| line.split_once(" = ")).collect();
    for (key, value) in &settings {
        made.set(key.trim_start_matches('-'), value);
    }
    settings.len()
}

#[test]
fn the_printed_drop_in_is_what_the_doctor_then_accepts() {
    let made = short();
    made.set("net.ipv4.tcp_mem", "10 20 30");
    let output = doctor(&made, &["--print-sysctl"]);
    assert_eq!(code(&output), 0);
    assert!(install(&made, &text(&output.stdout)) > 10, "{}", text(&output.stdout));
    for check in ["accept-queue", "tcp-memory"] {
        assert_eq!(made.worst(check).status, Status::Pass);
    }
}

#[test]
fn with_the_clients_on_the_box_one_rule_is_printed_and_judged() {
    let mut made = Made::new();
    made.setup.with_clients = true;
    // Enough for the target, and not for both ends.
    let checks = ["orphans", "time-wait", "network-queue", "syn-queue", "tcp-memory"];
    let two = (2 * TARGET).to_string();
    for check in &checks[..2] {
        expect(&made.worst(check), Status::Warn, &[&two]);
    }
    let output = doctor(&made, &["--print-sysctl", "--with-clients"]);
    let printed = text(&output.stdout);
    assert!(printed.starts_with("# For 100000 connections and their clients on a box with "), "{printed}");
    assert!(
        printed.contains("doctor --target 100000 --with-clients --print-sysctl\n# N = 200000,"),
        "{printed}"
    );
    install(&made, &printed);
    for check in checks {
        assert_eq!(made.worst(check).status, Status::Pass, "{check}");
    }
}

#[test]
fn nothing_is_applied_where_nobody_can_be_asked() {
    let made = short();
    let output = doctor(&made, &["--apply"]);
    assert_eq!(code(&output), 3);
    assert!(text(&output.stdout).contains("1 key changes:\n  net.core.somaxconn  128  ->  8192"));
    assert!(text(&output.stderr).contains("give --yes"), "{}", text(&output.stderr));
    assert_eq!(made.tree().sysctl("net.core.somaxconn").unwrap(), "128");
    assert!(!made.place("/etc").exists());
    let doctor = |arguments: &[&str]| {
        Command::new(env!("CARGO_BIN_EXE_throng")).arg("doctor").args(arguments).output().unwrap()
    };
    for arguments in [&["--apply"][..], &["--print-sysctl"], &["--target", "9", "--yes"]] {
        assert_eq!(code(&doctor(arguments)), 2, "{arguments:?}");
    }
}

#[test]
fn what_is_applied_is_set_and_written_and_a_second_time_there_is_nothing_to_do() {
    let made = short();
    let output = doctor(&made, &["--apply", "--yes"]);
    assert_eq!((code(&output), text(&output.stderr).as_str()), (0, ""));
    assert!(text(&output.stdout).contains("To go back to the values before:\n"), "{}", text(&output.stdout));
    assert_eq!(made.tree().sysctl("net.core.somaxconn").unwrap(), "8192");
    let drop_in = fs::read_to_string(made.place("/etc/sysctl.d/90-throng.conf")).unwrap();
    assert!(drop_in.ends_with("\nnet.core.somaxconn = 8192\n"), "{drop_in}");
    let output = doctor(&made, &["--apply"]);
    assert_eq!(code(&output), 0);
    assert!(text(&output.stdout).starts_with("No key "), "{}", text(&output.stdout));
}

#[test]
fn a_key_that_stays_short_is_no_success() {
    // Nobody may write this one, root neither.
    let made = Made::new();
    made.link("/proc/sys/fs/file-max", "/proc/sys/kernel/ngroups_max");
    let output = doctor(&made, &["--apply", "--yes"]);
    assert!(
        text(&output.stdout).contains("Not changed here:\n  fs.file-max: 65536, needed 200000\n"),
        "{}",
        text(&output.stdout)
    );
    assert_eq!(code(&output), 1);
    // What is only unknown is no failure, as in a namespace.
    let made = Made::new();
    made.remove("/proc/sys/net/ipv4/tcp_mem");
    assert_eq!(code(&doctor(&made, &["--apply", "--yes"])), 0);
    // One that is lost at the next boot is one.
    let made = short();
    made.write("/etc/sysctl.conf", "net.core.somaxconn = 128\n");
    let output = doctor(&made, &["--apply", "--yes"]);
    assert!(text(&output.stdout).contains("/etc/sysctl.conf also sets net.core.somaxconn = 128"));
    assert_eq!(code(&output), 1);
    assert_eq!(made.tree().sysctl("net.core.somaxconn").unwrap(), "8192");
}
