//! What the findings amount to: how many connections the box holds, and the walls in their order.

use serde::Serialize;

use super::finding::{Finding, Strength, Wall};
use super::words::{count, several};

/// The sum of a doctor's findings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// Connections of the whole server; absent if no wall is known.
    pub connections: Option<u64>,
    /// For a server that runs: how many of them are not open yet.
    pub more: Option<u64>,
    /// Walls beyond which connections are refused, the nearest first. The first one binds.
    pub hard: Vec<Wall>,
    /// Walls beyond which all connections are slower, the nearest first.
    pub soft: Vec<Wall>,
    /// The same in words.
    pub text: String,
}

/// What a server that runs has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// What it is called, in words.
    pub name: String,
    /// Connections that are open, or descriptors if it is no throng.
    pub connections: u64,
    /// It is a throng, so that descriptors are known from connections.
    pub is_throng: bool,
}

impl Held {
    fn words(&self) -> String {
        let noun = if self.is_throng { "connection" } else { "descriptor" };
        format!("has {} open", several(self.connections, noun))
    }
}

impl Verdict {
    /// Sums `findings` up; `server` is the one that runs, if one does.
    pub fn of(findings: &[Finding], server: Option<&Held>) -> Self {
        let walls = |strength: Strength| {
            let walls = findings.iter().filter_map(|finding| finding.wall.clone());
            let mut walls: Vec<_> = walls.filter(|wall| wall.strength == strength).collect();
            walls.sort_by_key(|wall| wall.connections);
            walls
        };
        let (hard, soft) = (walls(Strength::Hard), walls(Strength::Soft));
        let connections = hard.first().map(|wall| wall.connections);
        let more = server
            .zip(connections)
            .map(|(server, connections)| connections.saturating_sub(server.connections));
        let text = words(&hard, &soft, server.zip(more));
        Verdict { connections, more, hard, soft, text }
    }

    /// The wall that binds, if one is known.
    pub fn binding(&self) -> Option<&Wall> {
        self.hard.first()
    }
}

/// The verdict in a few sentences.
fn words(hard: &[Wall], soft: &[Wall], running: Option<(&Held, u64)>) -> String {
    let Some(first) = hard.first() else {
        return "How many connections this box holds cannot be told: none of its limits can be read."
            .to_owned();
    };
    let mut text = match running {
        Some((server, more)) => format!(
            "{} {}, and {} more connections fit: the first wall is {}",
            server.name,
            server.words(),
            count(more),
            first.name
        ),
        None => format!(
            "this box holds {} connections: the first wall is {}",
            count(first.connections),
            first.name
        ),
    };
    match hard.iter().find(|wall| wall.connections > first.connections) {
        Some(next) => text.push_str(&format!(", after it {} at {}.", next.name, count(next.connections))),
        None => text.push('.'),
    }
    text.push_str(&format!("\nBeyond the first {}. To move it: {}.", first.beyond, first.remedy));
    for wall in soft {
        let is_past = wall.connections >= first.connections;
        text.push_str(&format!(
            "\n{} gets slower from {} connections on by {}: {}.",
            if is_past { "Past that wall it" } else { "It" },
            count(wall.connections),
            wall.name,
            wall.beyond
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::finding::Status;

    fn finding(name: &'static str, connections: u64, strength: Strength) -> Finding {
        Finding::new("check", Status::Pass, "").wall(Wall {
            name,
            connections,
            strength,
            beyond: "it ends",
            remedy: format!("raise {name}"),
        })
    }

    #[test]
    fn walls_are_told_in_the_order_in_which_they_are_met() {
        let findings = [
            finding("far", 500, Strength::Hard),
            finding("near", 100, Strength::Hard),
            finding("slow", 80, Strength::Soft),
            finding("slower", 900, Strength::Soft),
            Finding::new("other", Status::Fail, ""),
        ];
        let verdict = Verdict::of(&findings, None);
        assert_eq!((verdict.connections, verdict.more), (Some(100), None));
        assert_eq!(
            verdict.text,
            "this box holds 100 connections: the first wall is near, after it far at 500.\n\
             Beyond the first it ends. To move it: raise near.\n\
             It gets slower from 80 connections on by slow: it ends.\n\
             Past that wall it gets slower from 900 connections on by slower: it ends."
        );
    }

    #[test]
    fn a_running_server_is_told_how_many_more_fit_and_never_fewer_than_none() {
        let held = |connections, is_throng| Held { name: "it (pid 7)".to_owned(), connections, is_throng };
        let near = [finding("near", 100, Strength::Hard)];
        let verdict = Verdict::of(&near, Some(&held(60, true)));
        assert_eq!(verdict.more, Some(40));
        assert!(verdict.text.starts_with("it (pid 7) has 60 connections open, and 40 more connections fit"));
        assert_eq!(Verdict::of(&near, Some(&held(101, true))).more, Some(0));
        let other = Verdict::of(&near, Some(&held(1, false))).text;
        assert!(other.starts_with("it (pid 7) has 1 descriptor open"), "{other}");
    }

    #[test]
    fn without_any_wall_nothing_is_claimed() {
        let verdict = Verdict::of(&[finding("slow", 80, Strength::Soft)], None);
        assert_eq!(verdict.connections, None);
        assert!(verdict.text.contains("cannot be told"));
    }
}
