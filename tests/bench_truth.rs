//! Whether `throng bench` tells the truth about a server that stands still, and what it says to numbers
//! that nothing can hold.

use std::io::{BufRead, BufReader, Lines, Read};
use std::process::{Child, ChildStderr, ChildStdout, Command, Stdio};
use std::time::Instant;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

/// A process that is continued and ended when this is dropped.
struct Process(Child);

impl Process {
    fn start(arguments: &str) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_throng"));
        command.args(arguments.split_whitespace()).env("THRONG_LOG", "error");
        Self(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.0.id() as i32), signal).unwrap();
    }

    fn stdout(&mut self) -> Lines<BufReader<ChildStdout>> {
        BufReader::new(self.0.stdout.take().unwrap()).lines()
    }

    fn stderr(&mut self) -> Lines<BufReader<ChildStderr>> {
        BufReader::new(self.0.stderr.take().unwrap()).lines()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only for a process that has ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Reads up to a line that says how many deliveries the last second had.
fn next_second(lines: &mut Lines<BufReader<ChildStderr>>) {
    assert!(lines.any(|line| line.unwrap().contains("deliveries/s")));
}

#[test]
fn a_server_that_stands_still_shows_in_every_delay_that_was_due_meanwhile() {
    let mut server = Process::start("serve --listen 127.0.0.1:0 --admin 127.0.0.1:0");
    let ready = server.stdout().find_map(|line| line.ok().filter(|line| line.contains("ws://"))).unwrap();
    let url = ready[ready.find("ws://").unwrap()..].split([',', ' ']).next().unwrap();
    let file = format!("{}/{}-truth.json", env!("CARGO_TARGET_TMPDIR"), std::process::id());
    let mut bench = Process::start(&format!(
        "bench fanout --members 4 --rate 100 --seconds 4 --warm-up-seconds 0 --target {url} --json {file}"
    ));
    let mut lines = bench.stderr();
    next_second(&mut lines);
    server.signal(Signal::SIGSTOP);
    let stopped = Instant::now();
    next_second(&mut lines);
    let stood_us = stopped.elapsed().as_micros() as u64;
    server.signal(Signal::SIGCONT);
    lines.for_each(drop);
    assert!(bench.0.wait().unwrap().success());

    let report: Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
    std::fs::remove_file(file).unwrap();
    let delay = &report["window"]["delay"];
    let at = |key: &str| delay[key].as_u64().unwrap();
    // Publishes are due every 10 ms, so one was due as the server stopped; half leaves room for a machine
    // that reads the line late.
    assert!(at("max_us") >= stood_us / 2, "{delay} after {stood_us} µs");
    // A quarter of the messages waited, evenly from nothing to the whole time. A loop that waits for the
    // server would have timed one.
    assert!(at("p90_us") >= stood_us / 4, "{delay} after {stood_us} µs");
    assert_eq!(report["window"]["publishes"].as_u64().unwrap() * 4, at("count"));
    assert_eq!(report["lost"], 0);
}

#[test]
fn numbers_that_nothing_can_hold_are_refused_and_never_a_panic() {
    let most = u64::MAX;
    for (arguments, said) in [
        (format!("fanout --rate 5 --target ws://127.0.0.1:9/ --members {most} --rooms {most}"), "need"),
        (format!("slow --target ws://127.0.0.1:9/ --members {most} --rooms 2"), "need"),
        (format!("storm --target ws://127.0.0.1:9/ --connections {most} --stayers 10"), "need"),
        (format!("fanout --target ws://127.0.0.1:9/ --members {most}"), "need"),
        (format!("drain --target ws://127.0.0.1:9/ --connections {most}"), "need"),
        (format!("slow --recover --target ws://127.0.0.1:9/ --rooms {most} --members 1"), "--rooms"),
        (format!("publish --target ws://127.0.0.1:9/ --members {most}"), "need"),
        (format!("publish --target ws://127.0.0.1:9/ --connections {most}"), "at most"),
        (format!("recover --target ws://127.0.0.1:9/ --connections {most}"), "need"),
        (format!("recover --target ws://127.0.0.1:9/ --connections {most} --rooms {most}"), "--rooms"),
        (format!("storm --history --target ws://127.0.0.1:9/ --rooms {most}"), "--rooms"),
        (format!("idle --connections 3 --hold {most}"), "--hold"),
        ("fanout --members 3 --payload-bytes 1048576".to_owned(), "--payload-bytes 1048576: at most"),
    ] {
        let mut run = Process::start(&format!("bench {arguments}"));
        let mut stderr = String::new();
        run.0.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
        assert!(matches!(run.0.wait().unwrap().code(), Some(1 | 2)), "{arguments}: {stderr}");
        assert!(stderr.contains(said) && !stderr.contains("panicked"), "{arguments}: {stderr}");
    }
}
