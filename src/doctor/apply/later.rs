//! Drop-ins that are read after throng's at boot, and set one of its keys to less.
//!
//! Files are read by their names, whatever directory they are in, and of two with one name only that
//! of the first directory (sysctl.d(5)). `/etc/sysctl.conf` is the last: procps reads it so, and
//! systemd by a link that distributions call `99-sysctl.conf`.
//!
//! Absent on purpose: changing them. They are other people's. A file that cannot be read says nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use super::carry_out::DROP_IN;
use super::{files, spaced};
use crate::doctor::sysctl::{Facts, Judgement, named};
use crate::host::tree::Tree;

/// Where drop-ins are, the directory first whose file hides one of the same name in the others.
const DIRECTORIES: [&str; 5] =
    ["/etc/sysctl.d", "/run/sysctl.d", "/usr/local/lib/sysctl.d", "/usr/lib/sysctl.d", "/lib/sysctl.d"];

/// What is read last of all.
const LAST: &str = "/etc/sysctl.conf";

/// One assignment of a file that is read later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Later {
    /// The file on the box.
    pub file: String,
    /// The key.
    pub key: String,
    /// What the file sets it to, with one space between numbers.
    pub value: String,
    /// What it should be.
    pub wanted: String,
}

/// The assignments to `keys` that end with less than `facts` ask for: by key, then in the order of reading.
pub fn find(tree: &Tree, facts: &Facts, keys: &BTreeSet<String>) -> Vec<Later> {
    let files: Vec<_> = read_later(tree)
        .into_iter()
        .filter_map(|file| Some((files::assignments(&tree.text(&file).ok()?), file)))
        .collect();
    let mut found = Vec::new();
    for setting in keys.iter().filter_map(|key| named(key)) {
        let values = files.iter().filter_map(|(values, file)| Some((values.get(&setting.key)?, file)));
        let mut short: Vec<Later> = Vec::new();
        for (value, file) in values {
            let wanted = match setting.judge(value, facts) {
                // The last file decides: what came before it does no harm.
                Judgement::Met => {
                    short.clear();
                    continue;
                }
                Judgement::Short { wanted } => wanted,
                Judgement::Unparsable => setting.wanted_text(facts),
            };
            let (file, key, value) = (file.clone(), setting.key.clone(), spaced(value));
            short.push(Later { file, key, value, wanted });
        }
        found.extend(short);
    }
    found
}

/// The files that are read after throng's, in their order.
fn read_later(tree: &Tree) -> Vec<String> {
    let mut by_name = BTreeMap::new();
    for directory in DIRECTORIES {
        for name in tree.entries(directory).unwrap_or_default() {
            if name.ends_with(".conf") && name.as_str() > DROP_IN {
                let file = format!("{directory}/{name}");
                by_name.entry(name).or_insert(file);
            }
        }
    }
    let true_path = |file: &str| fs::canonicalize(tree.place(file)).ok();
    let last = true_path(LAST);
    let mut files: Vec<_> =
        by_name.into_values().filter(|file| last.is_none() || true_path(file) != last).collect();
    files.push(LAST.to_owned());
    files
}
