//! A report as people read it: a table with the worst first, and the verdict below.
//!
//! Absent on purpose: the terminal. Its width and whether it shows colours come as arguments.

use std::fmt::Write;

use super::finding::{Finding, Status};
use super::report::{Report, Server, Table};
use super::words::{count, several};

/// Tables of a server that are all told.
const TABLES_TOLD: usize = 8;

/// How a report is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    /// Columns of the terminal.
    pub width: usize,
    /// Whether statuses have colours.
    pub colours: bool,
    /// Whether every finding is told with why, unit, default, cost and source, those that pass too.
    pub verbose: bool,
}

/// Columns of the status and of the check's name, with the gap behind each.
const STATUS_WIDTH: usize = 13;
const CHECK_WIDTH: usize = 19;

/// Columns of the words before what a finding needs, its fix and so on.
const LABEL_WIDTH: usize = 8;

/// The narrowest that a column of text becomes.
const TEXT_WIDTH_MIN: usize = 24;

/// Shows `report`: the findings, the worst first, then the tables of a server that runs, then the verdict.
pub fn show(report: &Report, look: Look) -> String {
    let mut out = String::new();
    let mut line = |text: String| {
        out.push_str(text.trim_end());
        out.push('\n');
    };
    line(heading(report));
    line(String::new());
    line(format!("{:STATUS_WIDTH$}{:CHECK_WIDTH$}FOUND", "STATUS", "CHECK"));
    let mut findings: Vec<&Finding> = report.findings.iter().collect();
    // The order of the checks stays within a status.
    findings.sort_by_key(|finding| finding.status as u8);
    for finding in findings {
        for text in row(finding, look) {
            line(text);
        }
    }
    if let Some(tables) = report.server.as_ref().and_then(|server| tables(server, look.verbose)) {
        line(String::new());
        for text in wrap(&tables, look.width) {
            line(text);
        }
    }
    line(String::new());
    for sentence in report.verdict.text.lines() {
        for text in wrap(sentence, look.width) {
            line(text);
        }
    }
    line(String::new());
    line(tally(report));
    out
}

fn heading(report: &Report) -> String {
    let what = match &report.server {
        Some(server) if server.shards == 0 => {
            format!("process {} ({}, not a throng)", server.pid, server.name)
        }
        Some(server) => {
            format!("process {} ({}, {})", server.pid, server.name, several(server.shards, "shard"))
        }
        None => format!("this box for a server of {}", several(report.shards, "shard")),
    };
    let clients = if report.with_clients { ", its clients on the same box" } else { "" };
    match report.target {
        Some(target) => format!("{what}, {} connections{clients}", count(target)),
        None => format!(
            "{what}{clients}; no --target, so as many connections as its memory holds: {}",
            count(report.goal)
        ),
    }
}

/// The tables of a server that has several: each, or of many the emptiest and the fullest.
fn tables(server: &Server, verbose: bool) -> Option<String> {
    let told = |table: &Table| format!("{} {}", table.thread, count(table.open));
    let (least, most) = (
        server.tables.iter().min_by_key(|table| table.open)?,
        server.tables.iter().max_by_key(|table| table.open)?,
    );
    if server.tables.len() < 2 {
        return None;
    }
    if verbose || server.tables.len() <= TABLES_TOLD {
        let each: Vec<_> = server.tables.iter().map(told).collect();
        return Some(format!("open descriptors: {}", each.join(", ")));
    }
    Some(format!(
        "open descriptors in {} tables: from {} to {} (each with --verbose)",
        server.tables.len(),
        told(least),
        told(most)
    ))
}

/// How many findings there are of each status.
fn tally(report: &Report) -> String {
    let statuses = [Status::Fail, Status::Warn, Status::CannotTell, Status::Pass];
    let counts = statuses.map(|status| {
        let number = report.findings.iter().filter(|finding| finding.status == status).count();
        format!("{number} {}", status.word())
    });
    counts.join(", ")
}

/// The lines of one finding.
fn row(finding: &Finding, look: Look) -> Vec<String> {
    let indent = STATUS_WIDTH + CHECK_WIDTH;
    let width = look.width.saturating_sub(indent).max(TEXT_WIDTH_MIN);
    let mut lines: Vec<String> = Vec::new();
    for (at, text) in wrap(&finding.found, width).into_iter().enumerate() {
        let status = if at == 0 { finding.status.word() } else { "" };
        let check = if at == 0 { finding.check } else { "" };
        // Padded before it is coloured: codes have a length and no width.
        let status = coloured(&format!("{status:STATUS_WIDTH$}"), finding.status, look.colours);
        lines.push(format!("{status}{check:CHECK_WIDTH$}{text}"));
    }
    let is_told = finding.status != Status::Pass || look.verbose;
    let details = [
        ("needs", is_told.then_some(finding.needed.as_str())),
        ("why", is_told.then_some(if look.verbose { &finding.why } else { first_sentence(&finding.why) })),
        ("fix", finding.fix.as_deref()),
        ("unit", finding.unit.as_deref().filter(|_| look.verbose)),
        ("default", finding.default.as_deref().filter(|_| look.verbose)),
        ("cost", finding.cost.as_deref().filter(|_| look.verbose)),
        ("source", finding.source.as_deref().filter(|_| look.verbose)),
    ];
    for (label, text) in details {
        let Some(text) = text.filter(|text| !text.is_empty()) else { continue };
        for (at, text) in
            wrap(text, width.saturating_sub(LABEL_WIDTH).max(TEXT_WIDTH_MIN)).into_iter().enumerate()
        {
            let label = if at == 0 { label } else { "" };
            let mut line = " ".repeat(indent);
            // Writing to a string does not fail.
            let _ = write!(line, "{label:LABEL_WIDTH$}{text}");
            lines.push(line);
        }
    }
    lines
}

/// The first sentence of a text that may have several, without its full stop.
fn first_sentence(text: &str) -> &str {
    text.split_once(". ").map_or(text, |(first, _)| first)
}

fn coloured(text: &str, status: Status, colours: bool) -> String {
    // Red, yellow, magenta, green of ECMA-48 §8.3.117.
    let code = match status {
        Status::Fail => 31,
        Status::Warn => 33,
        Status::CannotTell => 35,
        Status::Pass => 32,
    };
    if colours { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
}

/// `text` in lines of at most `width` columns, broken between words; a path that is longer, such as that of a
/// container's control group, at its slashes or within. Other words are kept whole: they are to be copied.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        for (at, piece) in pieces(word, width).into_iter().enumerate() {
            let last = lines.last_mut().expect("there is a line from the start on");
            let gap = if at == 0 && !last.is_empty() { " " } else { "" };
            if last.is_empty() || last.chars().count() + gap.len() + piece.chars().count() <= width {
                last.push_str(gap);
                last.push_str(&piece);
            } else {
                lines.push(piece);
            }
        }
    }
    lines
}

/// The parts of `word` that may stand on different lines, `width` columns at most if it is a path.
fn pieces(word: &str, width: usize) -> Vec<String> {
    if word.chars().count() <= width || !word.contains('/') {
        return vec![word.to_owned()];
    }
    let cut = |part: &str| {
        let characters: Vec<char> = part.chars().collect();
        let cut = characters.chunks(width.max(1)).map(|piece| piece.iter().collect());
        cut.collect::<Vec<String>>()
    };
    word.split_inclusive('/').flat_map(cut).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Look = Look { width: 72, colours: false, verbose: false };

    fn finding() -> Finding {
        Finding::new("open-files", Status::Fail, "fs.file-max = 1,000")
            .needed("2,000 of them, which is a good deal more than there are now")
            .why("accept(2) fails")
            .fix("`sysctl -w fs.file-max=2000`")
    }

    #[test]
    fn a_row_stays_within_the_width_and_its_columns_are_aligned() {
        let lines = row(&finding(), PLAIN);
        assert_eq!(
            lines,
            [
                "fail         open-files         fs.file-max = 1,000",
                "                                needs   2,000 of them, which is a good",
                "                                        deal more than there are now",
                "                                why     accept(2) fails",
                "                                fix     `sysctl -w fs.file-max=2000`",
            ]
        );
        assert!(lines.iter().all(|line| line.chars().count() <= 72));
    }

    #[test]
    fn what_passes_takes_one_line_unless_all_is_asked_for() {
        let mut passed = finding();
        passed.status = Status::Pass;
        passed.fix = None;
        passed.unit = Some("files".to_owned());
        passed.default = Some("a tenth of the memory".to_owned());
        passed.source = Some("proc(5)".to_owned());
        assert_eq!(row(&passed, PLAIN).len(), 1);
        let verbose = row(&passed, Look { verbose: true, ..PLAIN }).join("\n");
        for line in
            ["why     accept(2) fails", "unit    files", "default a tenth of the memory", "source  proc(5)"]
        {
            assert!(verbose.contains(line), "{line} in {verbose}");
        }
    }

    #[test]
    fn only_the_status_is_coloured_and_only_if_asked() {
        let coloured = row(&finding(), Look { colours: true, ..PLAIN });
        assert!(coloured[0].starts_with("\u{1b}[31mfail         \u{1b}[0mopen-files"), "{}", coloured[0]);
        assert!(!row(&finding(), PLAIN).concat().contains('\u{1b}'));
    }

    #[test]
    fn a_word_that_is_wider_than_its_column_is_kept_whole() {
        assert_eq!(wrap("a bbbbbbbbbb c", 4), ["a", "bbbbbbbbbb", "c"]);
    }

    #[test]
    fn a_path_that_is_wider_than_its_column_is_broken_at_its_slashes() {
        assert_eq!(wrap("a /bb/cc/dddddddd (e", 6), ["a /bb/", "cc/", "dddddd", "dd (e"]);
        let group =
            format!("/kubepods.slice/kubepods-pod{0}.slice/cri-containerd-{0}.scope", "0f".repeat(32));
        let long = Finding::new("cgroup", Status::Pass, format!("no memory limit ({group})"));
        let lines = row(&long, PLAIN);
        assert!(lines.iter().all(|line| line.chars().count() <= PLAIN.width), "{lines:#?}");
        let whole: String = lines.iter().map(|line| line[STATUS_WIDTH + CHECK_WIDTH..].trim()).collect();
        assert!(whole.ends_with(&format!("({group})")), "{whole}");
    }
}
