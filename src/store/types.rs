//! What goes into a store and comes out of it.

use std::fmt;

use bytes::Bytes;

/// Names one instance of a stream: eight ASCII letters or digits, random.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Epoch([u8; 8]);

impl Epoch {
    /// Letters that an epoch is made of: no JSON escape, 62 of them.
    const LETTERS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

    /// What a client calls an epoch and no stream has: no letters or digits.
    pub const OF_NO_STREAM: Epoch = Epoch(*b"????????");

    /// The epoch that a random number stands for. That it is random is the caller's care.
    pub fn new(mut random: u64) -> Self {
        Epoch(std::array::from_fn(|_| {
            let letter = Self::LETTERS[(random % 62) as usize];
            random /= 62;
            letter
        }))
    }

    /// The epoch with this text, as it was read from a file.
    pub fn from_text(text: [u8; 8]) -> Option<Self> {
        text.iter().all(|letter| letter.is_ascii_alphanumeric()).then_some(Epoch(text))
    }

    /// A number above 0 that only this epoch has.
    pub fn number(&self) -> u64 {
        u64::from_be_bytes(self.0)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("letters and digits")
    }
}

impl fmt::Debug for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A place in a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Which instance of the stream.
    pub epoch: Epoch,
    /// Number of the last publication before this place; 0 for the beginning.
    pub offset: u64,
}

/// One kept publication.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publication {
    /// Its number, from 1.
    pub offset: u64,
    /// Members of its JSON object, without braces and offset: `"data":…` and perhaps `"info":…`, `"tags":…`.
    pub body: Bytes,
}

/// Which publications to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// Only those with a greater offset, ascending; with `reverse` only those with a lesser one,
    /// descending, where `None` begins at the last.
    pub since: Option<u64>,
    /// At most so many.
    pub limit: usize,
    /// At most as many as have bodies of so many bytes together, but always one.
    pub bytes_max: usize,
    /// Newest first.
    pub reverse: bool,
}

impl Range {
    /// The first of `publications`, as many as there are bytes for.
    pub(super) fn within_bytes(&self, mut publications: Vec<Publication>) -> Vec<Publication> {
        let mut bytes = 0;
        let over = publications.iter().position(|publication| {
            bytes += publication.body.len();
            bytes > self.bytes_max
        });
        publications.truncate(over.unwrap_or(publications.len()).max(1));
        publications
    }
}

/// A publication's own version, by which an application drops those that come too late.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// Ascending; above 0.
    pub number: u64,
    /// What `number` counts within; numbers of different epochs are not compared.
    pub epoch: Box<str>,
}

/// Why a store did not do what it was asked.
#[derive(Debug, Clone)]
pub enum StoreError {
    /// There is no room on the disk; what to do is in the text.
    Full(String),
    /// What stands on the disk is not what was written; which file, and what to do, is in the text.
    Corrupt(String),
    /// The disk refused.
    Io(String),
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (StoreError::Full(text) | StoreError::Corrupt(text) | StoreError::Io(text)) = self;
        f.write_str(text)
    }
}

impl std::error::Error for StoreError {}
