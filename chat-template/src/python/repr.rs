//! Python's `repr` of plain values.

use std::fmt::Write;

use minijinja::Error;
use minijinja::value::{Value, ValueKind};

/// Deeper values are cut off with "...". No value of a request is so deep.
const MAX_DEPTH: usize = 256;
/// Bytes of a text that cost as much as an instruction, as in minijinja.
pub(crate) const BYTES_PER_FUEL: u64 = 64;

/// Pays for this much work of a template; an error if the template has used up its budget.
pub(crate) type Pay<'a> = &'a dyn Fn(u64) -> Result<(), Error>;

/// `repr(value)` for JSON values.
///
/// # Errors
/// The text is larger than the template can pay for. A value that holds another twice, and so on, has a huge text.
pub(crate) fn repr(value: &Value, pay: Pay) -> Result<String, Error> {
    let mut repr = Repr { out: String::new(), paid: 0, pay };
    repr.write(value, 0)?;
    Ok(repr.out)
}

struct Repr<'a> {
    out: String,
    /// Bytes of `out` that are paid for.
    paid: usize,
    pay: Pay<'a>,
}

impl Repr<'_> {
    fn write(&mut self, value: &Value, depth: usize) -> Result<(), Error> {
        let new = self.out.len() - self.paid;
        self.paid = self.out.len();
        (self.pay)(1 + new as u64 / BYTES_PER_FUEL)?;
        if depth > MAX_DEPTH {
            self.out.push_str("...");
            return Ok(());
        }
        match value.kind() {
            ValueKind::String => quoted(&mut self.out, value.as_str().unwrap_or_default()),
            ValueKind::Map => return self.map(value, depth),
            ValueKind::Seq => return self.sequence(value, depth),
            ValueKind::Number if !value.is_integer() => match f64::try_from(value.clone()) {
                Ok(number) => self.out.push_str(&float(number)),
                Err(_) => self.out.push_str(&value.to_string()),
            },
            _ => self.out.push_str(&value.to_string()),
        }
        Ok(())
    }

    fn map(&mut self, value: &Value, depth: usize) -> Result<(), Error> {
        self.out.push('{');
        for (at, key) in value.try_iter().into_iter().flatten().enumerate() {
            if at > 0 {
                self.out.push_str(", ");
            }
            self.write(&key, depth + 1)?;
            self.out.push_str(": ");
            self.write(&value.get_item(&key).unwrap_or_default(), depth + 1)?;
        }
        self.out.push('}');
        Ok(())
    }

    fn sequence(&mut self, value: &Value, depth: usize) -> Result<(), Error> {
        let tuple = value.is_tuple();
        self.out.push(if tuple { '(' } else { '[' });
        let mut length = 0;
        for item in value.try_iter().into_iter().flatten() {
            if length > 0 {
                self.out.push_str(", ");
            }
            self.write(&item, depth + 1)?;
            length += 1;
        }
        if tuple && length == 1 {
            self.out.push(',');
        }
        self.out.push(if tuple { ')' } else { ']' });
        Ok(())
    }
}

/// A string literal: in single quotes, unless it holds some and no double ones.
fn quoted(out: &mut String, text: &str) {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    out.push(quote);
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\\' => out.push_str("\\\\"),
            c if c == quote => out.extend(['\\', c]),
            c if printable(c) => out.push(c),
            c => escaped(out, c),
        }
    }
    out.push(quote);
}

/// Near `str.isprintable`: controls, format characters, and spaces other than the plain one are escaped.
fn printable(c: char) -> bool {
    let invisible = matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e000}'..='\u{f8ff}' | '\u{e0000}'..='\u{10ffff}');
    c == ' ' || !(c.is_control() || c.is_whitespace() || invisible)
}

fn escaped(out: &mut String, c: char) {
    // Writing to a string does not fail.
    let _ = match u32::from(c) {
        code @ ..=0xff => write!(out, "\\x{code:02x}"),
        code @ ..=0xffff => write!(out, "\\u{code:04x}"),
        code => write!(out, "\\U{code:08x}"),
    };
}

/// `repr(float)`: the shortest digits that read back, with an exponent below 1e-4 and from 1e16 on.
pub(crate) fn float(number: f64) -> String {
    if number.is_nan() {
        return "nan".to_owned();
    }
    if number.is_infinite() {
        return if number > 0.0 { "inf" } else { "-inf" }.to_owned();
    }
    let size = number.abs();
    if size != 0.0 && !(1e-4..1e16).contains(&size) {
        let text = format!("{number:e}");
        let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let (sign, exponent) = match exponent.strip_prefix('-') {
            Some(rest) => ('-', rest),
            None => ('+', exponent),
        };
        return format!("{digits}e{sign}{exponent:0>2}");
    }
    let text = number.to_string();
    if text.contains('.') { text } else { text + ".0" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_read_as_python_writes_them() {
        for (number, text) in [
            (1.0, "1.0"),
            (-0.0, "-0.0"),
            (0.1, "0.1"),
            (1e-4, "0.0001"),
            (1e-7, "1e-07"),
            (-2.5e-10, "-2.5e-10"),
            (1e16, "1e+16"),
            (123_456_789_012_345.6, "123456789012345.6"),
            (1.5e300, "1.5e+300"),
        ] {
            assert_eq!(float(number), text);
        }
    }

    #[test]
    fn lists_and_maps_read_as_python_writes_them() {
        let value = Value::from(minijinja::value::Serde(serde_json::json!(
            {"a": ["it's", "say \"it's\"", "tab\t\u{1}\u{200b}é"], "b": {"n": null, "t": true, "f": 1e-7}, "c": []}
        )));
        let expected = r#"{'a': ["it's", 'say "it\'s"', 'tab\t\x01\u200bé'], 'b': {'n': None, 't': True, 'f': 1e-07}, 'c': []}"#;
        assert_eq!(repr(&value, &|_| Ok(())).unwrap(), expected);
    }
}
