//! What is wrong with a configuration, in one line a person can act on.

use std::fmt;

/// A configuration that cannot be used. Its text is `FILE:LINE: what was found, what is needed`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    origin: String,
    line: Option<usize>,
    message: String,
}

impl ConfigError {
    pub(super) fn new(origin: &str, line: Option<usize>, message: String) -> ConfigError {
        ConfigError { origin: origin.to_owned(), line, message }
    }

    /// Line of the file, counted from 1; none where no line is to blame.
    pub fn line(&self) -> Option<usize> {
        self.line
    }

    /// What was found and what is needed, without the place.
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}: {}", self.origin, self.message),
            None => write!(f, "{}: {}", self.origin, self.message),
        }
    }
}

impl std::error::Error for ConfigError {}
