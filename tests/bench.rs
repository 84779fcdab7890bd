//! `throng bench` as a person runs it, with a server and connections of its own: that every figure is
//! there and that what belongs together adds up. How fast or how large anything is, is no test's business.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Runs `throng bench ARGUMENTS --json FILE`; the report that it wrote and the table that it printed.
fn bench(name: &str, arguments: &[&str]) -> (Value, String) {
    let json: PathBuf =
        Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{}-{name}.json", std::process::id()));
    let mut command = Command::new(env!("CARGO_BIN_EXE_throng"));
    let output = command.arg("bench").args(arguments).arg("--json").arg(&json).output().unwrap();
    let (stdout, stderr) =
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert!(output.status.success(), "{stdout}\n{stderr}");
    let report = serde_json::from_slice(&std::fs::read(&json).unwrap()).unwrap();
    std::fs::remove_file(json).unwrap();
    (report, stdout)
}

/// The kernel's memory of each side adds up to its parts, and both sides to both ends; unless this
/// machine keeps its caches from us. How much it is, no test can say: other processes have sockets too.
fn assert_adds_up(account: &Value) {
    assert_eq!(account["connections"], 200);
    for side in ["server", "client", "both"] {
        assert!(account[side]["user_bytes_per_connection"].is_number(), "{side}: {account}");
    }
    let Some(both) = account["both"]["kernel_bytes_per_connection"].as_f64() else { return };
    let of = |side: &str| account[side]["kernel_bytes_per_connection"].as_f64().unwrap();
    assert!((of("server") + of("client") - both).abs() < 1.0, "{account}");
    for side in ["server", "client", "both"] {
        let parts = account[side]["kernel_bytes_per_connection_by_part"].as_object().unwrap();
        let sum: f64 = parts.values().map(|bytes| bytes.as_f64().unwrap()).sum();
        assert!((sum - of(side)).abs() < 1.0, "{side}: {account}");
    }
}

#[test]
fn the_floor_holds_bare_sockets_and_every_send_of_it_arrives() {
    let (report, table) = bench(
        "floor",
        &["floor", "--connections", "200", "--members", "20", "--seconds", "0.2", "--hold", "1"],
    );
    assert_eq!((&report["whole"], &report["interrupted"]), (&200.into(), &false.into()));
    assert_eq!(report["holding_server"]["accepted"], 200);
    assert_adds_up(&report["account"]);
    let sends = &report["sends"];
    assert_eq!((&sends["receivers"], &sends["lost"]), (&21.into(), &0.into()));
    assert!(sends["sends"].as_u64().unwrap() > 0);
    assert_eq!(report["sending_server"]["skipped"], 0);
    assert_eq!(report["sending_server"]["sends"].as_u64().unwrap() % 21, 0);
    assert!(table.contains("server CPU per bare send (ns)"), "{table}");
}

#[test]
fn idle_accounts_for_both_sides_and_for_the_idle_minute() {
    let (report, table) = bench("idle", &["idle", "--connections", "200", "--hold", "1"]);
    assert_eq!((&report["whole"], &report["interrupted"]), (&200.into(), &false.into()));
    assert!(report["drops"].as_object().unwrap().is_empty(), "{report}");
    assert_adds_up(&report["account"]);
    assert!(report["server_cpu_ms_per_minute"].is_number());
    assert!(table.contains("idle minute"), "{table}");
}

#[test]
fn heartbeats_come_at_the_interval_that_was_asked_for_and_are_answered() {
    let arguments = ["heartbeat", "--connections", "50", "--ping-interval-ms", "400", "--seconds", "1"];
    let (report, table) = bench("heartbeat", &arguments);
    assert_eq!(report["connections"], 50);
    assert!(report["pings"].as_u64().unwrap() > 0, "{report}");
    // A pong that did not count would have ended its connection.
    assert!(report["drops"].as_object().unwrap().is_empty(), "{report}");
    assert!(table.contains("server CPU per ping and pong (ns)"), "{table}");
}

#[test]
fn the_floor_sends_as_many_bytes_as_throng_delivers() {
    let arguments = ["--members", "20", "--seconds", "0.2"];
    let (fanout, _) =
        bench("bytes-fanout", &[&["fanout", "--warm-up-seconds", "0"], &arguments[..]].concat());
    let (floor, _) =
        bench("bytes-floor", &[&["floor", "--connections", "1", "--hold", "0"], &arguments[..]].concat());
    // The header of a frame of 126 to 65,535 bytes has 4 (RFC 6455 §5.2).
    let throng = fanout["message_bytes"].as_f64().unwrap() + 4.0;
    let bare = floor["sends"]["frame_bytes"].as_f64().unwrap();
    // Bytes and messages are counted between two looks, which may cut a message in two.
    assert!((throng - bare).abs() < 1.0, "throng {throng}, bare {bare}");
}
