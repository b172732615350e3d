//! Reads values that are a text or something else. serde's untagged enums copy a text once more, and a text may have 32 MiB.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{DeserializeOwned, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// A type of which a value is a text or something else.
pub trait TextOr: Sized {
    /// The message for a value that is neither.
    const EXPECTED: &'static str;

    /// From a text.
    fn from_text(text: String) -> Self;

    /// From another value. `None` if it is none of this type.
    fn from_other(value: Value) -> Option<Self>;
}

/// For `deserialize` of a type.
///
/// # Errors
/// The value is neither a text nor another one of the type.
pub fn deserialize<'de, T: TextOr, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    deserializer.deserialize_any(TextOrVisitor(PhantomData))
}

/// A list of `T`, whose texts are moved.
pub fn list<T: DeserializeOwned>(value: Value) -> Option<Vec<T>> {
    if value.is_array() { serde_json::from_value(value).ok() } else { None }
}

struct TextOrVisitor<T>(PhantomData<T>);

impl<T: TextOr> TextOrVisitor<T> {
    fn other<E: Error>(value: impl Into<Value>) -> Result<T, E> {
        T::from_other(value.into()).ok_or_else(|| E::custom(T::EXPECTED))
    }
}

impl<'de, T: TextOr> Visitor<'de> for TextOrVisitor<T> {
    type Value = T;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(T::EXPECTED.trim_start_matches("expected "))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        Ok(T::from_text(text.to_owned()))
    }

    fn visit_string<E: Error>(self, text: String) -> Result<T, E> {
        Ok(T::from_text(text))
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<T, E> {
        Self::other(value)
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<T, E> {
        Self::other(value)
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<T, E> {
        Self::other(value)
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<T, E> {
        Self::other(value)
    }

    fn visit_unit<E: Error>(self) -> Result<T, E> {
        Self::other(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<T, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = list.next_element::<Value>()? {
            values.push(value);
        }
        Self::other(values)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<T, A::Error> {
        let mut object = Map::new();
        while let Some((name, value)) = entries.next_entry::<String, Value>()? {
            object.insert(name, value);
        }
        Self::other(object)
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::json;

    use super::*;

    #[derive(Debug, PartialEq)]
    enum Numbers {
        Text(String),
        List(Vec<u32>),
    }

    impl TextOr for Numbers {
        const EXPECTED: &'static str = "expected a text or numbers";

        fn from_text(text: String) -> Self {
            Self::Text(text)
        }

        fn from_other(value: Value) -> Option<Self> {
            list(value).map(Self::List)
        }
    }

    impl<'de> Deserialize<'de> for Numbers {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            deserialize(deserializer)
        }
    }

    #[test]
    fn texts_and_lists_are_read_from_text_and_from_values() {
        for (value, expected) in [
            (json!("a\n\u{1f600}"), Numbers::Text("a\n\u{1f600}".into())),
            (json!([1, 2]), Numbers::List(vec![1, 2])),
            (json!([]), Numbers::List(Vec::new())),
        ] {
            assert_eq!(serde_json::from_str::<Numbers>(&value.to_string()).unwrap(), expected);
            assert_eq!(serde_json::from_value::<Numbers>(value).unwrap(), expected);
        }
    }

    #[test]
    fn other_values_are_refused_with_the_message_of_the_type() {
        for value in
            [json!(1), json!(-1), json!(0.5), json!(true), json!({"a": 1}), json!(["a"]), json!(null)]
        {
            let error = serde_json::from_value::<Numbers>(value).unwrap_err().to_string();
            assert_eq!(error, "expected a text or numbers");
        }
    }
}
