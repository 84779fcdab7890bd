//! The names of a struct's fields, as its derived `Deserialize` knows them.
//!
//! A derived `Deserialize` hands its list of names to the deserializer before it reads anything.
//! `names_of` is a deserializer that takes the list and stops, so the list cannot go stale.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, Visitor};

/// Names of the fields of `T`, which must derive `Deserialize` as a struct; else the list is empty.
pub(super) fn names_of<T: Deserialize<'static>>() -> &'static [&'static str] {
    match T::deserialize(Listener) {
        Err(Heard(names)) => names,
        Ok(_) => &[],
    }
}

/// The deserializer that only listens for the list.
struct Listener;

/// The list, travelling as the error that ends the deserialization.
#[derive(Debug)]
struct Heard(&'static [&'static str]);

impl fmt::Display for Heard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

impl std::error::Error for Heard {}

impl Error for Heard {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Heard(&[])
    }
}

impl<'de> Deserializer<'de> for Listener {
    type Error = Heard;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Heard> {
        Err(Heard(&[]))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        names: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Heard> {
        Err(Heard(names))
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf option unit
        unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::NamespaceOptions;

    #[test]
    fn the_fields_of_a_struct_are_heard_and_those_of_a_number_are_none() {
        let names = names_of::<NamespaceOptions>();
        assert!(names.contains(&"presence") && names.contains(&"channel_regex"), "{names:?}");
        assert!(names_of::<u32>().is_empty());
    }
}
