//! A drop-in file for any number of connections, with the reason and the arithmetic of each key.
//!
//! Invariant: what is printed for a box lowers nothing there, because each number is the one of
//! [`Setting::wanted`].

use super::{Facts, Setting, settings};

/// The whole drop-in for `facts.target` connections, to be read and installed by a person.
///
/// Keys that are left alone are there as comments.
pub fn print(facts: &Facts) -> String {
    drop_in(facts, settings())
}

/// As [`print`], with only the keys of `chosen`.
pub fn drop_in<'a>(facts: &Facts, chosen: impl IntoIterator<Item = &'a Setting>) -> String {
    let Facts { memory_bytes, page_bytes, .. } = facts;
    let (held, options) = (facts.held(), facts.options());
    let connections = facts.names()[0].1;
    let version = env!("CARGO_PKG_VERSION");
    let mut text = format!(
        "# For {held} on a box with {} MiB of memory. Made by throng {version}:\n\
         #    throng doctor {options} --print-sysctl\n\
         # N = {connections}, memory_bytes = {memory_bytes}, page_bytes = {page_bytes}. A number that was better on this\n\
         # box when this was made is kept. The files in sysctl/ of throng say more of each key.\n",
        memory_bytes / (1024 * 1024)
    );
    let mut file = "";
    for setting in chosen {
        if setting.file != file {
            file = setting.file;
            let rule = "-".repeat(96_usize.saturating_sub(file.len()));
            text.push_str(&format!("\n# {file} {rule}\n"));
        }
        text.push_str(&entry(setting, facts));
    }
    text
}

/// One key with its comment.
fn entry(setting: &Setting, facts: &Facts) -> String {
    let Setting { key, title, .. } = setting;
    let mut text = format!("\n# {title}\n#   why      {}\n", first_clause(&setting.why));
    let requirement = match &setting.instead {
        Some(instead) => format!("#   instead  {instead}\n"),
        None => format!("#   needs    {}\n", setting.explained(facts)),
    };
    text.push_str(&requirement);
    if let Some(found) = facts.found.get(key) {
        let found: Vec<_> = found.split_ascii_whitespace().collect();
        text.push_str(&format!("#   found    {}\n", found.join(" ")));
    }
    let prefix = match (&setting.instead, setting.is_optional) {
        (Some(_), _) => "# ",
        (None, true) => "-",
        (None, false) => "",
    };
    text.push_str(&format!("{prefix}{key} = {}\n", setting.wanted_text(facts)));
    text
}

/// The text up to its first semicolon or full stop: what fits on a line.
fn first_clause(text: &str) -> &str {
    let end = ["; ", ". "].iter().filter_map(|end| text.find(end)).min();
    &text[..end.unwrap_or(text.len())]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// The keys that `text` assigns, as sysctl.d(5) reads it.
    fn assigned(text: &str) -> BTreeMap<String, String> {
        let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
        lines
            .map(|line| {
                let (key, value) = line.split_once(" = ").unwrap_or_else(|| panic!("{line}"));
                (key.trim_start_matches('-').to_owned(), value.to_owned())
            })
            .collect()
    }

    #[test]
    fn the_drop_in_says_what_made_it_and_how_each_number_came_about() {
        let text = print(&Facts::new(2_000_000, 64 << 30, 4096));
        assert!(
            text.starts_with("# For 2000000 connections on a box with 65536 MiB of memory. Made by throng ")
        );
        assert!(text.contains("throng doctor --target 2000000 --print-sysctl"));
        assert!(text.contains("#   needs    at least min(65536, max(4096, pow2(2000000 / 16))) = 65536\n"));
        assert!(text.contains("#   needs    at least 2 * 2000000 = 4000000\nfs.file-max = 4000000\n"));
    }

    #[test]
    fn a_box_with_the_clients_too_is_for_twice_the_connections_and_says_what_was_asked() {
        let text = print(&Facts { ends: 2, ..Facts::new(100_000, 64 << 30, 4096) });
        assert!(
            text.starts_with("# For 100000 connections and their clients on a box with 65536 MiB"),
            "{text}"
        );
        assert!(
            text.contains(
                "\n#    throng doctor --target 100000 --with-clients --print-sysctl\n# N = 200000,"
            )
        );
        assert_eq!(assigned(&text), assigned(&print(&Facts::new(200_000, 64 << 30, 4096))));
    }

    #[test]
    fn the_drop_in_assigns_every_key_but_those_that_are_left_alone() {
        let facts = Facts::new(1_000_000, 64 << 30, 4096);
        let expected = settings().iter().filter(|setting| setting.instead.is_none());
        let expected: BTreeMap<_, _> = expected.map(|s| (s.key.clone(), s.wanted_text(&facts))).collect();
        assert_eq!(assigned(&print(&facts)), expected);
        let alone = "#   instead  leave it; `[socket] receive_buffer_bytes` bounds the sockets of throng alone\n\
                     # net.ipv4.tcp_rmem = 4096 131072 6291456\n";
        assert!(print(&facts).contains(alone), "{}", print(&facts));
    }

    #[test]
    fn what_a_box_has_is_shown_and_lowered_by_nothing() {
        let mut facts = Facts::new(1_000, 64 << 30, 4096);
        facts.found.insert("fs.file-max".to_owned(), "9223372036854775807".to_owned());
        facts.found.insert("net.ipv4.tcp_rmem".to_owned(), "4096\t131072\t33554432".to_owned());
        let text = print(&facts);
        assert!(text.contains("#   found    9223372036854775807\nfs.file-max = 9223372036854775807\n"));
        assert!(
            text.contains("#   found    4096 131072 33554432\n# net.ipv4.tcp_rmem = 4096 131072 33554432\n")
        );
    }

    #[test]
    fn only_chosen_keys_are_in_a_drop_in_of_some() {
        let facts = Facts::new(1_000_000, 64 << 30, 4096);
        let text = drop_in(&facts, settings().iter().filter(|setting| setting.check == "migrate"));
        assert_eq!(assigned(&text).keys().collect::<Vec<_>>(), ["net.ipv4.tcp_migrate_req"]);
    }
}
