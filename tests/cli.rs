//! The binary as a person meets it: what it prints, where, and its exit code.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A configuration file that no other test has, removed at the end.
struct ConfigFile(PathBuf);

impl ConfigFile {
    fn new(name: &str, text: &str) -> ConfigFile {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{}-{name}.toml", std::process::id()));
        std::fs::write(&path, text).unwrap();
        ConfigFile(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for ConfigFile {
    fn drop(&mut self) {
        drop(std::fs::remove_file(&self.0));
    }
}

/// What one run printed and exited with.
struct Run {
    code: i32,
    stdout: String,
    stderr: String,
}

fn throng(arguments: &[&str]) -> Run {
    let mut command = Command::new(env!("CARGO_BIN_EXE_throng"));
    run(command.args(arguments).env_remove("THRONG_LOG"))
}

fn run(command: &mut Command) -> Run {
    let Output { status, stdout, stderr } = command.output().unwrap();
    Run {
        code: status.code().unwrap(),
        stdout: String::from_utf8(stdout).unwrap(),
        stderr: String::from_utf8(stderr).unwrap(),
    }
}

#[test]
fn a_good_file_is_ok_and_summed_up() {
    let file = ConfigFile::new("good", "listen = ['127.0.0.1:9000']\nshards = 2");
    let run = throng(&["check-config", file.path()]);
    assert_eq!((run.code, run.stderr.as_str()), (0, ""));
    assert!(
        run.stdout.starts_with(&format!("{}: ok\nclients     127.0.0.1:9000 at", file.path())),
        "{}",
        run.stdout
    );
}

#[test]
fn the_example_is_ok_without_a_warning() {
    let run = throng(&["check-config", concat!(env!("CARGO_MANIFEST_DIR"), "/throng.example.toml")]);
    assert_eq!((run.code, run.stderr.as_str()), (0, ""));
    assert!(!run.stdout.contains("warning"), "{}", run.stdout);
}

#[test]
fn a_file_that_works_but_serves_nobody_is_ok_with_a_warning() {
    let file = ConfigFile::new("nobody", "listen = ['0.0.0.0:9000']");
    let run = throng(&["check-config", file.path()]);
    assert_eq!(run.code, 0);
    assert!(run.stdout.contains("\nwarning: every client will be refused (3501)"), "{}", run.stdout);
    assert!(run.stdout.contains("\naccess      nobody\n"), "{}", run.stdout);
}

#[test]
fn a_bad_file_is_refused_with_its_line_by_every_command_that_reads_one() {
    let file = ConfigFile::new("unknown-key", "shards = 1\n\ndrian_ms = 5\n");
    for arguments in [["check-config", file.path()].as_slice(), &["serve", "--config", file.path()]] {
        let run = throng(arguments);
        assert_eq!((run.code, run.stdout.as_str()), (1, ""), "{arguments:?}");
        let expected =
            format!("error: {}:3: unknown key `drian_ms`; did you mean `drain_ms`?\n", file.path());
        assert_eq!(run.stderr, expected, "{arguments:?}");
    }
}

#[test]
fn a_missing_file_is_named() {
    let run = throng(&["serve", "--config", "/nonexistent/throng.toml"]);
    assert_eq!(run.code, 1);
    assert!(
        run.stderr.starts_with("error: /nonexistent/throng.toml: cannot be read: No such file"),
        "{}",
        run.stderr
    );
}

#[test]
fn an_address_that_is_none_is_a_usage_error_that_shows_one() {
    for option in ["--listen", "--admin"] {
        let run = throng(&["serve", option, "localhost:8000"]);
        assert_eq!((run.code, run.stdout.as_str()), (2, ""));
        assert!(run.stderr.contains(&format!("'{option} <ADDR>'")), "{}", run.stderr);
        assert!(run.stderr.contains("such as \"127.0.0.1:8000\""), "{}", run.stderr);
    }
}

#[test]
fn a_command_line_that_contradicts_the_file_is_refused() {
    let file = ConfigFile::new("contradiction", "admin = '127.0.0.1:9000'");
    let run = throng(&["serve", "--config", file.path(), "--listen", "127.0.0.1:9000"]);
    assert_eq!(run.code, 1);
    assert!(run.stderr.starts_with("error: command line: `admin` is 127.0.0.1:9000"), "{}", run.stderr);
}

#[test]
fn more_shards_than_there_may_be_is_a_usage_error() {
    let run = throng(&["serve", "--shards", "1025"]);
    assert_eq!(run.code, 2);
    assert!(run.stderr.contains("0..=1024"), "{}", run.stderr);
}

#[test]
fn a_log_filter_that_is_none_is_a_usage_error() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_throng"));
    // The configuration is read later, so the missing file is not what is complained of.
    command.args(["serve", "--config", "/nonexistent/throng.toml"]).env("THRONG_LOG", "throng=loud");
    let run = run(&mut command);
    assert_eq!(run.code, 2);
    assert!(run.stderr.starts_with("error: THRONG_LOG: "), "{}", run.stderr);
}

#[test]
fn help_names_every_command_and_every_option() {
    let run = throng(&["--help"]);
    assert_eq!((run.code, run.stderr.as_str()), (0, ""));
    for word in ["serve", "check-config", "throng.example.toml", "THRONG_LOG"] {
        assert!(run.stdout.contains(word), "{word} is missing in\n{}", run.stdout);
    }
    let run = throng(&["serve", "--help"]);
    for option in [
        "--config",
        "--listen",
        "--admin",
        "--data",
        "--shards",
        "--pin-shards",
        "--shared-fd-table",
        "127.0.0.1:8000",
    ] {
        assert!(run.stdout.contains(option), "{option} is missing in\n{}", run.stdout);
    }
}

#[test]
fn nothing_to_do_is_a_usage_error_that_shows_the_help() {
    let run = throng(&[]);
    assert_eq!((run.code, run.stdout.as_str()), (2, ""));
    assert!(run.stderr.contains("Usage: throng <COMMAND>"), "{}", run.stderr);
}

#[test]
fn the_version_is_told() {
    assert_eq!(throng(&["--version"]).stdout, format!("throng {}\n", env!("CARGO_PKG_VERSION")));
}
