//! Names in PromQL: a tokenizer, and enough of the grammar to tell metrics, labels and functions apart.

/// Functions and aggregations that the files may use, each of which has its arguments in parentheses.
const FUNCTIONS: [&str; 12] = [
    "sum",
    "max",
    "min",
    "avg",
    "count",
    "rate",
    "irate",
    "increase",
    "resets",
    "clamp_min",
    "absent",
    "histogram_quantile",
];

/// Words that are followed by a list of labels.
const GROUPINGS: [&str; 6] = ["by", "without", "on", "ignoring", "group_left", "group_right"];

/// Words between expressions.
const OPERATORS: [&str; 4] = ["and", "or", "unless", "bool"];

/// A metric where it is asked for.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Use {
    /// Its name.
    pub metric: String,
    /// The function whose argument it is, alone.
    pub function: Option<String>,
    /// Label, operator, value.
    pub matchers: Vec<(String, String, String)>,
    /// What stands in brackets behind it.
    pub range: Option<String>,
}

/// What an expression asks for.
#[derive(Debug, Default)]
pub struct Expression {
    /// Its metrics.
    pub uses: Vec<Use>,
    /// Labels by which it groups or matches.
    pub grouped_by: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Name(String),
    Text(String),
    Number(String),
    Sign(String),
}

impl Expression {
    /// Reads `text`.
    ///
    /// # Errors
    ///
    /// It is none, or uses a function that the list above does not have; in words.
    pub fn read(text: &str) -> Result<Expression, String> {
        let tokens = tokens(text)?;
        let mut found = Expression::default();
        // What stood before each parenthesis that is open.
        let mut open: Vec<Option<String>> = Vec::new();
        let mut at = 0;
        while at < tokens.len() {
            let follows = |sign: &str| tokens.get(at + 1) == Some(&Token::Sign(sign.to_owned()));
            match &tokens[at] {
                Token::Name(name) if GROUPINGS.contains(&name.as_str()) => {
                    let end = list(&tokens, at + 1, &mut found.grouped_by)?;
                    at = end;
                    // `sum by (a) (…)`: the parenthesis is the aggregation's.
                    continue;
                }
                Token::Name(name) if OPERATORS.contains(&name.as_str()) => {}
                Token::Name(name) if FUNCTIONS.contains(&name.as_str()) => {
                    let groups = matches!(tokens.get(at + 1), Some(Token::Name(word)) if GROUPINGS.contains(&word.as_str()));
                    if !groups && !follows("(") {
                        return Err(format!("{name} without its arguments"));
                    }
                    if follows("(") {
                        open.push(Some(name.clone()));
                        at += 1;
                    }
                }
                Token::Name(name) if follows("(") => return Err(format!("no function {name}")),
                Token::Name(name) => {
                    let function = open.last().cloned().flatten();
                    let mut used = Use { metric: name.clone(), function, ..Use::default() };
                    at = selector(&tokens, at + 1, &mut used)?;
                    found.uses.push(used);
                    continue;
                }
                Token::Sign(sign) if sign == "(" => open.push(None),
                Token::Sign(sign) if sign == ")" => {
                    open.pop().ok_or("a parenthesis too many")?;
                }
                Token::Sign(sign) if ["{", "}", "[", "]"].contains(&sign.as_str()) => {
                    return Err(format!("{sign} without a metric before it"));
                }
                _ => {}
            }
            at += 1;
        }
        if open.is_empty() { Ok(found) } else { Err("a parenthesis is not closed".to_owned()) }
    }
}

/// Reads the labels in parentheses from `at` on; where they end.
fn list(tokens: &[Token], at: usize, labels: &mut Vec<String>) -> Result<usize, String> {
    if tokens.get(at) != Some(&Token::Sign("(".to_owned())) {
        return Err("a grouping without labels".to_owned());
    }
    for (index, token) in tokens.iter().enumerate().skip(at + 1) {
        match token {
            Token::Name(label) => labels.push(label.clone()),
            Token::Sign(sign) if sign == "," => {}
            Token::Sign(sign) if sign == ")" => return Ok(index + 1),
            other => return Err(format!("{other:?} among labels")),
        }
    }
    Err("a list of labels without an end".to_owned())
}

/// Reads the matchers and the range behind a metric from `at` on; where they end.
fn selector(tokens: &[Token], mut at: usize, used: &mut Use) -> Result<usize, String> {
    let is = |at: usize, sign: &str| tokens.get(at) == Some(&Token::Sign(sign.to_owned()));
    if is(at, "{") {
        at += 1;
        while !is(at, "}") {
            match tokens.get(at..at + 3) {
                Some([Token::Name(label), Token::Sign(operator), Token::Text(value)])
                    if ["=", "!=", "=~", "!~"].contains(&operator.as_str()) =>
                {
                    used.matchers.push((label.clone(), operator.clone(), value.clone()));
                }
                other => return Err(format!("{other:?} is no matcher")),
            }
            at += 3;
            if is(at, ",") {
                at += 1;
            }
        }
        at += 1;
    }
    if is(at, "[") {
        match tokens.get(at + 1) {
            Some(Token::Number(range) | Token::Name(range)) if is(at + 2, "]") => {
                used.range = Some(range.clone())
            }
            other => return Err(format!("{other:?} is no range")),
        }
        at += 3;
    }
    Ok(at)
}

fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let is_part = |letter: char| letter.is_ascii_alphanumeric() || "_.$".contains(letter);
        let (token, bytes) = if first == '"' {
            let end = rest[1..].find('"').ok_or("a text without an end")?;
            (Token::Text(rest[1..=end].to_owned()), end + 2)
        } else if is_part(first) {
            let end = rest.find(|letter| !is_part(letter)).unwrap_or(rest.len());
            let word = rest[..end].to_owned();
            (if first.is_ascii_digit() { Token::Number(word) } else { Token::Name(word) }, end)
        } else {
            let two = rest.get(..2).filter(|two| ["=~", "!~", "!=", "==", ">=", "<="].contains(two));
            let sign = two.unwrap_or(&rest[..first.len_utf8()]);
            if two.is_none() && !"(){}[],+-*/%^<>=".contains(first) {
                return Err(format!("{first:?} is no part of an expression"));
            }
            (Token::Sign(sign.to_owned()), sign.len())
        };
        tokens.push(token);
        rest = rest[bytes..].trim_start();
    }
    Ok(tokens)
}
