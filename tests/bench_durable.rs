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
    assert!(
        report["store"]["publications_per_commit"].as_f64().is_some_and(|batch| batch >= 1.0),
        "{report}"
    );
}

#[test]
fn clients_get_what_they_missed_though_the_server_was_killed_meanwhile() {
    let report = report("recover", "recover --connections 60 --rooms 7 --missed 5 --restart --rate 1000");
    let zero = serde_json::json!({});
    assert_eq!((&report["back"], &report["recovered"]), (&60.into(), &60.into()));
    assert_eq!((&report["publications"], &report["wrong"], &report["drops"]), (&300.into(), &zero, &zero));
    assert_eq!((&report["live"], &report["recoveries"]["count"]), (&120.into(), &60.into()));
    assert!(report["restart_seconds"].is_number() && report["memory_peak_bytes"].is_number(), "{report}");
    // What 60 clients missed in 7 rooms is read once for each room that is not in memory any more.
    assert!(report["store"]["reads"].as_u64().is_some_and(|reads| reads > 0 && reads < 60), "{report}");
}

#[test]
fn clients_that_are_there_when_the_server_is_killed_come_back_by_themselves_for_what_they_had_not_read() {
    let load = "recover --connections 60 --rooms 7 --missed 5 --restart --backoff official";
    let report = report("killed", load);
    let zero = serde_json::json!({});
    assert_eq!((&report["back"], &report["recovered"]), (&60.into(), &60.into()));
    assert_eq!((&report["publications"], &report["wrong"], &report["drops"]), (&300.into(), &zero, &zero));
    assert_eq!((&report["live"], &report["at_once"]), (&120.into(), &Value::Null));
    // No SDK comes back sooner than half a second after its connection went.
    assert!(report["returns"]["p50_us"].as_u64() >= Some(500_000), "{report}");
}

#[test]
fn who_misses_more_than_is_kept_is_told_so() {
    let stderr = refusal("recover --connections 3 --missed 9 --history-size 5 --durability memory");
    assert!(
        stderr.contains("0 of them were given exactly what they missed\n  3 × not recovered"),
        "{stderr}"
    );
    let stderr = refusal("recover --connections 3 --restart --durability memory");
    assert!(stderr.contains("nothing of rooms in memory outlives"), "{stderr}");
}

#[test]
fn a_storm_over_rooms_with_history_loses_nothing_for_those_who_drop_either() {
    let report = report("storm", "storm --history=os --connections 200 --stayers 10 --rooms 3 --rate 100");
    assert_eq!((&report["back"], &report["recovered"]), (&200.into(), &200.into()));
    assert_eq!((&report["wrong"], &report["lost"]), (&serde_json::json!({}), &0.into()));
    let load =
        "storm --history=memory --connections 100 --stayers 10 --rooms 3 --rate 100 --backoff official";
    let report = self::report("backoff", load);
    assert_eq!((&report["back"], &report["recovered"]), (&100.into(), &100.into()));
    assert!(
        report["returns"]["p50_us"].as_u64() >= Some(500_000) && report["p99_ratio"].is_number(),
        "{report}"
    );
}

#[test]
fn idle_and_fan_out_can_be_had_with_a_history() {
    let idle = report("idle", "idle --history=memory --connections 50 --hold 0");
    assert_eq!((&idle["whole"], &idle["history"]), (&50.into(), &true.into()));
    let fanout = report("fanout", "fanout --history --members 20 --seconds 0.2 --warm-up-seconds 0");
    assert_eq!(
        (&fanout["lost"], &fanout["refused"], &fanout["history"]),
        (&0.into(), &0.into(), &true.into())
    );
}

#[test]
fn what_cannot_be_published_to_says_why() {
    assert!(refusal("publish --dialect raw --durability none").contains("reply_id_after"));
    assert!(refusal("publish --data-dir /nowhere").contains("/nowhere"));
    let stderr = refusal("publish --serve-args --config=mine.toml --durability os");
    assert!(stderr.contains("start a server with yours"), "{stderr}");
}
