//! JSON as Python writes and reads it: with `NaN` and `Infinity`, perhaps after a byte order mark.

use serde_json::{Error, Value};

/// The words for numbers that JSON does not have. A minus sign may precede the second.
const WORDS: [&str; 2] = ["NaN", "Infinity"];

/// Parses JSON. Ignores a byte order mark. Numbers that are not finite become null.
///
/// # Errors
/// The parser's error.
pub fn parse(text: &str) -> Result<Value, Error> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let strict = serde_json::from_str(text);
    if strict.is_ok() || !WORDS.iter().any(|word| text.contains(word)) {
        return strict;
    }
    serde_json::from_str(&with_nulls(text))
}

/// Replaces Python's words outside strings by null.
fn with_nulls(text: &str) -> String {
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let unsigned = rest.strip_prefix('-').unwrap_or(rest);
        let number = WORDS.iter().find_map(|word| unsigned.strip_prefix(word));
        if let Some(after) = number {
            result.push_str("null");
            rest = after;
            continue;
        }
        let length = if first == '"' { string_length(rest) } else { first.len_utf8() };
        result.push_str(&rest[..length]);
        rest = &rest[length..];
    }
    result
}

/// Bytes of the string literal at the start of `text`, quotes included. An open one takes the rest.
fn string_length(text: &str) -> usize {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    /// `json.dumps` of Python 3 writes these words.
    #[test]
    fn python_numbers_that_are_not_finite_become_null() {
        let text =
            r#"{"limit": [0.0, Infinity], "x": NaN, "y": -Infinity, "s": "NaN \"Infinity\" \\", "n": -1}"#;
        let expected =
            json!({"limit": [0.0, null], "x": null, "y": null, "s": "NaN \"Infinity\" \\", "n": -1});
        assert_eq!(parse(text).unwrap(), expected);
    }

    #[test]
    fn byte_order_mark_is_ignored() {
        assert_eq!(parse("\u{feff}{\"a\": 1}").unwrap(), json!({"a": 1}));
        assert_eq!(parse("\u{feff}[NaN]").unwrap(), json!([null]));
    }

    #[test]
    fn other_words_are_errors() {
        for text in ["", "[nan]", "[Infinit]", "[NaNs]", "{\"a: NaN", "[+Infinity]"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn valid_json_parses_as_before(text in r#"[\[\]{}":,0-9a-zé NaInfity\\-]{0,40}"#) {
            if let Ok(value) = serde_json::from_str::<Value>(&text) {
                prop_assert_eq!(parse(&text).unwrap(), value);
            } else {
                let _ = parse(&text);
            }
        }
    }
}
