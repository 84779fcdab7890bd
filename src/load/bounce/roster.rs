//! Who is in a room, as one member knows that goes by what it is told.
//!
//! Absent on purpose: the list that a server gives on demand. What it tells has to be enough.

use std::collections::HashSet;

use serde::Deserialize;

/// A line of the server, as far as it matters. Source: PROTOCOL.md sections 5 and 7.
#[derive(Deserialize)]
struct Told<'a> {
    #[serde(borrow)]
    push: Option<Push<'a>>,
    #[serde(borrow)]
    connect: Option<Info<'a>>,
    presence_stats: Option<PresenceStats>,
}

#[derive(Deserialize)]
struct Push<'a> {
    #[serde(borrow)]
    join: Option<Coming<'a>>,
    #[serde(borrow)]
    leave: Option<Coming<'a>>,
}

#[derive(Deserialize)]
struct Coming<'a> {
    #[serde(borrow)]
    info: Info<'a>,
}

#[derive(Deserialize)]
struct Info<'a> {
    client: &'a str,
}

#[derive(Deserialize)]
struct PresenceStats {
    num_clients: u64,
}

/// What one member knows.
#[derive(Debug, Clone, Default)]
pub struct Roster {
    own: Box<str>,
    /// Those it was told of, but for itself: servers differ in whether they tell one of oneself.
    members: HashSet<Box<str>>,
    /// Joins of who was there already, leaves of who was not, and lines that are neither.
    pub contradictions: u64,
    /// Lines that told who joined or left.
    pub comings: u64,
    /// What the server last answered when it was asked how many are there, and how often it did.
    pub counted: Option<u64>,
    /// Answers to that question.
    pub answers: u64,
}

impl Roster {
    /// Members there are, this one included.
    pub fn members(&self) -> u64 {
        self.members.len() as u64 + 1
    }

    /// Takes a line that tells who joined or left.
    pub fn came(&mut self, line: &[u8]) {
        self.comings += 1;
        let is_news = match serde_json::from_slice::<Told<'_>>(line) {
            Ok(Told { push: Some(Push { join: Some(join), leave: None }), .. })
                if *join.info.client == *self.own =>
            {
                true
            }
            Ok(Told { push: Some(Push { join: Some(join), leave: None }), .. }) => {
                self.members.insert(join.info.client.into())
            }
            Ok(Told { push: Some(Push { join: None, leave: Some(leave) }), .. }) => {
                self.members.remove(leave.info.client)
            }
            _ => false,
        };
        self.contradictions += u64::from(!is_news);
    }

    /// Takes a reply.
    pub fn replied(&mut self, line: &[u8]) {
        match serde_json::from_slice(line) {
            Ok(Told { presence_stats: Some(stats), .. }) => {
                self.counted = Some(stats.num_clients);
                self.answers += 1;
            }
            Ok(Told { connect: Some(connect), .. }) => self.own = connect.client.into(),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(what: &str, client: &str) -> Vec<u8> {
        format!(r#"{{"push":{{"channel":"bench-0","{what}":{{"info":{{"user":"","client":"{client}"}}}}}}}}"#)
            .into_bytes()
    }

    #[test]
    fn who_is_told_of_everything_knows_who_is_there() {
        let mut roster = Roster::default();
        roster.replied(br#"{"id":1,"connect":{"client":"me","ping":25}}"#);
        for (what, client) in
            [("join", "me"), ("join", "a"), ("join", "b"), ("leave", "a"), ("join", "a"), ("leave", "b")]
        {
            roster.came(&line(what, client));
        }
        assert_eq!((roster.members(), roster.contradictions, roster.comings), (2, 0, 6));
        roster.replied(br#"{"id":2,"subscribe":{}}"#);
        assert_eq!(roster.counted, None);
        roster.replied(br#"{"id":2,"presence_stats":{"num_clients":7,"num_users":1}}"#);
        assert_eq!((roster.counted, roster.answers), (Some(7), 1));
    }

    #[test]
    fn what_cannot_be_is_noticed() {
        let mut roster = Roster::default();
        for (what, client) in [("join", "a"), ("join", "a"), ("leave", "b"), ("else", "c")] {
            roster.came(&line(what, client));
        }
        roster.came(b"{");
        assert_eq!((roster.members(), roster.contradictions), (2, 4));
    }
}
