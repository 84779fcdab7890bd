//! Arithmetic of the shipped sysctl files: whole numbers, names, `+ - * /`, `min`, `max` and `pow2`.
//!
//! Ours, because of the maintained crates exmex (0.21) refuses a `max` within a `min`, evalexpr is
//! AGPL and the rest are languages; and because no number may wrap: what is more than a `u128` is
//! the largest `u128`, less than nothing is 0, and a division by 0 is the largest, as of no limit.
//!
//! Invariant: no text panics; one with more than `DEPTH_MAX` parentheses in each other is refused.

/// What an expression may name, and its value.
pub type Names<'a> = [(&'a str, u64)];

/// Most parentheses in each other. The files have three.
const DEPTH_MAX: usize = 16;

/// One parsed expression, such as `max(4096, pow2(N / 16))`.
#[derive(Debug, Clone)]
pub struct Arithmetic {
    text: String,
    expression: Expression,
}

#[derive(Debug, Clone)]
enum Expression {
    Number(u128),
    Name(String),
    Pair(Operator, Box<(Expression, Expression)>),
    /// The next power of two, or the number itself if it is one.
    PowerOfTwo(Box<Expression>),
}

#[derive(Debug, Clone, Copy)]
enum Operator {
    Plus,
    Minus,
    Times,
    Over,
    Min,
    Max,
}

impl Arithmetic {
    /// Parses `text`, which may name only what `known` holds.
    ///
    /// # Errors
    ///
    /// It is no expression, or names something else; a sentence says which.
    pub fn parse(text: &str, known: &[&str]) -> Result<Self, String> {
        let mut parser = Parser { rest: text.trim(), known, depth: 0 };
        let expression = parser.sum().and_then(|expression| match parser.rest {
            "" => Ok(expression),
            rest => Err(format!("`{rest}` is left over")),
        });
        let expression = expression.map_err(|what| format!("`{text}`: {what}"))?;
        Ok(Arithmetic { text: text.to_owned(), expression })
    }

    /// The expression's value; what `names` does not hold counts as 0.
    pub fn value(&self, names: &Names<'_>) -> u64 {
        u64::try_from(self.expression.value(names)).unwrap_or(u64::MAX)
    }

    /// The expression with each name replaced by its number.
    pub fn with_numbers(&self, names: &Names<'_>) -> String {
        let mut filled = String::new();
        let mut rest = self.text.as_str();
        while let Some(first) = rest.chars().next() {
            // A character that is no part of a word stands for itself.
            let (piece, after) = rest.split_at(word_bytes(rest).max(first.len_utf8()));
            match names.iter().find(|(name, _)| *name == piece) {
                Some((_, value)) => filled.push_str(&value.to_string()),
                None => filled.push_str(piece),
            }
            rest = after;
        }
        filled
    }
}

impl Expression {
    fn value(&self, names: &Names<'_>) -> u128 {
        match self {
            Expression::Number(number) => *number,
            Expression::Name(name) => {
                let known = names.iter().find(|(known, _)| known == name);
                known.map_or(0, |(_, value)| u128::from(*value))
            }
            Expression::Pair(operator, pair) => operator.apply(pair.0.value(names), pair.1.value(names)),
            Expression::PowerOfTwo(inner) => {
                inner.value(names).checked_next_power_of_two().unwrap_or(u128::MAX)
            }
        }
    }
}

impl Operator {
    fn apply(self, left: u128, right: u128) -> u128 {
        match self {
            Operator::Plus => left.saturating_add(right),
            Operator::Minus => left.saturating_sub(right),
            Operator::Times => left.saturating_mul(right),
            Operator::Over => left.checked_div(right).unwrap_or(u128::MAX),
            Operator::Min => left.min(right),
            Operator::Max => left.max(right),
        }
    }
}

/// Bytes of the word or number at the front of `text`.
fn word_bytes(text: &str) -> usize {
    text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len())
}

/// What is left of an expression, and how deep in parentheses it is.
struct Parser<'a> {
    /// Never begins with white space.
    rest: &'a str,
    known: &'a [&'a str],
    depth: usize,
}

impl Parser<'_> {
    fn sum(&mut self) -> Result<Expression, String> {
        let mut left = self.product()?;
        loop {
            let operator = if self.takes('+') {
                Operator::Plus
            } else if self.takes('-') {
                Operator::Minus
            } else {
                return Ok(left);
            };
            left = pair(operator, left, self.product()?);
        }
    }

    fn product(&mut self) -> Result<Expression, String> {
        let mut left = self.operand()?;
        loop {
            let operator = if self.takes('*') {
                Operator::Times
            } else if self.takes('/') {
                Operator::Over
            } else {
                return Ok(left);
            };
            left = pair(operator, left, self.operand()?);
        }
    }

    fn operand(&mut self) -> Result<Expression, String> {
        let (word, after) = self.rest.split_at(word_bytes(self.rest));
        self.rest = after.trim_start();
        if word.is_empty() {
            let inner = self.within()?;
            self.closes()?;
            return Ok(inner);
        }
        if word.starts_with(|c: char| c.is_ascii_digit()) {
            let number = word.parse().map_err(|_| format!("`{word}` is no whole number"))?;
            return Ok(Expression::Number(number));
        }
        let expression = match word {
            "pow2" => Expression::PowerOfTwo(Box::new(self.within()?)),
            "min" | "max" => {
                let operator = if word == "min" { Operator::Min } else { Operator::Max };
                let left = self.within()?;
                self.needs(',')?;
                pair(operator, left, self.sum()?)
            }
            _ if self.known.contains(&word) => return Ok(Expression::Name(word.to_owned())),
            _ => return Err(format!("`{word}` is not known; known are {}", self.known.join(", "))),
        };
        self.closes()?;
        Ok(expression)
    }

    /// An opening parenthesis and the sum after it.
    fn within(&mut self) -> Result<Expression, String> {
        self.needs('(')?;
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(format!("more than {DEPTH_MAX} parentheses in each other"));
        }
        self.sum()
    }

    fn closes(&mut self) -> Result<(), String> {
        self.depth -= 1;
        self.needs(')')
    }

    fn takes(&mut self, character: char) -> bool {
        let after = self.rest.strip_prefix(character);
        self.rest = after.unwrap_or(self.rest).trim_start();
        after.is_some()
    }

    fn needs(&mut self, character: char) -> Result<(), String> {
        if self.takes(character) {
            return Ok(());
        }
        match self.rest {
            "" => Err(format!("`{character}` is missing at the end")),
            rest => Err(format!("`{rest}` stands where `{character}` should")),
        }
    }
}

fn pair(operator: Operator, left: Expression, right: Expression) -> Expression {
    Expression::Pair(operator, Box::new((left, right)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn value(text: &str, n: u64) -> u64 {
        Arithmetic::parse(text, &["N"]).unwrap().value(&[("N", n)])
    }

    #[test]
    fn expressions_have_the_value_that_they_have_on_paper() {
        assert_eq!(value("max(4096, pow2(N / 16))", 1_000_000), 65_536);
        assert_eq!(value("max(4096, pow2(N / 16))", 1_000), 4_096);
        assert_eq!(value("min(65536, max(4096, pow2(N / 16)))", 10_000_000), 65_536);
        assert_eq!(value("1 + 2 * 3 - 4 / 2", 0), 5);
        assert_eq!(value("(1 + 2) * N", 5), 15);
        assert_eq!(value("10 - 3 - 2", 0), 5);
        assert_eq!(value("100 / 5 / 2 * 3", 0), 30);
        assert_eq!(value(" pow2( 0 ) ", 0), 1);
        assert_eq!(value("2*min(N, 7)+max(N,7)", 9), 23);
    }

    #[test]
    fn numbers_end_at_their_bounds_and_do_not_wrap() {
        assert_eq!(value("N * N * N * N", u64::MAX), u64::MAX);
        assert_eq!(value("3 - N", 5), 0);
        assert_eq!(value("N / 0", 5), u64::MAX);
        assert_eq!(value("pow2(N * N * 2)", u64::MAX), u64::MAX);
    }

    #[test]
    fn what_is_no_expression_is_refused_with_its_place() {
        let error = |text: &str| Arithmetic::parse(text, &["N"]).unwrap_err();
        assert_eq!(error("N + cores"), "`N + cores`: `cores` is not known; known are N");
        assert_eq!(error("N +"), "`N +`: `(` is missing at the end");
        assert_eq!(error("N 5"), "`N 5`: `5` is left over");
        assert_eq!(error("min(1)"), "`min(1)`: `)` stands where `,` should");
        assert_eq!(error("(1 + 2"), "`(1 + 2`: `)` is missing at the end");
        assert_eq!(error("5k * N"), "`5k * N`: `5k` is no whole number");
        assert_eq!(error("1.5"), "`1.5`: `.5` is left over");
        let deep = format!("{}1{}", "(".repeat(17), ")".repeat(17));
        assert!(error(&deep).ends_with("more than 16 parentheses in each other"));
    }

    #[test]
    fn numbers_take_the_place_of_names_and_of_nothing_else() {
        let arithmetic = Arithmetic::parse("min(N, pow2(N / 16))", &["N"]).unwrap();
        assert_eq!(arithmetic.with_numbers(&[("N", 80)]), "min(80, pow2(80 / 16))");
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "([N0-9a-zé+*/(), -]|min\\(|max\\(|pow2\\(){0,40}", n in any::<u64>()) {
            if let Ok(arithmetic) = Arithmetic::parse(&text, &["N"]) {
                arithmetic.value(&[("N", n)]);
                arithmetic.with_numbers(&[("N", n)]);
            }
        }
    }
}
