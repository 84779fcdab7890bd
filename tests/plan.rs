//! `throng plan` as a person meets it: the worked examples of docs/PLANNING.md, what it says of bad
//! input, figures out of kept reports, and the plot.

pub mod common;

use std::fs;
use std::process::{Command, Output};

use common::Scratch;
use serde_json::{Value, json};
use throng::plan::{WIRE_BYTES_PER_SEGMENT, wire_bytes};
use throng::wire::{Data, OpCode, frame};

/// Kept reports that the examples use.
const CEILING: &str = "benches/results/2026-11-22-2core-xeon/ceiling-10x1000.json";
const IDLE: &str = "benches/results/2026-11-22-2core-xeon/idle-1000000.json";

/// What one run printed and exited with.
struct Run {
    code: i32,
    stdout: String,
    stderr: String,
}

/// Runs `throng plan` with `arguments`, split at spaces.
fn plan(arguments: &str) -> Run {
    let mut command = Command::new(env!("CARGO_BIN_EXE_throng"));
    command.current_dir(env!("CARGO_MANIFEST_DIR")).arg("plan").args(arguments.split_whitespace());
    let Output { status, stdout, stderr } = command.output().unwrap();
    Run {
        code: status.code().unwrap(),
        stdout: String::from_utf8(stdout).unwrap(),
        stderr: String::from_utf8(stderr).unwrap(),
    }
}

/// The plan as JSON.
fn planned(arguments: &str) -> Value {
    let run = plan(&format!("{arguments} --json"));
    assert_eq!((run.code, run.stderr.as_str()), (0, ""), "{arguments}");
    serde_json::from_str(&run.stdout).unwrap()
}

/// The numbers of `arguments`' plan at `pointers`.
fn numbers<const N: usize>(arguments: &str, pointers: [&str; N]) -> [u64; N] {
    let plan = planned(arguments);
    pointers.map(|pointer| {
        let number = plan.pointer(pointer).and_then(Value::as_u64);
        number.unwrap_or_else(|| panic!("{pointer} of {arguments}: {plan:#}"))
    })
}

const NEEDED: &str = "/nodes/needed";
const WITH_REDUNDANCY: &str = "/nodes/with_redundancy";
const CONNECTIONS: &str = "/demand/connections";
const WRITES: &str = "/demand/writes_per_second";

#[test]
fn fan_out_multiplies_publishes_by_active_members() {
    let plan = "--publishes-per-second 2000 --room-sizes 150 --active 0.4 --deliveries-per-second 40k";
    assert_eq!(numbers(plan, [WRITES, NEEDED]), [120_000, 3]);
    assert_eq!(planned(plan)["binding"], "deliveries");
}

#[test]
fn memory_is_capped_by_descriptors() {
    let node = "--memory 28GiB --bytes-per-connection 20KB --descriptors 1M";
    assert_eq!(numbers(node, ["/limits/0/per_node", "/limits/1/per_node"]), [1_468_006, 1_000_000]);
    for (users, nodes, factor, with_redundancy) in
        [("10M", 10, "2", 20), ("100M", 100, "1", 100), ("5M", 5, "2", 10)]
    {
        let plan = format!("{node} --users {users} --redundancy {factor}");
        assert_eq!(numbers(&plan, [NEEDED, WITH_REDUNDANCY]), [nodes, with_redundancy], "{users}");
        assert_eq!(planned(&plan)["binding"], "descriptors");
    }
}

#[test]
fn a_publish_goes_to_the_bus_once_to_each_node_once_and_to_each_member_but_the_sender() {
    let plan = "--room-sizes 500 --exclude-sender --nodes 10";
    assert_eq!(numbers(plan, ["/bus/deliveries_per_publish", "/demand/writes_per_publish"]), [10, 499]);
    let share = "/per_node/writes_per_second";
    let plan = "--publishes-per-second 1000 --room-sizes 500 --exclude-sender --nodes 10";
    let bus = ["/bus/publishes_per_second", "/bus/deliveries_per_second"];
    assert_eq!(numbers(plan, [WRITES, share, bus[0], bus[1]]), [499_000, 49_900, 1_000, 10_000]);
    let plan = "--publishes-per-second 1000 --room-sizes 5000 --exclude-sender --nodes 10";
    assert_eq!(numbers(plan, [WRITES, share]), [4_999_000, 499_900]);
}

#[test]
fn sessions_nodes_of_two_sizes_and_reserves_are_as_worked_out() {
    assert_eq!(numbers("--users 1M --sessions-per-user 1.5", [CONNECTIONS]), [1_500_000]);
    assert_eq!(numbers("--users 100M --descriptors 2M", [NEEDED]), [50]);
    assert_eq!(numbers("--users 100M --descriptors 50K", [NEEDED]), [2_000]);
    assert_eq!(numbers("--users 500K --descriptors 40K", [NEEDED, WITH_REDUNDANCY]), [13, 13]);
    let reserved = "--users 500K --descriptors 40K --headroom 30% --survive 1";
    let after = "/per_node/connections_after_failures";
    assert_eq!(numbers(reserved, [NEEDED, WITH_REDUNDANCY, after]), [18, 19, 27_778]);
}

/// Whether the lines of `shown` are those of `printed`, in their order; `…` is any number of lines.
fn is_excerpt(shown: &[&str], printed: &[&str]) -> bool {
    match (shown, printed) {
        ([], []) => true,
        (["…", rest @ ..], _) => (0..=printed.len()).any(|skipped| is_excerpt(rest, &printed[skipped..])),
        ([line, rest @ ..], [first, others @ ..]) => line == first && is_excerpt(rest, others),
        _ => false,
    }
}

#[test]
fn an_excerpt_leaves_out_only_where_it_says_so() {
    assert!(is_excerpt(&["a", "…", "c"], &["a", "b", "c"]) && is_excerpt(&["…"], &[]));
    assert!(!is_excerpt(&["a", "c"], &["a", "b", "c"]) && !is_excerpt(&["…", "b"], &["b", "c"]));
}

#[test]
fn every_command_of_the_page_prints_what_the_page_shows() {
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/PLANNING.md")).unwrap();
    let mut commands = 0;
    for block in page.split("```console\n").skip(1) {
        let (block, _) = block.split_once("```").unwrap();
        for session in block.split("$ throng plan ").skip(1) {
            let (arguments, shown) = session.split_once('\n').unwrap();
            let run = plan(arguments);
            assert_eq!((run.code, run.stderr.as_str()), (0, ""), "{arguments}");
            let (shown, printed): (Vec<_>, Vec<_>) = (shown.lines().collect(), run.stdout.lines().collect());
            assert!(is_excerpt(&shown, &printed), "{arguments} prints\n{}", run.stdout);
            commands += 1;
        }
    }
    assert_eq!(commands, 15);
}

#[test]
fn the_examples_of_the_help_are_plans() {
    let help = plan("--help").stdout;
    let examples: Vec<_> = help.split("\n  throng plan ").skip(1).collect();
    assert_eq!(examples.len(), 3, "{help}");
    let scratch = Scratch::new();
    for example in examples {
        let command = example.split("\n\n").next().unwrap().replace('\\', "");
        let plot = scratch.path().join("rooms.html");
        let command = command.replace("ceiling.json", CEILING).replace("rooms.html", plot.to_str().unwrap());
        let run = plan(&command);
        assert_eq!(run.code, 0, "{command}: {}", run.stderr);
    }
    assert!(scratch.path().join("rooms.html").exists());
}

#[test]
fn a_number_that_cannot_be_is_a_usage_error_with_option_value_and_range() {
    for (arguments, option, value, accepted) in [
        (
            "--users 0",
            "--users <N>",
            "'0'",
            "accepted: whole numbers from 1 to 1,000,000,000,000, such as 10M",
        ),
        ("--users -5", "--users <N>", "'-5'", "it is negative; accepted: whole numbers from 1"),
        ("--users -1M", "--users <N>", "'-1M'", "it is negative"),
        ("--users NaN", "--users <N>", "'NaN'", "it is not such a number"),
        ("--users 1e400", "--users <N>", "'1e400'", "it is not such a number"),
        (
            "--users 99999999999999999999999999999999999999999999",
            "--users",
            "'9999",
            "accepted: whole numbers",
        ),
        ("--active 1.5", "--active <F>", "'1.5'", "numbers from more than 0 to 1"),
        ("--headroom 1", "--headroom <F>", "'1'", "numbers from 0 to less than 1"),
        ("--redundancy 0.5", "--redundancy <X>", "'0.5'", "numbers from 1 to 100"),
        ("--message-bytes 2GiB", "--message-bytes <BYTES>", "'2GiB'", "from 1 B to 1 GiB"),
        ("--memory inf", "--memory <BYTES>", "'inf'", "from 1 B to 1,024 TiB, such as 28GiB"),
        (
            "--room-sizes 10:0.5,x:0.5",
            "--room-sizes <M[:SHARE],…>",
            "'x:0.5'",
            "the size x: it is not such a",
        ),
        ("--room-sizes 10:0", "--room-sizes <M[:SHARE],…>", "'10:0'", "the share 0: accepted: numbers from"),
        ("--room-sizes ,", "--room-sizes <M[:SHARE],…>", "''", "the size : it is not such a number"),
        ("--survive 1.5", "--survive <K>", "'1.5'", "whole numbers from 0 to 1,000,000"),
        ("--plot a.png", "--plot <FILE.html|.svg>", "'a.png'", "ends in .html or .svg"),
    ] {
        let run = plan(arguments);
        assert_eq!((run.code, run.stdout.as_str()), (2, ""), "{arguments}");
        for part in [option, value, accepted] {
            assert!(run.stderr.contains(part), "{part} is missing in\n{}", run.stderr);
        }
    }
}

#[test]
fn numbers_that_contradict_each_other_are_a_usage_error_that_names_them() {
    for (arguments, said) in [
        ("--room-sizes 10:0.5,20:0.4", "--room-sizes: the shares sum up to 0.9, and all publishes are 1"),
        ("--room-sizes 10,20", "--room-sizes: the shares sum up to 2"),
        ("--users 100 --room-sizes 500", "--room-sizes: 500 members of which a fraction of 1 (--active)"),
        ("--users 100 --descriptors 10 --nodes 3 --survive 3", "--survive 3: of 3 nodes (--nodes) none"),
        ("--publishes-per-second 10", "--publishes-per-second says nothing without --room-sizes"),
        ("--exclude-sender", "--exclude-sender says nothing without --room-sizes"),
        ("--egress-gbit 10", "--egress-gbit says nothing without --message-bytes"),
        (
            "--memory 4KiB --headroom 0.5",
            "--memory: a node does not take even one connection: 2 KiB are left",
        ),
        ("--sessions-per-user 2", "--users <N>"),
        ("--json", "there is nothing to plan: give a load (--users"),
        ("--users 10 --plot a.svg", "--plot shows nodes over room sizes: it needs --publishes-per-second"),
        (
            "--room-sizes 5 --publishes-per-second 1 --plot a.svg",
            "it needs a limit of a node, such as --deliveries-per-second",
        ),
    ] {
        let run = plan(arguments);
        assert_eq!((run.code, run.stdout.as_str()), (2, ""), "{arguments}");
        assert!(run.stderr.starts_with("error: ") && run.stderr.contains(said), "{said}: {}", run.stderr);
    }
}

#[test]
fn nothing_given_shows_the_help_with_its_examples() {
    let run = plan("");
    assert_eq!((run.code, run.stdout.as_str()), (2, ""));
    assert!(run.stderr.contains("throng plan --users 10M --memory 28GiB"), "{}", run.stderr);
}

#[test]
fn figures_of_kept_reports_are_taken_unless_the_command_line_has_its_own() {
    let load = "--users 1M --memory 1GiB --publishes-per-second 500 --room-sizes 1000";
    let both = planned(&format!("{load} --from {CEILING} --from {IDLE}"));
    let node = &both["inputs"]["node"];
    assert_eq!(
        (&node["deliveries_per_second"], &node["bytes_per_connection"]),
        (&json!(220_138), &json!(4_056))
    );
    let notes = both["notes"].to_string();
    assert!(
        notes.contains(&format!("--deliveries-per-second 220,138 is from {CEILING}: 2026-11-22")),
        "{notes}"
    );
    assert!(!notes.contains("measure with --members"), "the rooms are as measured: {notes}");

    let own = planned(&format!("{load} --from {CEILING} --from {IDLE} --deliveries-per-second 40k"));
    let node = &own["inputs"]["node"];
    assert_eq!(
        (&node["deliveries_per_second"], &node["bytes_per_connection"]),
        (&json!(40_000), &json!(4_056))
    );
    let said = format!("--deliveries-per-second counts as given, not the 220,138 of {CEILING}");
    assert!(own["notes"].to_string().contains(&said), "{}", own["notes"]);
}

#[test]
fn a_file_that_is_no_answer_is_refused_by_name() {
    let scratch = Scratch::new();
    let changed = |name: &str, report: &str, change: &dyn Fn(&mut Value)| {
        let mut report: Value = serde_json::from_str(&fs::read_to_string(report).unwrap()).unwrap();
        change(&mut report);
        let path = scratch.path().join(name);
        fs::write(&path, report.to_string()).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let text = scratch.path().join("text.json");
    fs::write(&text, "not { JSON").unwrap();
    let fan_out = "benches/results/2026-11-22-2core-xeon/fanout-1-1.json";
    let ceiling = |member: &str, value: Value| {
        changed(&format!("{member}-{value}.json"), CEILING, &|report| report[member] = value.clone())
    };
    let blind = changed("blind.json", IDLE, &|report| report["account"]["server"] = json!({}));
    for (file, said) in [
        ("/nonexistent.json".to_owned(), "cannot be read: No such file"),
        (scratch.path().to_str().unwrap().to_owned(), "cannot be read: Is a directory"),
        (text.to_str().unwrap().to_owned(), "is no JSON: "),
        (fan_out.to_owned(), "is neither a report of `throng bench ceiling` nor one of `throng bench idle`"),
        (ceiling("interrupted", json!(true)), "the run was interrupted"),
        (ceiling("deliveries_per_second", json!(0.0)), "its ceiling is 0 deliveries per second"),
        (ceiling("deliveries_per_second", json!(-5.5)), "its ceiling is -5.5 deliveries per second"),
        (ceiling("deliveries_per_second", json!(1e15)), "it measured 1,000,000,000,000,000; accepted: whole"),
        (ceiling("deliveries_per_second", json!("many")), "is neither a report of"),
        (blind, "it has no memory of the server's side"),
    ] {
        let run = plan(&format!("--users 1M --from {file}"));
        assert_eq!((run.code, run.stdout.as_str()), (1, ""), "{file}");
        assert!(run.stderr.starts_with(&format!("error: {file}")), "{}", run.stderr);
        assert!(run.stderr.contains(said), "{said} is missing in {}", run.stderr);
    }
    let run = plan(&format!("--users 1M --from {CEILING} --from {CEILING}"));
    assert_eq!(run.code, 1);
    assert!(run.stderr.contains("both measured --deliveries-per-second: give one of them"), "{}", run.stderr);
}

#[test]
fn a_plot_is_a_page_or_a_picture_that_says_where_the_resources_change_places() {
    let scratch = Scratch::new();
    let load = "--users 1M --descriptors 200k --publishes-per-second 100 --room-sizes 1000 \
                --deliveries-per-second 20k";
    for name in ["plot.html", "plot.svg"] {
        let path = scratch.path().join(name);
        let run = plan(&format!("{load} --plot {}", path.display()));
        assert_eq!((run.code, run.stderr), (0, format!("plot: {}\n", path.display())));
        assert!(run.stdout.contains("by descriptors (binds)"), "{}", run.stdout);
        // The sentences of a picture are broken into lines.
        let plot = fs::read_to_string(&path)
            .unwrap()
            .replace("</text>\n<text class=\"dim\" x=\"24\" y=\"80\">", " ");
        for part in [
            // 100 publishes per second × 1,000 members are the 5 nodes that 1 M connections need too.
            "Up to rooms of 1,000 descriptors bind, from there deliveries bind.",
            "by descriptors (binds this plan)",
            "this plan: 5 nodes for rooms of 1,000",
            "needed: the highest line",
            "prefers-color-scheme:dark",
        ] {
            assert!(plot.contains(part), "{part} is missing in {name}");
        }
        assert!(!plot.contains("NaN") && !plot.contains("<script"));
    }
    let run = plan(&format!("{load} --plot /nonexistent/plot.svg"));
    assert_eq!((run.code, run.stdout.as_str()), (1, ""));
    assert!(
        run.stderr.starts_with("error: /nonexistent/plot.svg cannot be written: No such"),
        "{}",
        run.stderr
    );
}

#[test]
fn the_largest_of_everything_is_planned_without_overflow() {
    let run = plan(
        "--users 1T --sessions-per-user 1000 --publishes-per-second 1G --room-sizes 1G --message-bytes 1GiB \
         --memory 1024TiB --bytes-per-connection 1GiB --descriptors 1 --deliveries-per-second 1 \
         --egress-gbit 1M --survive 1M --redundancy 100 --headroom 0",
    );
    assert_eq!((run.code, run.stderr.as_str()), (0, ""));
    assert!(run.stdout.contains("100,000,000,000,000,000,000\n"), "{}", run.stdout);
}

#[test]
fn the_frame_header_that_is_counted_is_the_one_that_is_written() {
    for payload_bytes in [1_usize, 125, 126, 1_444, 1_445, 65_535, 65_536] {
        let mut header = Vec::new();
        frame::write_header(&mut header, OpCode::Data(Data::Text), payload_bytes);
        let frame_bytes = (payload_bytes + header.len()) as u128;
        let headers = frame_bytes.div_ceil(1_448) * WIRE_BYTES_PER_SEGMENT;
        assert_eq!(wire_bytes(payload_bytes as u64), frame_bytes + headers, "{payload_bytes}");
    }
}
