//! What a key's numbers must be for a number of connections: the `needs` line of a shipped file.
//!
//! A rule has one clause for each number of the key, parted by semicolons: `at least A`, `0 or at least A`
//! where 0 is no limit, `at most A`, `one of 1, 2`, where the first is what a key is set to that has none
//! of them, or `any, as 1`, of which the number only shows what Linux starts with.
//!
//! Invariant: a number that meets its clause is what is wanted, so that nothing better is changed.

use std::collections::BTreeMap;

use super::arithmetic::{Arithmetic, Names};

/// What arithmetic may name besides numbers.
pub const NAMES: [&str; 3] = ["N", "memory_bytes", "page_bytes"];

/// Most connections that the arithmetic counts with: most keys have 32 bits with a sign, and twice
/// the connections must fit in them.
pub const TARGET_MAX: u64 = 1_000_000_000;

/// What a box is asked to hold, and what it has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Connections, up to [`TARGET_MAX`].
    pub target: u64,
    /// Ends of each connection on the box: 2 where the clients are there too. Every key is then as for
    /// twice the connections: most count sockets, and for the others it is no harm.
    pub ends: u64,
    /// Memory of the box (`MemTotal`), in bytes.
    pub memory_bytes: u64,
    /// One page, in bytes.
    pub page_bytes: u64,
    /// Texts of the keys as they are now, by key. Empty if nothing is known of the box.
    pub found: BTreeMap<String, String>,
}

impl Facts {
    /// `target` connections on a box with `memory_bytes`, of which no key is known.
    pub fn new(target: u64, memory_bytes: u64, page_bytes: u64) -> Self {
        Facts { target, ends: 1, memory_bytes, page_bytes, found: BTreeMap::new() }
    }

    /// What is to be held, in words: `100000 connections`, and their clients if those are there too.
    pub fn held(&self) -> String {
        let clients = if self.ends > 1 { " and their clients" } else { "" };
        format!("{} connections{clients}", self.target)
    }

    /// The options of `throng doctor` that ask for it.
    pub fn options(&self) -> String {
        let clients = if self.ends > 1 { " --with-clients" } else { "" };
        format!("--target {}{clients}", self.target)
    }

    /// What the arithmetic's names stand for.
    pub fn names(&self) -> [(&'static str, u64); 3] {
        [
            ("N", self.target.saturating_mul(self.ends).min(TARGET_MAX)),
            ("memory_bytes", self.memory_bytes),
            ("page_bytes", self.page_bytes),
        ]
    }
}

/// What a found text is worth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Judgement {
    /// It is enough.
    Met,
    /// It is not; `wanted` is what to write, with every number kept that is enough already.
    Short {
        /// One to three numbers, as the key takes them.
        wanted: String,
    },
    /// It holds other things than the numbers that the key has.
    Unparsable,
}

/// The clauses of one key.
#[derive(Debug, Clone)]
pub struct Rule {
    clauses: Vec<Clause>,
}

#[derive(Debug, Clone)]
enum Clause {
    AtLeast(Arithmetic),
    NoneOrAtLeast(Arithmetic),
    AtMost(Arithmetic),
    OneOf(Vec<u64>),
    Any(u64),
}

impl Rule {
    /// Parses a `needs` line.
    ///
    /// # Errors
    ///
    /// A clause begins otherwise, or its arithmetic is none; a sentence says which.
    pub fn parse(text: &str) -> Result<Self, String> {
        let clauses = text.split(';').map(|clause| Clause::parse(clause.trim()));
        Ok(Rule { clauses: clauses.collect::<Result<_, _>>()? })
    }

    /// Numbers that the key has.
    pub fn fields(&self) -> usize {
        self.clauses.len()
    }

    /// What the key must hold, given what it holds: a number that is enough stays.
    pub fn wanted(&self, found: Option<&[u64]>, names: &Names<'_>) -> Vec<u64> {
        let clauses = self.clauses.iter().enumerate();
        let number = |at: usize| found.and_then(|numbers| numbers.get(at)).copied();
        clauses.map(|(at, clause)| clause.wanted(number(at), names)).collect()
    }

    /// Whether `found`, the text of the key, is enough.
    pub fn judge(&self, found: &str, names: &Names<'_>) -> Judgement {
        let Some(numbers) = self.numbers(found) else { return Judgement::Unparsable };
        let wanted = self.wanted(Some(&numbers), names);
        if wanted == numbers { Judgement::Met } else { Judgement::Short { wanted: joined(&wanted) } }
    }

    /// The numbers of a key's text, if it holds as many as the key has and nothing else.
    ///
    /// A negative number counts by its size. Only `tcp_ehash_entries` has one: there the sign says
    /// that the table is the initial network namespace's. Source: Linux `proc_tcp_ehash_entries`.
    pub fn numbers(&self, text: &str) -> Option<Vec<u64>> {
        let words = text.split_ascii_whitespace().map(|word| word.strip_prefix('-').unwrap_or(word));
        let numbers: Option<Vec<u64>> = words.map(|word| word.parse().ok()).collect();
        numbers.filter(|numbers| numbers.len() == self.clauses.len())
    }

    /// The rule in words with its numbers filled in: `at least max(4096, pow2(1000000 / 16)) = 65536`.
    pub fn explained(&self, names: &Names<'_>) -> String {
        let clauses: Vec<_> = self.clauses.iter().map(|clause| clause.explained(names)).collect();
        clauses.join("; ")
    }
}

impl Clause {
    fn parse(text: &str) -> Result<Self, String> {
        if let Some(arithmetic) = text.strip_prefix("at least ") {
            return Ok(Clause::AtLeast(Arithmetic::parse(arithmetic, &NAMES)?));
        }
        if let Some(arithmetic) = text.strip_prefix("0 or at least ") {
            return Ok(Clause::NoneOrAtLeast(Arithmetic::parse(arithmetic, &NAMES)?));
        }
        if let Some(arithmetic) = text.strip_prefix("at most ") {
            return Ok(Clause::AtMost(Arithmetic::parse(arithmetic, &NAMES)?));
        }
        let number = |word: &str| word.trim().parse().map_err(|_| format!("`{word}` is no whole number"));
        if let Some(list) = text.strip_prefix("one of ") {
            return Ok(Clause::OneOf(list.split(',').map(number).collect::<Result<_, _>>()?));
        }
        match text.strip_prefix("any, as ") {
            Some(word) => Ok(Clause::Any(number(word)?)),
            None => Err(format!("`{text}` begins with none of `at least`, `at most`, `one of`, `any, as`")),
        }
    }

    fn wanted(&self, found: Option<u64>, names: &Names<'_>) -> u64 {
        match self {
            Clause::AtLeast(least) => found.unwrap_or(0).max(least.value(names)),
            Clause::NoneOrAtLeast(_) if found == Some(0) => 0,
            Clause::NoneOrAtLeast(least) => found.unwrap_or(0).max(least.value(names)),
            Clause::AtMost(most) => found.unwrap_or(u64::MAX).min(most.value(names)),
            Clause::OneOf(choices) => {
                let kept = found.filter(|found| choices.contains(found));
                kept.or(choices.first().copied()).unwrap_or(0)
            }
            Clause::Any(usual) => found.unwrap_or(*usual),
        }
    }

    fn explained(&self, names: &Names<'_>) -> String {
        let (relation, arithmetic) = match self {
            Clause::AtLeast(least) => ("at least", least),
            Clause::NoneOrAtLeast(least) => ("0 or at least", least),
            Clause::AtMost(most) => ("at most", most),
            Clause::OneOf(choices) => {
                let choices: Vec<_> = choices.iter().map(u64::to_string).collect();
                return format!("one of {}", choices.join(", "));
            }
            Clause::Any(_) => return "any".to_owned(),
        };
        let (filled, value) = (arithmetic.with_numbers(names), arithmetic.value(names).to_string());
        if filled == value { format!("{relation} {value}") } else { format!("{relation} {filled} = {value}") }
    }
}

/// Numbers as a key takes them.
pub fn joined(numbers: &[u64]) -> String {
    numbers.iter().map(u64::to_string).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES_OF_A_MILLION: [(&str, u64); 3] =
        [("N", 1_000_000), ("memory_bytes", 1 << 36), ("page_bytes", 4096)];

    fn judge(rule: &str, found: &str) -> Judgement {
        Rule::parse(rule).unwrap().judge(found, &NAMES_OF_A_MILLION)
    }

    fn short(wanted: &str) -> Judgement {
        Judgement::Short { wanted: wanted.to_owned() }
    }

    #[test]
    fn a_number_is_short_if_it_is_below_what_is_needed_at_least() {
        assert_eq!(judge("at least 2 * N", "2000000\n"), Judgement::Met);
        assert_eq!(judge("at least 2 * N", "9223372036854775807"), Judgement::Met);
        assert_eq!(judge("at least 2 * N", "1999999"), short("2000000"));
    }

    #[test]
    fn a_number_is_short_if_it_is_above_what_may_be_at_most() {
        assert_eq!(judge("0 or at least 2 * N", "0"), Judgement::Met);
        assert_eq!(judge("0 or at least 2 * N", "5"), short("2000000"));
        assert_eq!(judge("at most 60", "30"), Judgement::Met);
        assert_eq!(judge("at most 60", "61"), short("60"));
    }

    #[test]
    fn the_first_of_several_choices_is_wanted_where_none_is_found() {
        assert_eq!(judge("one of 2, 0", "0"), Judgement::Met);
        assert_eq!(judge("one of 2, 0", "1"), short("2"));
    }

    #[test]
    fn a_number_that_does_not_matter_is_met_by_any() {
        assert_eq!(judge("any, as 4096; at least 5", "1 9"), Judgement::Met);
        assert_eq!(judge("any, as 4096; at least 5", "1 4"), short("1 5"));
        assert_eq!(Rule::parse("any, as 4096").unwrap().wanted(None, &NAMES_OF_A_MILLION), [4096]);
    }

    #[test]
    fn numbers_that_are_enough_stay_beside_those_that_are_not() {
        assert_eq!(judge("at most 10000; at least 65535", "1024\t60999"), short("1024 65535"));
        assert_eq!(judge("at least 1; at least 2; at least 3", "9 9 1"), short("9 9 3"));
    }

    #[test]
    fn other_things_than_the_key_s_numbers_are_not_judged() {
        for found in ["", "many", "1 2", "1.5", "0x10", "99999999999999999999999"] {
            assert_eq!(judge("at least 1", found), Judgement::Unparsable, "{found}");
        }
    }

    #[test]
    fn a_shared_hash_table_counts_by_its_size() {
        assert_eq!(judge("at least pow2(N)", "-1048576"), Judgement::Met);
        assert_eq!(judge("at least pow2(N)", "-262144"), short("1048576"));
    }

    #[test]
    fn a_rule_explains_itself_with_its_numbers() {
        let explained = |rule: &str| Rule::parse(rule).unwrap().explained(&NAMES_OF_A_MILLION);
        assert_eq!(explained("at least 2 * N; at most 7"), "at least 2 * 1000000 = 2000000; at most 7");
        assert_eq!(explained("one of 0, 1"), "one of 0, 1");
    }

    #[test]
    fn a_rule_of_other_words_is_refused() {
        let error = Rule::parse("at least 1; about 5").unwrap_err();
        assert_eq!(error, "`about 5` begins with none of `at least`, `at most`, `one of`, `any, as`");
        assert_eq!(Rule::parse("one of 1, cores").unwrap_err(), "` cores` is no whole number");
        assert!(Rule::parse("at least cores").unwrap_err().contains("`cores` is not known"));
    }
}
