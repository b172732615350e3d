//! JSON on one line for clients that split a stream wherever Unicode has a line break, as Python's `str.splitlines` does.

use std::io;

use serde::Serialize;
use serde_json::ser::{Formatter, Serializer};

/// Line breaks that JSON allows in strings as they are: NEL, line separator and paragraph separator.
const BREAKS: [char; 3] = ['\u{85}', '\u{2028}', '\u{2029}'];

/// Appends `value` as JSON in which every line break is escaped.
///
/// # Errors
/// serde_json's, for a map whose keys are no strings. No wire type has one.
pub fn write(buffer: &mut Vec<u8>, value: &impl Serialize) -> serde_json::Result<()> {
    value.serialize(&mut Serializer::with_formatter(buffer, OneLine))
}

/// Appends `text` as a JSON string.
pub fn push_text(buffer: &mut Vec<u8>, text: &str) {
    // A buffer takes everything.
    let written = write(buffer, &text);
    debug_assert!(written.is_ok(), "{written:?}");
}

/// Returns `value` as [`write()`] writes it.
///
/// # Errors
/// As [`write()`].
pub fn to_vec(value: &impl Serialize) -> serde_json::Result<Vec<u8>> {
    let mut buffer = Vec::new();
    write(&mut buffer, value)?;
    Ok(buffer)
}

/// serde_json's compact form, but for [`BREAKS`].
struct OneLine;

impl Formatter for OneLine {
    fn write_string_fragment<W: io::Write + ?Sized>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        if fragment.is_ascii() {
            return writer.write_all(fragment.as_bytes());
        }
        write_escaped(writer, fragment)
    }
}

fn write_escaped<W: io::Write + ?Sized>(writer: &mut W, text: &str) -> io::Result<()> {
    let mut rest = text;
    while let Some((before, found, after)) = split_at_break(rest) {
        write!(writer, "{before}\\u{:04x}", u32::from(found))?;
        rest = after;
    }
    writer.write_all(rest.as_bytes())
}

fn split_at_break(text: &str) -> Option<(&str, char, &str)> {
    let (before, from) = text.split_at(text.find(BREAKS)?);
    let mut rest = from.chars();
    Some((before, rest.next()?, rest.as_str()))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn written(value: &impl Serialize) -> String {
        String::from_utf8(to_vec(value).unwrap()).unwrap()
    }

    #[test]
    fn unicode_line_breaks_are_escaped_and_parse_as_before() {
        let value =
            json!({"a\u{2028}": ["x\u{85}y\u{2029}", "\u{2028}\u{2028}", "grün \u{a0}\u{2027}\n"], "b": 1.5});
        let line = written(&value);
        assert!(!line.contains(BREAKS), "{line}");
        assert!(line.contains(r"x\u0085y\u2029") && line.contains("grün \u{a0}\u{2027}\\n"), "{line}");
        assert_eq!(serde_json::from_str::<Value>(&line).unwrap(), value);
    }

    #[test]
    fn other_values_are_written_as_serde_json_writes_them() {
        for value in [json!(null), json!([]), json!({"a": {}, "b": [1, -2.5, true, "\"\\\u{1}é😀"]})] {
            assert_eq!(written(&value), value.to_string());
        }
    }
}
