//! Reads a shipped sysctl file: each key with the comment that explains it.
//!
//! A key is a title line, one comment line for each of its fields (a deeper indent goes on with the
//! field), and its assignment:
//!
//! ```text
//! # net.core.somaxconn: connections that wait at one listener
//! #   why      one sentence, with the symptom
//! #   …
//! #   scope    namespace
//! #   needs    at least max(4096, N / 16)
//! net.core.somaxconn = 65536
//! ```
//!
//! A dash before the assignment says that the key may be absent (sysctl.d(5)). A key with an
//! `instead` field is not assigned: its assignment is a comment too, and `instead` says what to do.
//! Other comments are for people.

use super::rule::Rule;
use super::{Scope, Setting};

/// Spaces between `#` and a field's name.
const FIELD_INDENT: usize = 3;

/// Fewest spaces between `#` and a line that goes on with a field.
const MORE_INDENT: usize = 12;

/// The keys of `text`, the content of the shipped `file`.
///
/// # Errors
///
/// The first line that is not of the form above, as `file:line: what`.
pub fn parse(file: &'static str, text: &str) -> Result<Vec<Setting>, String> {
    let mut settings = Vec::new();
    let mut open: Option<Block> = None;
    for (at, line) in text.lines().enumerate() {
        let step = match open.take() {
            None => opened(line),
            Some(block) => block.with(line, file),
        };
        match step.map_err(|what| format!("{file}:{}: {what}", at + 1))? {
            Step::Between => {}
            Step::Within(block) => open = Some(block),
            Step::Done(setting) => settings.push(*setting),
        }
    }
    match open {
        Some(block) => Err(format!("{file}: {} has no assignment", block.key)),
        None => Ok(settings),
    }
}

enum Step {
    /// The line belongs to no key.
    Between,
    /// The line belongs to a key that goes on.
    Within(Block),
    /// The line was the key's assignment.
    Done(Box<Setting>),
}

/// A key whose assignment is still to come.
struct Block {
    key: String,
    title: String,
    /// Names and texts, in order.
    fields: Vec<(String, String)>,
}

fn opened(line: &str) -> Result<Step, String> {
    let Some(comment) = line.strip_prefix('#') else {
        return if line.trim().is_empty() {
            Ok(Step::Between)
        } else {
            Err(format!("`{line}` is not explained"))
        };
    };
    let title = comment.strip_prefix(' ').and_then(|title| title.split_once(": "));
    Ok(match title.filter(|(key, _)| is_key(key)) {
        Some((key, title)) => {
            Step::Within(Block { key: key.to_owned(), title: title.to_owned(), fields: Vec::new() })
        }
        None => Step::Between,
    })
}

/// Whether `word` looks like a key: lower-case parts with dots between them.
fn is_key(word: &str) -> bool {
    let is_part = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "_-.".contains(c);
    word.contains('.') && word.chars().all(is_part)
}

impl Block {
    fn with(mut self, line: &str, file: &'static str) -> Result<Step, String> {
        let comment = line.strip_prefix('#');
        if let Some(text) = comment.filter(|comment| comment.starts_with("   ")) {
            let words = text.trim();
            match text.len() - text.trim_start().len() {
                FIELD_INDENT => {
                    let (name, text) = words.split_once(' ').ok_or(format!("field `{words}` is empty"))?;
                    if self.field(name).is_some() {
                        return Err(format!("{} has `{name}` twice", self.key));
                    }
                    self.fields.push((name.to_owned(), text.trim().to_owned()));
                }
                MORE_INDENT.. => {
                    let (_, text) = self.fields.last_mut().ok_or("goes on with no field")?;
                    *text = format!("{text} {words}");
                }
                _ => return Err(format!("`{words}` is neither a field nor goes on with one")),
            }
            return Ok(Step::Within(self));
        }
        self.assigned(comment.map(str::trim), line.trim(), file)
    }

    fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(known, _)| known == name).map(|(_, text)| text.as_str())
    }

    /// Ends the key with its assignment: `line`, or `comment` for a key that is left alone.
    fn assigned(self, comment: Option<&str>, line: &str, file: &'static str) -> Result<Step, String> {
        const KNOWN: [&str; 9] =
            ["why", "unit", "cost", "default", "source", "check", "scope", "needs", "instead"];
        let key = &self.key;
        if let Some((name, _)) = self.fields.iter().find(|(name, _)| !KNOWN.contains(&name.as_str())) {
            return Err(format!("{key} has a field `{name}`"));
        }
        let instead = self.field("instead").map(str::to_owned);
        let assignment = if instead.is_some() { comment } else { Some(line) };
        let (left, value) = assignment
            .and_then(|assignment| assignment.split_once('='))
            .ok_or(format!("{key} is not assigned"))?;
        let (is_optional, left) = match left.trim().strip_prefix('-') {
            Some(left) => (true, left),
            None => (false, left.trim()),
        };
        if left != key {
            return Err(format!("{key} is explained and `{left}` is assigned"));
        }
        let text = |name: &str| self.field(name).map(str::to_owned).ok_or(format!("{key} has no `{name}`"));
        let scope = match text("scope")?.as_str() {
            "box" => Scope::Box,
            "namespace" => Scope::Namespace,
            other => {
                return Err(format!("{key} has the scope `{other}`, which is neither box nor namespace"));
            }
        };
        let rule = Rule::parse(&text("needs")?)?;
        let value = rule.numbers(value).ok_or(format!("{key} does not hold {} numbers", rule.fields()))?;
        Ok(Step::Done(Box::new(Setting {
            why: text("why")?,
            unit: text("unit")?,
            cost: text("cost")?,
            default: text("default")?,
            source: text("source")?,
            check: text("check")?,
            needs: text("needs")?,
            scope,
            key: self.key.clone(),
            title: self.title.clone(),
            file,
            instead,
            is_optional,
            value,
            rule,
        })))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "# How to use this file: read it.\n\n\
         # a.b: what it is\n#   why      because it is so,\n#            and not otherwise\n\
         #   unit     pages\n#   cost     none\n#   default  1\n#   source   a man page\n#   check    memory\n\
         #   scope    box\n#   needs    at least N; at most 2\na.b = 5 2\n";

    fn error(text: &str) -> String {
        parse("x.conf", text).unwrap_err()
    }

    #[test]
    fn a_key_has_the_fields_of_its_comment() {
        let settings = parse("x.conf", KEY).unwrap();
        let setting = &settings[0];
        assert_eq!(settings.len(), 1);
        assert_eq!(
            (setting.key.as_str(), setting.title.as_str(), setting.file),
            ("a.b", "what it is", "x.conf")
        );
        assert_eq!(setting.why, "because it is so, and not otherwise");
        assert_eq!((setting.unit.as_str(), setting.check.as_str()), ("pages", "memory"));
        assert_eq!(setting.scope, Scope::Box);
        assert_eq!((setting.needs.as_str(), &setting.value), ("at least N; at most 2", &vec![5, 2]));
        assert!(!setting.is_optional && setting.instead.is_none());
    }

    #[test]
    fn a_dash_says_that_the_key_may_be_absent() {
        assert!(parse("x.conf", &KEY.replace("\na.b =", "\n-a.b =")).unwrap()[0].is_optional);
    }

    #[test]
    fn a_key_that_is_left_alone_is_not_assigned() {
        let text = KEY.replace("\na.b = 5 2", "\n#   instead  at boot\n# a.b = 5 2");
        assert_eq!(parse("x.conf", &text).unwrap()[0].instead.as_deref(), Some("at boot"));
        let assigned = KEY.replace("\na.b =", "\n#   instead  at boot\na.b =");
        assert_eq!(error(&assigned), "x.conf:14: a.b is not assigned");
    }

    #[test]
    fn a_key_without_its_whole_comment_is_refused_with_its_line() {
        assert_eq!(error("a.b = 1\n"), "x.conf:1: `a.b = 1` is not explained");
        assert_eq!(error(&KEY.replace("#   unit     pages\n", "")), "x.conf:12: a.b has no `unit`");
        assert_eq!(error(&KEY.replace("#   unit ", "#   unite")), "x.conf:13: a.b has a field `unite`");
        assert_eq!(error(&KEY.replace("#   cost ", "#   unit ")), "x.conf:7: a.b has `unit` twice");
        assert_eq!(
            error(&KEY.replace("\na.b", "\na.c")),
            "x.conf:13: a.b is explained and `a.c` is assigned"
        );
        assert_eq!(error(&KEY.replace("5 2", "5")), "x.conf:13: a.b does not hold 2 numbers");
        assert_eq!(error(KEY.strip_suffix("a.b = 5 2\n").unwrap()), "x.conf: a.b has no assignment");
        assert!(error(&KEY.replace("#   unit ", "#     unit ")).contains("neither a field"));
        assert_eq!(
            error(&KEY.replace("scope    box", "scope    process")),
            "x.conf:13: a.b has the scope `process`, which is neither box nor namespace"
        );
    }
}
