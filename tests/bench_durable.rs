//! `throng bench publish` and its kin as their user meets them: with rooms of a server that they start
//! themselves, what they measure beside it, and what they leave behind.

use std::path::PathBuf;
use std::process::{Command, Output};

use serde_json::Value;

/// A directory for one test.
fn directory(name: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{}-{name}", std::process::id()));
    std::fs::create_dir_all(&path).unwrap();
    path
}

/// Runs `throng bench` in a directory of its own with `--json`, and gives what it wrote there; whatever
/// else it wrote must be gone by then.
fn report(name: &str, arguments: &str) -> Value {
    let directory = directory(name);
    let mut command = Command::new(env!("CARGO_BIN_EXE_throng"));
    command.arg("bench").args(arguments.split_whitespace()).args(["--json", "report.json"]);
    let output = command.current_dir(&directory).env("THRONG_LOG", "error").output().unwrap();
    let (stdout, stderr) = texts(&output);
    assert!(output.status.success(), "{stdout}\n{stderr}");
    let json =
        serde_json::from_str(&std::fs::read_to_string(directory.join("report.json")).unwrap()).unwrap();
    let left: Vec<_> =
        std::fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["report.json"]);
    std::fs::remove_dir_all(directory).unwrap();
    json
}

fn texts(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (text(&output.stdout), text(&output.stderr))
}

/// What a run that fails says on stderr.
fn refusal(arguments: &str) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_throng"));
    let output = command.arg("bench").args(arguments.split_whitespace()).env("THRONG_LOG", "error").output();
    let output = output.unwrap();
    assert_eq!(output.status.code(), Some(1), "{arguments}");
    texts(&output).1
}

#[test]
fn every_publish_is_acknowledged_and_every_member_gets_it() {
    let report = report(
        "publish",
        "publish --durability none --rooms 20 --connections 4 --members 2 --in-flight 3 --seconds 0.5 \
         --warm-up-seconds 0.1",
    );
    let count = |key: &str| report[key].as_u64().unwrap();
    assert!(count("acknowledged") > 0);
    assert_eq!((count("unanswered"), count("unasked")), (0, 0));
    assert_eq!((&report["errors"], &report["ended"]), (&serde_json::json!({}), &serde_json::json!({})));
    let delivered = &report["delivered"];
    assert_eq!((&delivered["due"], &delivered["reordered"]), (&delivered["deliveries"], &0.into()));
    assert!(report["disk"].is_null() && report["store"].is_null(), "{report}");
}

#[test]
fn a_schedule_of_publishes_is_kept_and_the_disk_is_timed_beside_it() {
    let report = report(
        "paced-publish",
        "publish --durability fsync --rooms 10 --connections 3 --rate 200 --seconds 1 --warm-up-seconds 0",
    );
    let publishes = report["publishes"].as_u64().unwrap();
    // One more or less is due at either end of the window; that it may be late is the machine's.
    assert!((150..=250).contains(&publishes), "{report}");
    // Those of the last moment, after the window was counted, are answered and timed too.
    assert!(report["latency"]["count"].as_u64().unwrap() >= publishes, "{report}");
    assert_eq!((&report["unanswered"], &report["errors"]), (&0.into(), &serde_json::json!({})));
    for when in ["before", "after"] {
        assert!(report["disk"][when]["per_second"].as_f64().unwrap() > 0.0, "{report}");
    }
    assert!(report["disk"]["file_system"]["kind"].is_string());
}

#[test]
fn what_cannot_be_published_to_says_why() {
    assert!(refusal("publish --dialect raw --durability none").contains("reply_id_after"));
    assert!(refusal("publish --data-dir /nowhere").contains("/nowhere"));
    let stderr = refusal("publish --serve-args --config=mine.toml --durability os");
    assert!(stderr.contains("start a server with yours"), "{stderr}");
}
