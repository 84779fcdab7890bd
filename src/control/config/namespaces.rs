//! `[[channel.namespaces]]`: a name beside the options that the name gives to rooms.
//!
//! In the file both stand in one table. serde's `flatten` would join them, but it turns off the
//! refusal of unknown keys and loses the lines of errors; so the table is read by hand: `name`
//! is taken out, and all other keys go on to `NamespaceOptions` as if it had never been there.

use std::fmt;
use std::sync::LazyLock;

use serde::de::value::{MapAccessDeserializer, StrDeserializer};
use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, MapAccess, Visitor};

use super::fields;
use crate::hub::NamespaceOptions;

/// The key that is not an option.
const NAME: &str = "name";

/// All keys of the table.
static KEYS: LazyLock<Vec<&'static str>> =
    LazyLock::new(|| [&[NAME], fields::names_of::<NamespaceOptions>()].concat());

/// One namespace: rooms `name:…` have these options.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Namespace {
    /// At least two of `-`, `_`, ASCII letters and digits; unique.
    pub name: String,
    /// What rooms with this name may be used for.
    pub options: NamespaceOptions,
}

impl<'de> Deserialize<'de> for Namespace {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_struct("Namespace", &KEYS, TableVisitor)
    }
}

struct TableVisitor;

impl<'de> Visitor<'de> for TableVisitor {
    type Value = Namespace;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a table with a name and options")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Namespace, A::Error> {
        let mut name = None;
        let rest = WithoutName { map, name: &mut name };
        let options = NamespaceOptions::deserialize(MapAccessDeserializer::new(rest))?;
        let name = name.ok_or_else(|| A::Error::missing_field(NAME))?;
        Ok(Namespace { name, options })
    }
}

/// The table less its name, which is put into `name` on the way.
struct WithoutName<'n, A> {
    map: A,
    name: &'n mut Option<String>,
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for WithoutName<'_, A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, A::Error> {
        let mut seed = seed;
        loop {
            match self.map.next_key_seed(KeySeed(seed))? {
                None => return Ok(None),
                Some(Key::Option(key)) => return Ok(Some(key)),
                Some(Key::Name(unused)) => {
                    *self.name = Some(self.map.next_value()?);
                    seed = unused;
                }
            }
        }
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, A::Error> {
        self.map.next_value_seed(seed)
    }
}

/// Tells `name` from the options.
struct KeySeed<K>(K);

/// A key: `name`, which leaves the option's seed unused, or an option.
enum Key<K, V> {
    Name(K),
    Option(V),
}

impl<'de, K: DeserializeSeed<'de>> DeserializeSeed<'de> for KeySeed<K> {
    type Value = Key<K, K::Value>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        let key = String::deserialize(deserializer)?;
        if key == NAME {
            return Ok(Key::Name(self.0));
        }
        if !KEYS.contains(&key.as_str()) {
            // Said here and not by `NamespaceOptions`, which does not know of `name`.
            return Err(D::Error::unknown_field(&key, &KEYS));
        }
        self.0.deserialize(StrDeserializer::new(&key)).map(Key::Option)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_is_taken_out_wherever_it_stands_in_the_table() {
        for text in ["name = 'chat'\npresence = true", "presence = true\nname = 'chat'"] {
            let namespace: Namespace = toml::from_str(text).unwrap();
            assert_eq!(namespace.name, "chat");
            assert_eq!(namespace.options, NamespaceOptions { presence: true, ..Default::default() });
        }
    }

    #[test]
    fn an_unknown_key_is_refused_where_it_stands_and_the_name_is_among_the_known_ones() {
        let text = "name = 'chat'\npresense = true";
        let error = toml::from_str::<Namespace>(text).unwrap_err();
        assert_eq!(error.span(), Some(14..22));
        assert!(error.message().contains("`name`, `presence`"), "{error}");
    }

    #[test]
    fn a_namespace_without_a_name_is_refused() {
        let error = toml::from_str::<Namespace>("presence = true").unwrap_err();
        assert_eq!(error.message(), "missing field `name`");
    }
}
