//! Channel names: what the characters of a name say before anybody looks at a configuration.
//!
//! ```text
//! $news:room#17,42
//! │└┬─┘      └─┬─┘
//! │ namespace  the only users allowed
//! private: subscribing needs a token
//! ```
//!
//! Absent on purpose: the namespaces and their options. Whether the parts matter (user-limited
//! channels are an option) is decided by who knows the namespace.

use regex::Regex;

/// First character of a private channel: subscribing needs a subscription token.
const PRIVATE: char = '$';

/// Ends the namespace.
const NAMESPACE_END: char = ':';

/// Starts the list of allowed users.
const USERS_START: char = '#';

/// Separates the allowed users.
const USERS_SEPARATOR: char = ',';

/// A channel's name and its parts. It borrows the name, which is kept as the client wrote it: the
/// namespace is part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChannelName<'a> {
    full: &'a str,
    namespace: Option<&'a str>,
    local: &'a str,
}

/// Why a name is not a channel's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameError {
    /// The name is empty: a broken command (disconnect 3501).
    Empty,
    /// The name has more bytes than the limit: error 107.
    TooLong,
}

impl<'a> ChannelName<'a> {
    /// Takes a name apart. `bytes_max` is the longest name that the server takes.
    ///
    /// # Errors
    ///
    /// The name is empty or too long. Its characters are not judged here but by
    /// [`is_valid`](Self::is_valid), once the namespace has been looked up.
    pub fn parse(full: &'a str, bytes_max: usize) -> Result<Self, NameError> {
        if full.is_empty() {
            return Err(NameError::Empty);
        }
        if full.len() > bytes_max {
            return Err(NameError::TooLong);
        }
        let public = full.strip_prefix(PRIVATE).unwrap_or(full);
        let (namespace, local) = match public.split_once(NAMESPACE_END) {
            Some((namespace, local)) => (Some(namespace), local),
            None => (None, full),
        };
        Ok(ChannelName { full, namespace, local })
    }

    /// The whole name.
    pub fn full(&self) -> &'a str {
        self.full
    }

    /// The text before the first `:`, without a leading `$`. `None` if the name has no `:`, so that
    /// the options of channels without namespace hold; `Some("")` is a namespace that nobody has.
    pub fn namespace(&self) -> Option<&'a str> {
        self.namespace
    }

    /// Whether subscribing needs a subscription token.
    pub fn is_private(&self) -> bool {
        self.full.starts_with(PRIVATE)
    }

    /// Whether the characters are allowed (else error 107): the namespace's pattern decides, or
    /// without one the name must be ASCII. The pattern sees the name without its namespace.
    pub fn is_valid(&self, pattern: Option<&Regex>) -> bool {
        match pattern {
            Some(pattern) => pattern.is_match(self.local),
            None => self.full.is_ascii(),
        }
    }

    /// Whether the name lists `user` after its last `#`; `None` if the name lists no users.
    ///
    /// An anonymous user (`""`) is never listed, not even by an empty place in the list: nobody
    /// gives a room to everyone by a stray comma.
    pub fn allows_user(&self, user: &str) -> Option<bool> {
        let (_, users) = self.full.rsplit_once(USERS_START)?;
        Some(!user.is_empty() && users.split(USERS_SEPARATOR).any(|allowed| allowed == user))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::CHANNEL_BYTES_MAX;

    fn name(full: &str) -> ChannelName<'_> {
        ChannelName::parse(full, CHANNEL_BYTES_MAX).unwrap()
    }

    #[test]
    fn the_namespace_is_before_the_first_colon_without_the_dollar() {
        for (full, namespace, is_private) in [
            ("room", None, false),
            ("room:7", Some("room"), false),
            ("a:b:c", Some("a"), false),
            ("$room:7", Some("room"), true),
            ("$$room:7", Some("$room"), true),
            ("$room", None, true),
            ("$", None, true),
            (":7", Some(""), false),
            ("room:", Some("room"), false),
            ("a$b:c", Some("a$b"), false),
        ] {
            assert_eq!((name(full).namespace(), name(full).is_private()), (namespace, is_private), "{full}");
            assert_eq!(name(full).full(), full);
        }
    }

    #[test]
    fn length_is_in_bytes_and_the_limit_itself_is_allowed() {
        assert_eq!(ChannelName::parse("", CHANNEL_BYTES_MAX), Err(NameError::Empty));
        assert!(ChannelName::parse(&"a".repeat(255), CHANNEL_BYTES_MAX).is_ok());
        assert_eq!(ChannelName::parse(&"a".repeat(256), CHANNEL_BYTES_MAX), Err(NameError::TooLong));
        assert_eq!(ChannelName::parse("éé", 3), Err(NameError::TooLong));
    }

    #[test]
    fn a_name_is_ascii_unless_the_namespace_has_a_pattern() {
        assert!(name("room:a\t~").is_valid(None));
        assert!(!name("room:é").is_valid(None));
        assert!(!name("é:room").is_valid(None));
        let pattern = Regex::new("^[a-zé]+$").unwrap();
        assert!(name("room:é").is_valid(Some(&pattern)));
        assert!(!name("room:7").is_valid(Some(&pattern)));
        assert!(name("room").is_valid(Some(&pattern)));
        assert!(!name("$room").is_valid(Some(&pattern)));
    }

    #[test]
    fn the_last_list_names_the_only_users_allowed() {
        assert_eq!(name("room").allows_user("17"), None);
        for (full, user, allowed) in [
            ("room#17,42", "17", true),
            ("room#17,42", "42", true),
            ("room#17,42", "1", false),
            ("room#17,42", "17,42", false),
            ("room#17#42", "17", false),
            ("room#17#42", "42", true),
            ("#42", "42", true),
            ("ns:#42", "42", true),
            ("room#", "42", false),
            ("room#17,", "", false),
            ("room#", "", false),
        ] {
            assert_eq!(name(full).allows_user(user), Some(allowed), "{full} {user:?}");
        }
    }
}
