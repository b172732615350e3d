//! Jinja2's filters whose results differ in minijinja, and Transformers' `tojson`.

use minijinja::value::{Kwargs, Value, ValueKind};
use minijinja::{Environment, Error, State};

use super::json;

pub(crate) fn add(environment: &mut Environment<'_>) {
    environment.add_filter("tojson", json::tojson);
    environment.add_filter("string", string);
    // Python's breaks long lines. minijinja's takes minutes for deep values.
    environment.add_filter("pprint", string);
    environment.add_filter("int", int);
    environment.add_filter("float", float);
    environment.add_filter("escape", escape);
    environment.add_filter("e", escape);
}

fn string(state: &State, value: &Value) -> Result<Value, Error> {
    Ok(match super::text(state, value)? {
        Some(text) => text.into(),
        None if value.kind() == ValueKind::String => value.clone(),
        None => value.to_string().into(),
    })
}

#[expect(clippy::needless_pass_by_value, reason = "minijinja hands arguments over")]
/// `int(value, default=0, base=10)`; `default` replaces a value that is no number.
fn int(value: &Value, default: Option<Value>, base: Option<u32>, options: Kwargs) -> Result<Value, Error> {
    let default = default.or(options.get("default")?).unwrap_or_else(|| Value::from(0));
    let base = base.or(options.get("base")?).unwrap_or(10);
    options.assert_all_used()?;
    if value.is_integer() {
        return Ok(value.clone());
    }
    let whole = value.as_str().and_then(|text| integer(text, base)).map(Value::from);
    let cut =
        || as_float(value).filter(|number| number.is_finite()).map(|number| Value::from(number as i128));
    Ok(whole.or_else(cut).unwrap_or(default))
}

#[expect(clippy::needless_pass_by_value, reason = "minijinja hands arguments over")]
/// `float(value, default=0.0)`; `default` replaces a value that is no number.
fn float(value: &Value, default: Option<Value>, options: Kwargs) -> Result<Value, Error> {
    let default = default.or(options.get("default")?).unwrap_or_else(|| Value::from(0.0));
    options.assert_all_used()?;
    Ok(as_float(value).map_or(default, Value::from))
}

fn as_float(value: &Value) -> Option<f64> {
    match value.kind() {
        ValueKind::String => digits(value.as_str()?)?.parse().ok(),
        ValueKind::Bool => Some(f64::from(u8::from(value.is_true()))),
        ValueKind::Number => f64::try_from(value.clone()).ok(),
        _ => None,
    }
}

fn integer(text: &str, base: u32) -> Option<i128> {
    let text = digits(text)?.to_ascii_lowercase();
    let (negative, text) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(&text)),
    };
    let prefix = match base {
        2 => "0b",
        8 => "0o",
        16 => "0x",
        3..=36 => "",
        _ => return None,
    };
    let text = text.strip_prefix(prefix).unwrap_or(text);
    if text.starts_with(['+', '-']) {
        return None;
    }
    let number = i128::from_str_radix(text, base).ok()?;
    Some(if negative { -number } else { number })
}

/// A number's text without the spaces around it and the underscores between digits, both of which Python allows.
fn digits(text: &str) -> Option<String> {
    let text = text.trim();
    let bytes = text.as_bytes();
    let between = |at: usize| {
        let digit = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
        at > 0 && digit(bytes.get(at - 1)) && digit(bytes.get(at + 1))
    };
    let placed = bytes.iter().enumerate().all(|(at, byte)| *byte != b'_' || between(at));
    placed.then(|| text.replace('_', ""))
}

/// HTML escapes as MarkupSafe writes them.
fn escape(state: &State, value: &Value) -> Result<Value, Error> {
    if value.is_safe() {
        return Ok(value.clone());
    }
    let text = super::text(state, value)?.unwrap_or_else(|| value.to_string());
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '\'' => escaped.push_str("&#39;"),
            '"' => escaped.push_str("&#34;"),
            c => escaped.push(c),
        }
    }
    Ok(Value::from_safe_string(escaped))
}
