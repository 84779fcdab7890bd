//! Names of the demo's users: what a person typed, made harmless, and the user id that stands for it.

/// Longest name, in characters.
const CHARACTERS_MAX: usize = 24;

/// Longest name, in bytes: as a user id it is three times as long, and a room may be named after that.
const BYTES_MAX: usize = 64;

/// What the ids of the demo's users begin with, so that none of them is a user of the application.
const PREFIX: &str = "demo:";

/// A name that can be shown.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Name(String);

impl Name {
    /// `typed` without control characters and such as change the direction of what follows, with single
    /// spaces, cut to the longest name; `None` if nothing is left.
    pub(super) fn clean(typed: &str) -> Option<Name> {
        let words = typed.split_whitespace();
        let words: Vec<String> =
            words.map(|word| word.chars().filter(|letter| !is_invisible(*letter)).collect()).collect();
        let words = words.iter().filter(|word| !word.is_empty()).map(String::as_str);
        let mut name: String = words.collect::<Vec<_>>().join(" ").chars().take(CHARACTERS_MAX).collect();
        while name.len() > BYTES_MAX {
            name.pop();
        }
        let name = name.trim_end();
        (!name.is_empty()).then(|| Name(name.to_owned()))
    }

    /// The name as people read it.
    pub(super) fn shown(&self) -> &str {
        &self.0
    }

    /// The user's id: the same for names that differ in case alone. ASCII, as names of rooms are.
    pub(super) fn user(&self) -> String {
        let folded = self.0.to_lowercase();
        let encoded: String = form_urlencoded::byte_serialize(folded.as_bytes()).collect();
        // Letters that form encoding leaves and that mean something in the name of a room.
        PREFIX.to_owned() + &encoded.replace('*', "%2A")
    }
}

/// Control characters, and those that are not seen but change how others are shown.
fn is_invisible(letter: char) -> bool {
    letter.is_control()
        || matches!(letter, '\u{AD}' | '\u{61C}' | '\u{180E}' | '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}'
            | '\u{2060}'..='\u{206F}' | '\u{FE00}'..='\u{FE0F}' | '\u{FEFF}' | '\u{FFF0}'..='\u{FFFB}'
            | '\u{E0000}'..='\u{E0FFF}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clean(typed: &str) -> String {
        Name::clean(typed).unwrap().0
    }

    #[test]
    fn a_name_keeps_what_can_be_read() {
        assert_eq!(clean("  Ada\t Lovelace\n"), "Ada Lovelace");
        assert_eq!(clean("世界 <b>&amp;"), "世界 <b>&amp;");
        assert_eq!(clean("a\u{202E}b\u{0}c \u{200B} d"), "abc d");
    }

    #[test]
    fn nothing_is_no_name() {
        for typed in ["", "  ", "\u{200B}", "\u{0}\u{1}"] {
            assert_eq!(Name::clean(typed), None, "{typed:?}");
        }
    }

    #[test]
    fn a_name_is_bounded_in_characters_and_in_bytes() {
        assert_eq!(clean(&"a".repeat(1000)), "a".repeat(CHARACTERS_MAX));
        assert_eq!(clean(&"👋".repeat(1000)), "👋".repeat(BYTES_MAX / 4));
        assert_eq!(clean(&format!("{} b", "a".repeat(CHARACTERS_MAX - 1))), "a".repeat(CHARACTERS_MAX - 1));
    }

    #[test]
    fn a_user_id_is_ascii_without_what_rooms_use_and_begins_with_demo() {
        let user = |typed: &str| Name::clean(typed).unwrap().user();
        assert_eq!(user("Ada L"), "demo:ada+l");
        assert_eq!(user("ADA L"), user("ada l"));
        let odd = user("é#,*$/:&");
        assert_eq!(odd, "demo:%C3%A9%23%2C%2A%24%2F%3A%26");
        assert!(user(&"👋".repeat(99)).len() < 200);
    }
}
