//! `throng doctor --apply`: what would change in the kernel's settings, and changing it.
//!
//! A [`Plan`] is made from what the box says and shown; only [`Plan::carry_out`] writes. It leaves a
//! drop-in for the next boot and a file that undoes it, and says of each key whether it took effect.
//!
//! Invariants: a number that is better than needed stays; a key that is short and cannot be written
//! here is named with the reason. Absent on purpose: asking, which is `cli`'s.

mod carry_out;
mod files;
mod hindrance;
mod later;

use std::collections::BTreeMap;
use std::fs::OpenOptions;

pub use carry_out::{Failure, Outcome};
use later::Later;

use super::sysctl::{Facts, Judgement, Setting, settings};
use crate::host::tree::{Tree, Why, sysctl_path};
use hindrance::Writer;

/// What to change on a box for a number of connections, and what cannot be changed there.
#[derive(Debug, Clone)]
pub struct Plan {
    facts: Facts,
    changes: Vec<Change>,
    hindered: Vec<Hindered>,
    later: Vec<Later>,
}

/// One key that is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Its name, such as `net.core.somaxconn`.
    pub key: &'static str,
    /// What it holds, with one space between numbers.
    pub found: String,
    /// What it shall hold.
    pub wanted: String,
    /// The shipped file that says why.
    pub file: &'static str,
}

/// One key that holds too little, or that nothing is known of, and cannot be written here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hindered {
    /// Its name.
    pub key: &'static str,
    /// What it holds, if that can be read.
    pub found: Option<String>,
    /// What it should hold.
    pub wanted: String,
    /// It holds too little, and should be written by whoever can.
    pub is_short: bool,
    /// Why it cannot be written, and what to do.
    pub why: String,
}

impl Plan {
    /// Compares every key of the shipped files with what `tree` has, for `facts.target` connections.
    ///
    /// What `facts.found` holds is read anew from `tree`. Nothing is written.
    pub fn new(tree: &Tree, facts: &Facts) -> Self {
        let facts = facts.clone().with_found(tree);
        let mut plan = Plan { facts, changes: Vec::new(), hindered: Vec::new(), later: Vec::new() };
        let writer = Writer::of(tree);
        for setting in settings() {
            plan.judge(setting, tree, &writer);
        }
        // A drop-in that was there has keys that are enough only because it was loaded.
        let mut keys = carry_out::keys_of_drop_in(tree);
        keys.extend(plan.changes.iter().map(|change| change.key.to_owned()));
        plan.later = later::find(tree, &plan.facts, &keys);
        plan
    }

    fn judge(&mut self, setting: &'static Setting, tree: &Tree, writer: &Writer) {
        let read = tree.sysctl(&setting.key);
        let mut is_short = false;
        let why = match &read {
            Ok(found) => match (setting.judge(found, &self.facts), &setting.instead) {
                (Judgement::Met, _) => return,
                (Judgement::Unparsable, _) => format!("it holds `{found}`, which are not its numbers"),
                (Judgement::Short { wanted }, Some(instead)) => instead.replace('…', &wanted),
                (Judgement::Short { wanted }, None) => {
                    // Opening for writing changes nothing under /proc/sys, and says whether it could.
                    let place = tree.place(&sysctl_path(&setting.key));
                    match OpenOptions::new().write(true).open(place) {
                        Ok(_) => {
                            let (key, file) = (setting.key.as_str(), setting.file);
                            self.changes.push(Change { key, found: spaced(found), wanted, file });
                            return;
                        }
                        Err(error) => {
                            is_short = true;
                            writer.hindrance(setting, &error)
                        }
                    }
                }
            },
            // A key that would be left as it is: that it is not there hinders nothing.
            Err(unreadable) if unreadable.why == Why::Missing && setting.instead.is_some() => return,
            Err(unreadable) if unreadable.why == Why::Missing => writer.absence(&setting.key),
            Err(unreadable) => unreadable.to_string(),
        };
        let wanted = setting.wanted_text(&self.facts);
        let found = read.ok().map(|found| spaced(&found));
        self.hindered.push(Hindered { key: setting.key.as_str(), found, wanted, is_short, why });
    }

    /// Whether something stays short, now or from the next boot on, even if all changes take effect.
    pub fn leaves_short(&self) -> bool {
        !self.later.is_empty() || self.hindered.iter().any(|hindered| hindered.is_short)
    }

    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// The difference, for people: each key with what it holds and what it shall hold, and below that
    /// what cannot be changed here. Ends with a newline.
    pub fn render(&self) -> String {
        let held = self.facts.held();
        let mut text = match self.changes.len() {
            0 => format!("No key that can be written here is short of what {held} need.\n"),
            1 => format!("For {held}, 1 key changes:\n"),
            count => format!("For {held}, {count} keys change:\n"),
        };
        let width = |cell: fn(&Change) -> usize| self.changes.iter().map(cell).max().unwrap_or(0);
        let (key_chars, found_chars) = (width(|change| change.key.len()), width(|change| change.found.len()));
        let wanted_chars = width(|change| change.wanted.len());
        for Change { key, found, wanted, file } in &self.changes {
            text.push_str(&format!(
                "  {key:<key_chars$}  {found:>found_chars$}  ->  {wanted:<wanted_chars$}  {file}\n"
            ));
        }
        if !self.hindered.is_empty() {
            text.push_str("Not changed here:\n");
        }
        for (why, keys) in self.hindered_by_reason() {
            for hindered in keys {
                let found = hindered.found.as_deref().unwrap_or("unknown");
                text.push_str(&format!("  {}: {found}, needed {}\n", hindered.key, hindered.wanted));
            }
            text.push_str(&format!("    {why}\n"));
        }
        if !self.later.is_empty() {
            text.push_str(&format!("Lost at the next boot, when {} is read:\n", carry_out::DROP_IN));
        }
        for Later { file, key, value, wanted } in &self.later {
            text.push_str(&format!(
                "  {file} also sets {key} = {value} and is read later: remove it there (needed {wanted})\n"
            ));
        }
        text
    }

    /// The keys that cannot be written, put together where the reason is the same.
    fn hindered_by_reason(&self) -> Vec<(&str, Vec<&Hindered>)> {
        let mut order = Vec::new();
        let mut by_reason: BTreeMap<&str, Vec<&Hindered>> = BTreeMap::new();
        for hindered in &self.hindered {
            let keys = by_reason.entry(&hindered.why).or_default();
            if keys.is_empty() {
                order.push(hindered.why.as_str());
            }
            keys.push(hindered);
        }
        order.into_iter().map(|why| (why, by_reason.remove(why).unwrap_or_default())).collect()
    }
}

/// A key's text with one space between its numbers: the kernel puts tabs there.
fn spaced(text: &str) -> String {
    text.split_ascii_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests;
