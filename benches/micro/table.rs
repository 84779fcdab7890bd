//! The suite as a Markdown table: several runs, the median of their medians and how far they lie apart.
//!
//! Absent on purpose: a verdict. What the figures mean is written by hand in the file beside the table.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use criterion::Throughput;

use crate::bench::{Bench, Row, allocations};
use crate::{criterion, run};

/// Runs of the whole suite. The spread between them shows what else the machine did.
const RUNS: usize = 5;

/// Runs the suite and writes the table to `file`.
pub fn write(file: &str) {
    // Named from the repository, where the command that the table names is given.
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("micro");
    let load_before = first_line("/proc/loadavg");
    let mut rows = Vec::new();
    let mut medians: Vec<Vec<f64>> = Vec::new();
    for _ in 0..RUNS {
        let mut bench = Bench::new(criterion().output_directory(&directory));
        run(&mut bench);
        medians.resize(bench.rows.len(), Vec::new());
        for (row, medians) in bench.rows.iter().zip(&mut medians) {
            medians.push(median_ns(&directory, row));
        }
        rows = bench.rows;
    }
    let mut text = origin(file, &load_before);
    text.push_str("\n| bench | median | runs | throughput | allocations |\n|---|---:|---:|---:|---:|\n");
    for (row, medians) in rows.iter().zip(&mut medians) {
        medians.sort_by(f64::total_cmp);
        let median = medians[RUNS / 2];
        let runs = format!("{} to {}", time(medians[0]), time(medians[RUNS - 1]));
        let rate = row.throughput.as_ref().map_or(String::new(), |throughput| rate(throughput, median));
        let allocations = allocations(row.allocations);
        writeln!(
            text,
            "| {}: {} | {} | {runs} | {rate} | {allocations} |",
            row.group,
            row.name,
            time(median)
        )
        .expect("a String takes every write");
    }
    fs::create_dir_all(path.parent().expect("a file is in a directory")).expect("the directory can be made");
    fs::write(&path, text).expect("the table can be written");
    println!("wrote {}", path.display());
}

/// What criterion found for `row`, in nanoseconds.
fn median_ns(directory: &Path, row: &Row) -> f64 {
    let path: PathBuf = [directory, row.group.as_ref(), row.name.as_ref()].iter().collect();
    let text = fs::read(path.join("new/estimates.json")).expect("criterion keeps what it measured");
    let estimates: serde_json::Value = serde_json::from_slice(&text).expect("criterion writes JSON");
    estimates["median"]["point_estimate"].as_f64().expect("criterion estimates a median")
}

/// What the table was made by, of and on.
fn origin(file: &str, load_before: &str) -> String {
    let commit = output("git", &["describe", "--always", "--dirty", "--abbrev=12"]);
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let cpu = cpus.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    format!(
        "# Micro benches\n\n\
         Command: `cargo bench --bench micro -- --table {file}`. Commit {commit}, {rustc}.\n\
         {cores} cores of {cpu}, Linux {kernel}. Load average before: {load_before}; after: {load_after}\n\
         (the suite itself keeps one core busy; where it is above 1, others were at work and times are too long).\n\n\
         A time is the median of {RUNS} runs of the suite, each criterion's median of 100 samples; \"runs\" is the\n\
         lowest and the highest of them. Allocations are per iteration, counted outside of the timed loop.\n",
        rustc = output("rustc", &["--version"]),
        cores = std::thread::available_parallelism().map_or(0, usize::from),
        cpu = cpu.map_or("an unknown processor", |(_, name)| name),
        kernel = first_line("/proc/sys/kernel/osrelease"),
        load_after = first_line("/proc/loadavg"),
    )
}

fn first_line(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default().lines().next().unwrap_or("unknown").to_owned()
}

fn output(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    text.unwrap_or_default()
}

/// A time with three digits.
fn time(ns: f64) -> String {
    let (value, unit) = match ns {
        ..1e3 => (ns, "ns"),
        ..1e6 => (ns / 1e3, "µs"),
        _ => (ns / 1e6, "ms"),
    };
    format!("{} {unit}", digits(value))
}

/// What is handled in a second at `ns` nanoseconds an iteration.
fn rate(throughput: &Throughput, ns: f64) -> String {
    let (count, unit) = match throughput {
        Throughput::Bytes(bytes) => (*bytes, "B/s"),
        Throughput::Elements(elements) => (*elements, "/s"),
        _ => return String::new(),
    };
    // Per nanosecond is 10⁹ per second.
    let giga = count as f64 / ns;
    if giga >= 1.0 { format!("{} G{unit}", digits(giga)) } else { format!("{} M{unit}", digits(giga * 1e3)) }
}

fn digits(value: f64) -> String {
    let decimals = match value {
        ..10.0 => 2,
        ..100.0 => 1,
        _ => 0,
    };
    format!("{value:.decimals$}")
}
