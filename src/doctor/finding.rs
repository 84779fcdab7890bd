//! What a check found: a status, the figures behind it, and what helps.

use serde::Serialize;

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// What is needed will not do.
    Fail,
    /// It will do, with a cost that is told, or it may not do.
    Warn,
    /// What it depends on cannot be read here; the finding says why.
    CannotTell,
    /// As it should be.
    Pass,
}

impl Status {
    /// The word that a table shows.
    pub fn word(self) -> &'static str {
        match self {
            Status::Fail => "fail",
            Status::Warn => "warn",
            Status::CannotTell => "cannot tell",
            Status::Pass => "pass",
        }
    }
}

/// What happens to the connections after the last that a limit allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Strength {
    /// They are refused, or the process is ended.
    Hard,
    /// They are served, and everybody is served more slowly.
    Soft,
}

/// A number of connections up to which a limit lets the server have its way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Wall {
    /// What limits, such as `RLIMIT_NOFILE`.
    pub name: &'static str,
    /// Connections of the whole server.
    pub connections: u64,
    /// What happens beyond.
    pub strength: Strength,
    /// What happens beyond, in words that follow "beyond that".
    pub beyond: &'static str,
    /// What moves it.
    pub remedy: String,
}

/// What one check found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The check, in kebab case. Several findings may be of one check.
    pub check: &'static str,
    /// How it ended.
    pub status: Status,
    /// What is there.
    pub found: String,
    /// What the connections need; empty if nothing in particular.
    pub needed: String,
    /// Why it matters, or why it cannot be told.
    pub why: String,
    /// What changes it: a command or an option. Absent where nothing has to be.
    pub fix: Option<String>,
    /// How many connections it lets the server have; absent where it does not limit their number.
    pub wall: Option<Wall>,
    /// What the key's numbers count, if it is about a key.
    pub unit: Option<String>,
    /// What Linux starts the key with, if it is about a key.
    pub default: Option<String>,
    /// What changing it costs, where that is known.
    pub cost: Option<String>,
    /// Where what is said of it comes from, where that is known.
    pub source: Option<String>,
}

impl Finding {
    /// A finding of `check` that needs nothing in particular.
    pub fn new(check: &'static str, status: Status, found: impl Into<String>) -> Self {
        Finding {
            check,
            status,
            found: found.into(),
            needed: String::new(),
            why: String::new(),
            fix: None,
            wall: None,
            unit: None,
            default: None,
            cost: None,
            source: None,
        }
    }

    /// What could not be told, and the reason.
    pub fn cannot_tell(check: &'static str, what: impl Into<String>, why: impl Into<String>) -> Self {
        Finding::new(check, Status::CannotTell, what).why(why)
    }

    /// Says what is needed.
    #[must_use]
    pub fn needed(mut self, needed: impl Into<String>) -> Self {
        self.needed = needed.into();
        self
    }

    /// Says why it matters.
    #[must_use]
    pub fn why(mut self, why: impl Into<String>) -> Self {
        self.why = why.into();
        self
    }

    /// Says what helps, unless nothing has to.
    #[must_use]
    pub fn fix(mut self, fix: impl Into<String>) -> Self {
        if self.status != Status::Pass {
            self.fix = Some(fix.into());
        }
        self
    }

    /// Says how many connections it allows.
    #[must_use]
    pub fn wall(mut self, wall: Wall) -> Self {
        self.wall = Some(wall);
        self
    }
}
