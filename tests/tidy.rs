//! What a machine can check of ARCHITECTURE.md and CONTRIBUTING.md: the direction in which modules
//! know each other, what the data plane must not know, file sizes, and options that nobody reads.
//!
//! Sources are judged without their comments and the contents of their strings, in which any name
//! may be spoken of.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// The modules, rank by rank: each names only modules of ranks before its own.
const RANKS: [&[&str]; 11] = [
    &["limits"],
    &["wire", "plan"],
    &["protocol"],
    &["conn"],
    &["hub"],
    &["host"],
    &["doctor"],
    &["shard", "store"],
    &["rooms"],
    &["control", "load"],
    &["cli"],
];

/// Modules to which bytes and time come as arguments.
const PURE: [&str; 6] = ["limits", "plan", "wire", "conn", "protocol", "hub"];

/// What such a module would name to get them by itself.
const IMPURE_NAMES: [&str; 16] = [
    "Instant",
    "SystemTime",
    "TcpListener",
    "TcpStream",
    "UdpSocket",
    "UnixStream",
    "getrandom",
    "libc",
    "mio",
    "nix",
    "rand",
    "socket2",
    "thread_rng",
    "time",
    "tokio",
    "tracing",
];

/// Options that the rest of throng knows by another name, and that name.
const RENAMED: [(&str, &str); 6] = [
    ("allowed_origins", "origins"),
    ("enabled", "personal_channel"),
    ("history_meta_ttl", "history_meta_ttl_ms"),
    ("history_ttl", "history_ttl_ms"),
    ("max_length", "channel_max_length"),
    ("personal_channel_namespace", "personal_channel"),
];

/// Where options are kept, checked and summed up, which is not yet to act on them.
const NO_READERS: [&str; 2] = ["src/control/config", "src/cli/check_config.rs"];

/// Longest file, in lines.
const LINES_MAX: usize = 500;

/// Directories that hold nothing of ours.
const FOREIGN_DIRECTORIES: [&str; 4] = ["target", "node_modules", ".git", ".venv"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every file under `directory` of this repository, in order.
fn files(directory: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut left = vec![root().join(directory)];
    while let Some(directory) = left.pop() {
        for entry in fs::read_dir(directory).unwrap().map(Result::unwrap) {
            let is_foreign = FOREIGN_DIRECTORIES.iter().any(|name| entry.file_name() == *name);
            match entry.file_type().unwrap() {
                kind if kind.is_dir() && !is_foreign => left.push(entry.path()),
                kind if kind.is_file() => found.push(entry.path()),
                _ => {}
            }
        }
    }
    found.sort();
    found
}

/// One Rust file.
struct Source {
    /// Its path from the root of the repository.
    path: String,
    text: String,
    /// The text without comments and the contents of strings.
    code: String,
}

impl Source {
    /// The module under `src` that the file belongs to.
    fn module(&self) -> &str {
        let path = self.path.strip_prefix("src/").unwrap();
        path.split('/').next().unwrap().trim_end_matches(".rs")
    }

    /// How many modules deep the file is: 1 for `src/wire/mod.rs`, 2 for `src/wire/frame.rs`.
    fn depth(&self) -> usize {
        let path = self.path.strip_prefix("src/").unwrap().trim_end_matches("/mod.rs");
        path.split('/').count()
    }

    /// The identifiers of the code, in order, each with where it starts.
    fn names(&self) -> impl Iterator<Item = (usize, &str)> {
        let is_part = |character: char| character.is_alphanumeric() || character == '_';
        let starts = self.code.split(move |character| !is_part(character));
        starts.filter(|name| !name.is_empty()).map(|name| {
            let start = name.as_ptr() as usize - self.code.as_ptr() as usize;
            (start, name)
        })
    }
}

fn sources(directory: &str) -> Vec<Source> {
    let paths = files(directory).into_iter().filter(|path| path.extension().is_some_and(|end| end == "rs"));
    let sources = paths.map(|path| {
        let text = fs::read_to_string(&path).unwrap();
        let path = path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
        let code = code(&text);
        Source { path, text, code }
    });
    let sources: Vec<_> = sources.collect();
    assert!(!sources.is_empty(), "no Rust file in {directory}");
    sources
}

/// `text` without comments and the contents of strings.
fn code(text: &str) -> String {
    let mut code = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("r\"") || rest.starts_with("r#") {
            raw_string_bytes(rest)
        } else if first == '"' {
            string_bytes(rest)
        } else if rest.starts_with("'\"'") {
            3
        } else {
            0
        };
        if skipped > 0 {
            code.push(' ');
            rest = &rest[skipped..];
        } else {
            code.push(first);
            rest = &rest[first.len_utf8()..];
        }
    }
    code
}

/// Length of the string literal at the front of `text`.
fn string_bytes(text: &str) -> usize {
    let mut is_escaped = true;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'"' if !is_escaped => return at + 1,
            b'\\' => is_escaped = !is_escaped,
            _ => is_escaped = false,
        }
    }
    text.len()
}

/// Length of the raw string at the front of `text`; 0 if that is a raw identifier.
fn raw_string_bytes(text: &str) -> usize {
    let hashes = text[1..].bytes().take_while(|byte| *byte == b'#').count();
    if !text[1 + hashes..].starts_with('"') {
        return 0;
    }
    let end = format!("\"{}", "#".repeat(hashes));
    let start = 2 + hashes;
    text[start..].find(&end).map_or(text.len(), |at| start + at + end.len())
}

fn rank(module: &str) -> usize {
    let rank = RANKS.iter().position(|modules| modules.contains(&module));
    rank.unwrap_or_else(|| panic!("module `{module}` has no rank: DESIGN says where it belongs"))
}

/// The modules that `source` names by `crate::`, alone or in braces.
fn modules_named(source: &Source) -> BTreeSet<String> {
    let paths = source.code.split("crate::").skip(1);
    let lists = paths.map(|path| match path.strip_prefix('{') {
        Some(list) => list.split_once('}').unwrap().0.split(',').collect(),
        None => vec![path],
    });
    let names = lists.flatten().map(|path| {
        let path = path.trim_start();
        path[..path.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(path.len())].to_owned()
    });
    names.filter(|name| !name.is_empty()).collect()
}

#[test]
fn code_is_what_is_left_without_comments_and_strings() {
    let text = "a /// b\nc \"d \\\" e\" f r#\"g \" h\"# i '\"' j // k";
    assert_eq!(code(text).split_whitespace().collect::<Vec<_>>(), ["a", "c", "f", "i", "j"]);
}

#[test]
fn a_module_names_only_the_modules_before_it() {
    let mut wrong = Vec::new();
    for source in sources("src").iter().filter(|source| !["lib", "main"].contains(&source.module())) {
        for named in modules_named(source) {
            let is_itself = named == source.module();
            if !is_itself && rank(&named) >= rank(source.module()) {
                wrong.push(format!("{} names {named}", source.path));
            }
        }
    }
    assert_eq!(wrong, [""; 0]);
}

#[test]
fn super_stays_within_its_module() {
    let mut wrong = Vec::new();
    for source in sources("src") {
        // The inline module of tests, up to its brace at the start of a line.
        let inline = source.code.find("mod tests {").map(|start| {
            let length = source.code[start..].find("\n}").unwrap();
            start..start + length
        });
        for (at, chain) in source.code.match_indices("super::") {
            let is_first = !source.code[..at].ends_with("super::");
            let ups =
                1 + source.code[at + chain.len()..].split("super::").take_while(|gap| gap.is_empty()).count();
            let depth =
                source.depth() + usize::from(inline.as_ref().is_some_and(|range| range.contains(&at)));
            if is_first && ups >= depth {
                wrong.push(source.path.clone());
            }
        }
    }
    assert_eq!(wrong, [""; 0], "say `crate::`, so that the direction shows");
}

#[test]
fn only_the_event_loop_and_the_load_generator_know_mio() {
    let all = sources("src");
    let knowing = all.iter().filter(|source| source.names().any(|(_, name)| name == "mio"));
    let modules: BTreeSet<_> = knowing.map(Source::module).collect();
    assert!(modules.contains("shard"));
    assert!(modules.is_subset(&["shard", "load"].into()), "{modules:?}");
}

#[test]
fn the_pure_modules_have_no_socket_clock_random_source_or_log() {
    let mut wrong = Vec::new();
    for source in sources("src").iter().filter(|source| PURE.contains(&source.module())) {
        for (at, name) in source.names() {
            // `time` counts as `std::time`, not as a field or variable.
            let counts = name != "time" || source.code[..at].ends_with("std::");
            // A hasher's keys are random, its results are not: the same name finds the same room.
            let hashes = name == "RandomState" && source.module() == "hub";
            if (counts && IMPURE_NAMES.contains(&name)) || (name == "RandomState" && !hashes) {
                wrong.push(format!("{} names {name}", source.path));
            }
        }
    }
    assert_eq!(wrong, [""; 0]);
}

#[test]
fn no_file_is_longer_than_500_lines_and_each_opens_with_what_it_owns() {
    let mut wrong = Vec::new();
    for source in ["src", "tests", "examples", "benches", "fuzz"].into_iter().flat_map(sources_if_any) {
        let lines = source.text.lines().count();
        if lines > LINES_MAX {
            wrong.push(format!("{}: {lines} lines; it holds two nouns", source.path));
        }
        if !source.text.starts_with("//! ") && !source.text.starts_with("#!") {
            wrong.push(format!("{}: does not open with what it owns", source.path));
        }
    }
    assert_eq!(wrong, [""; 0]);
}

fn sources_if_any(directory: &str) -> Vec<Source> {
    let has_sources = root().join(directory).is_dir()
        && files(directory).iter().any(|path| path.extension().is_some_and(|end| end == "rs"));
    if has_sources { sources(directory) } else { Vec::new() }
}

#[test]
fn nothing_is_left_to_do_and_no_lint_is_allowed_away() {
    let mut wrong = Vec::new();
    for source in ["src", "tests", "examples", "benches"].into_iter().flat_map(sources_if_any) {
        for forbidden in ["todo!", "unimplemented!", "dbg!", "[allow("] {
            if source.code.contains(forbidden) {
                wrong.push(format!("{}: {forbidden}", source.path));
            }
        }
    }
    assert_eq!(wrong, [""; 0]);
}

/// Last parts of the names of all options, from the example that another test keeps complete.
fn options() -> BTreeSet<String> {
    let example = fs::read_to_string(root().join("throng.example.toml")).unwrap();
    let assignments = example.lines().filter_map(|line| line.trim_start_matches('#').split_once(" = "));
    assignments
        .map(|(name, _)| name.to_owned())
        .filter(|name| name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_'))
        .collect()
}

#[test]
fn every_option_is_read_outside_the_configuration() {
    let all = sources("src");
    let reads = |source: &&Source| !NO_READERS.iter().any(|path| source.path.starts_with(path));
    let readers: Vec<_> = all.iter().filter(reads).collect();
    let is_read = |option: &str| {
        let renamed = RENAMED.iter().find(|(old, _)| *old == option);
        let field = renamed.map_or(option, |(_, new)| new);
        readers
            .iter()
            .any(|source| source.names().any(|(at, name)| name == field && source.code[..at].ends_with('.')))
    };
    let options = options();
    assert!(options.contains("drain_ms") && options.len() > 40, "{options:?}");
    let unread: Vec<_> = options.iter().filter(|option| !is_read(option)).collect();
    assert_eq!(unread, [""; 0]);
}

#[test]
fn every_script_can_be_executed() {
    let mut wrong = Vec::new();
    let scripts = files("").into_iter().filter(|path| fs::read(path).unwrap().starts_with(b"#!/"));
    let scripts: Vec<_> = scripts.collect();
    for path in &scripts {
        if fs::metadata(path).unwrap().permissions().mode() & 0o111 == 0 {
            wrong.push(path.display().to_string());
        }
    }
    assert!(scripts.iter().any(|path| path.ends_with(".ci/run")), "no script was found");
    assert_eq!(wrong, [""; 0]);
}
