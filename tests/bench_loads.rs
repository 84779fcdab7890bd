//! `throng bench` as its user meets it: each load against a server that it starts itself, what it says
//! about targets that cannot be measured, and Ctrl-C.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

fn bench(arguments: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_throng"));
    command.arg("bench").args(arguments.split_whitespace()).env("THRONG_LOG", "error");
    command
}

/// Runs `throng bench` with `--json` and gives what it wrote there.
fn report(name: &str, arguments: &str) -> Value {
    let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{}-{name}.json", std::process::id()));
    let Output { status, stdout, stderr } = bench(arguments).arg("--json").arg(&file).output().unwrap();
    let (stdout, stderr) = (String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap());
    assert!(status.success(), "{stderr}");
    assert!(!stdout.is_empty(), "the table goes to stdout");
    let json = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
    std::fs::remove_file(file).unwrap();
    json
}

/// What a run that fails says on stderr.
fn refusal(arguments: &str) -> String {
    let Output { status, stderr, .. } = bench(arguments).output().unwrap();
    assert_eq!(status.code(), Some(1), "{arguments}");
    String::from_utf8(stderr).unwrap()
}

/// A server that reads what a client sends first, answers with `answer` and closes.
fn answering(answer: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            // The client may be gone by either step, which is its right.
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    address
}

#[test]
fn a_paced_fan_out_times_every_delivery_and_loses_none() {
    let report =
        report("paced", "fanout --rooms 4 --members 10 --rate 100 --seconds 0.5 --warm-up-seconds 0.1");
    let window = &report["window"];
    assert_eq!(
        (&report["lost"], &report["duplicated"], &window["reordered"]),
        (&0.into(), &0.into(), &0.into())
    );
    assert_eq!(window["deliveries"], window["deliveries_due"]);
    assert_eq!(window["deliveries"], window["delay"]["count"]);
    assert_eq!(window["publishes"].as_u64().unwrap() * 10, window["deliveries"].as_u64().unwrap());
    assert!(window["messages_per_write"].as_f64().unwrap() >= 1.0);
}

#[test]
fn in_feed_mode_several_messages_come_at_once_and_each_is_counted_and_timed() {
    let report = report(
        "feed",
        "fanout --members 20 --rate 100 --feed=100 --seconds 1 --warm-up-seconds 0.2 --serve-args --shards=2",
    );
    let window = &report["window"];
    assert_eq!(
        (&report["feed_interval_ms"], &report["lost"], &report["duplicated"]),
        (&100.into(), &0.into(), &0.into())
    );
    assert_eq!(window["deliveries"], window["deliveries_due"]);
    assert_eq!(window["deliveries"], window["delay"]["count"]);
    assert!(window["messages_per_write"].as_f64().unwrap() > 2.0, "{window}");
}

#[test]
fn a_storm_ends_with_every_connection_back() {
    let report = report("storm", "storm --connections 300 --stayers 20 --rooms 2 --at-once 50 --rate 20");
    assert_eq!((&report["back"], &report["returns"]["count"]), (&300.into(), &300.into()));
    assert_eq!((&report["failed_tries"], &report["lost"]), (&0.into(), &0.into()));
    assert_eq!(report["drops"], serde_json::json!({}));
    let timeline = report["timeline"].as_array().unwrap();
    assert_eq!(timeline.last().unwrap()[1], 300);
}

#[test]
fn a_stalled_share_is_counted_apart_from_those_who_read() {
    let report = report("slow", "slow --members 50 --stalled 10 --rate 50 --seconds 1 --payload-bytes 4096");
    let stalled = report["stalled"].as_u64().unwrap();
    assert!((4..=6).contains(&stalled), "{stalled} of 50");
    assert_eq!(report["lost"], 0);
    let count = |window: &str, key: &str| report[window][key].as_u64().unwrap();
    assert_eq!(count("before", "deliveries"), count("before", "publishes") * 50);
    let timed = report["during"]["delay"]["count"].as_u64().unwrap();
    assert_eq!(timed, count("during", "publishes") * (50 - stalled));
}

#[test]
fn a_ceiling_is_the_last_good_step_and_a_bound_that_none_meets_gives_none() {
    let arguments = "ceiling --members 20 --step-seconds 0.1 --rate 1";
    let report = report("ceiling", &format!("{arguments} --p99-ms 0.001"));
    assert_eq!(report["publishes_per_second"], 0.0);
    assert!(report["steps"].as_array().unwrap().iter().all(|step| step["failed"].is_string()));
}

#[test]
fn a_target_that_cannot_be_measured_is_told_from_another() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let cases = [
        (closed, "nothing listens at"),
        (answering("SSH-2.0-OpenSSH\r\n"), "does not speak WebSocket"),
        (
            answering("HTTP/1.1 403 Forbidden\r\n\r\n"),
            "HTTP 403: the server speaks HTTP but takes no WebSocket",
        ),
        (answering(""), "closed by the server"),
    ];
    for (address, said) in cases {
        let target = format!("--target ws://{address}/x");
        for scenario in [
            "idle --connections 3 --hold 0",
            "fanout --members 3",
            "fanout --members 3 --rate 5",
            "storm --connections 3 --stayers 1",
        ] {
            let stderr = refusal(&format!("{scenario} {target}"));
            assert!(stderr.contains(said), "{scenario} {target}: {stderr}");
        }
    }
}

#[test]
fn too_few_source_ports_are_found_before_anything_is_opened() {
    let target = answering("");
    let stderr =
        refusal(&format!("idle --connections 70000 --threads 70 --source-ips 1 --target ws://{target}/"));
    assert!(stderr.contains("--source-ips ") && stderr.contains("ip_local_port_range"), "{stderr}");
}

#[test]
fn rooms_that_cannot_be_filled_evenly_are_refused() {
    let stderr = refusal("ceiling --rooms 3 --connections 100");
    assert!(stderr.contains("102 can"), "{stderr}");
}

#[test]
fn ctrl_c_in_the_middle_still_prints_what_was_measured() {
    let mut child = bench("fanout --members 5 --rate 100 --seconds 600 --warm-up-seconds 0")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap()).lines();
    assert!(stderr.any(|line| line.unwrap().contains("deliveries/s")));
    kill(Pid::from_raw(child.id() as i32), Signal::SIGINT).unwrap();
    let mut table = String::new();
    child.stdout.take().unwrap().read_to_string(&mut table).unwrap();
    assert!(child.wait().unwrap().success());
    assert!(table.contains("interrupted") && table.contains("deliveries per second"), "{table}");
}

#[test]
fn several_numbers_in_flight_are_run_one_after_the_other() {
    let report = report("sweep", "fanout --members 20 --in-flight 1,4 --seconds 0.2 --warm-up-seconds 0");
    let runs = report["runs"].as_array().unwrap();
    let in_flight: Vec<_> = runs.iter().map(|run| run["in_flight"].as_u64().unwrap()).collect();
    assert_eq!(in_flight, [1, 4]);
    assert!(runs.iter().all(|run| run["lost"] == 0 && run["deliveries"].as_u64() > Some(0)));
}
