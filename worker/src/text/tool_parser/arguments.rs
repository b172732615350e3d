//! Arguments that are not written as JSON: a JSON object made of them one by one, and values as Python or Gemma write them.

use serde_json::{Map, Value};

use super::gemma::ESCAPE;
use crate::adapters::reading::Sink;

/// Deeper values are taken as text.
const MAX_DEPTH: u32 = 64;

/// Writes an object, key by key.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    keys: u32,
}

impl Writer {
    /// Begins a member; its value follows.
    pub(crate) fn key(&mut self, name: &str, sink: &mut Sink) {
        let before = if self.keys == 0 { "{" } else { ", " };
        self.keys += 1;
        sink.arguments(&format!("{before}{}: ", Value::from(name)));
    }

    /// Begins a member of whose name only the beginning has come.
    pub(crate) fn partial_key(&mut self, name: &str, sink: &mut Sink) {
        if !name.is_empty() {
            sink.arguments(if self.keys == 0 { "{\"" } else { ", \"" });
            name.chars().for_each(|c| letter(c, sink));
        }
    }

    /// Members so far.
    pub(crate) fn keys(&self) -> u32 {
        self.keys
    }

    /// Ends the object.
    pub(crate) fn close(&self, sink: &mut Sink) {
        sink.arguments(if self.keys == 0 { "{}" } else { "}" });
    }
}

/// A letter of a JSON string.
pub(crate) fn letter(c: char, sink: &mut Sink) {
    match c {
        '"' => sink.arguments("\\\""),
        '\\' => sink.arguments("\\\\"),
        c if c.is_control() => {
            let quoted = Value::from(c.to_string()).to_string();
            sink.arguments(quoted.trim_matches('"'));
        }
        c => sink.arguments(c.encode_utf8(&mut [0; 4])),
    }
}

/// The beginning of a value, as much as has come: of a text in JSON, of anything else as it is.
pub(crate) fn partial(text: &str, sink: &mut Sink) {
    let text = text.trim_start();
    let Some(inner) = text.strip_prefix(['"', '\'']) else { return sink.arguments(text) };
    sink.arguments("\"");
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        let rest = chars.clone();
        match c {
            '\\' => match escaped(&mut chars) {
                Some(said) => said.chars().for_each(|c| letter(c, sink)),
                // An escape of which only the beginning has come.
                None => return rest.for_each(|c| letter(c, sink)),
            },
            c => letter(c, sink),
        }
    }
}

/// A value in JSON: of JSON, Python or Gemma, else the text itself as a string.
pub(crate) fn json(text: &str) -> String {
    let text = text.trim();
    if let Ok(value) = serde_json::from_str::<Value>(text) {
        return value.to_string();
    }
    let mut literal = Literal { rest: text, depth: 0 };
    let value = literal.value().filter(|_| literal.rest.trim().is_empty());
    value.unwrap_or_else(|| Value::from(text)).to_string()
}

/// What is left of a literal.
struct Literal<'a> {
    rest: &'a str,
    depth: u32,
}

impl Literal<'_> {
    fn value(&mut self) -> Option<Value> {
        self.rest = self.rest.trim_start();
        if let Some(rest) = self.rest.strip_prefix(ESCAPE) {
            let (text, rest) = rest.split_once(ESCAPE)?;
            self.rest = rest;
            return Some(Value::from(text));
        }
        let first = self.rest.chars().next()?;
        match first {
            '{' => self.nested(|literal| literal.object().map(Value::Object)),
            '[' => self.nested(|literal| literal.list(']')),
            '(' => self.nested(|literal| literal.list(')')),
            '"' => self.json_string().or_else(|| self.quoted(first)),
            '\'' => self.quoted(first),
            _ => self.word(),
        }
    }

    fn nested<T>(&mut self, read: impl Fn(&mut Self) -> Option<T>) -> Option<T> {
        self.rest = &self.rest[1..];
        self.depth += 1;
        let value = (self.depth <= MAX_DEPTH).then(|| read(self)).flatten();
        self.depth -= 1;
        value
    }

    /// Whether `c` comes next; takes it then.
    fn next_is(&mut self, c: char) -> bool {
        self.rest = self.rest.trim_start();
        match self.rest.strip_prefix(c) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn list(&mut self, end: char) -> Option<Value> {
        let mut items = Vec::new();
        while !self.next_is(end) {
            items.push(self.value()?);
            if !self.next_is(',') && !self.rest.starts_with(end) {
                return None;
            }
        }
        Some(Value::Array(items))
    }

    fn object(&mut self) -> Option<Map<String, Value>> {
        let mut members = Map::new();
        while !self.next_is('}') {
            let key = match self.rest.chars().next()? {
                '"' | '\'' | '<' => match self.value()? {
                    Value::String(key) => key,
                    _ => return None,
                },
                _ => {
                    let (key, rest) = self.rest.split_at(self.rest.find(':')?);
                    self.rest = rest;
                    key.trim().to_owned()
                }
            };
            if !self.next_is(':') {
                return None;
            }
            members.insert(key, self.value()?);
            if !self.next_is(',') && !self.rest.starts_with('}') {
                return None;
            }
        }
        Some(members)
    }

    /// A JSON string: its escapes are not all Python's.
    fn json_string(&mut self) -> Option<Value> {
        let mut strings = serde_json::Deserializer::from_str(self.rest).into_iter::<String>();
        let text = strings.next()?.ok()?;
        self.rest = self.rest.get(strings.byte_offset()..)?;
        Some(Value::from(text))
    }

    /// A Python string.
    fn quoted(&mut self, quote: char) -> Option<Value> {
        self.string(quote).map(Value::from)
    }

    fn string(&mut self, quote: char) -> Option<String> {
        let mut text = String::new();
        let mut chars = self.rest.get(1..)?.chars();
        loop {
            match chars.next()? {
                c if c == quote => break,
                '\\' => text.push_str(&escaped(&mut chars)?),
                c => text.push(c),
            }
        }
        self.rest = chars.as_str();
        Some(text)
    }

    fn word(&mut self) -> Option<Value> {
        let end = self.rest.find([',', ']', '}', ')', ':']).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        match word.trim() {
            "True" => Some(Value::Bool(true)),
            "False" => Some(Value::Bool(false)),
            "None" => Some(Value::Null),
            word => serde_json::from_str(word).ok(),
        }
    }
}

/// What follows a backslash.
fn escaped(chars: &mut std::str::Chars) -> Option<String> {
    let code = |chars: &mut std::str::Chars, digits: usize| {
        let (digits, rest) = chars.as_str().split_at_checked(digits)?;
        let code = u32::from_str_radix(digits, 16).ok()?;
        *chars = rest.chars();
        char::from_u32(code)
    };
    Some(match chars.next()? {
        'n' => "\n".into(),
        't' => "\t".into(),
        'r' => "\r".into(),
        '\n' => String::new(),
        'x' => code(chars, 2)?.into(),
        'u' => code(chars, 4)?.into(),
        c @ ('\\' | '\'' | '"') => c.into(),
        c => format!("\\{c}"),
    })
}
