//! Arguments that are not written as JSON: writes them as a JSON object one by one, and reads values in Python's and Gemma's
//! notation.

use serde_json::Value;

use crate::text::sink::Sink;

/// Deeper values are read as text: the arguments around them would be too deep for `serde_json`.
const MAX_DEPTH: u32 = 126;
/// Surround strings in FunctionGemma's and in Gemma 4's notation.
pub(crate) const GEMMA_ESCAPES: [&str; 2] = ["<escape>", "<|\"|>"];

/// Writes a JSON object, key by key.
#[derive(Debug, Default)]
pub(crate) struct ObjectWriter {
    keys: u32,
}

impl ObjectWriter {
    /// Begins a member. Its value follows.
    pub(crate) fn key(&mut self, name: &str, sink: &mut Sink) {
        let before = if self.keys == 0 { "{" } else { ", " };
        self.keys += 1;
        sink.arguments(&format!("{before}{}: ", Value::from(name)));
    }

    /// Begins a member whose name was cut off.
    pub(crate) fn partial_key(&mut self, name: &str, sink: &mut Sink) {
        if !name.is_empty() {
            sink.arguments(if self.keys == 0 { "{\"" } else { ", \"" });
            name.chars().for_each(|c| push_char(c, sink));
        }
    }

    /// The number of members so far.
    pub(crate) fn keys(&self) -> u32 {
        self.keys
    }

    /// Ends the object.
    pub(crate) fn close(&self, sink: &mut Sink) {
        sink.arguments(if self.keys == 0 { "{}" } else { "}" });
    }
}

/// Writes a character of a JSON string, escaped where JSON demands it.
pub(crate) fn push_char(c: char, sink: &mut Sink) {
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

/// Writes the beginning of a value that was cut off: a string as JSON, any other value verbatim.
pub(crate) fn push_partial_value(text: &str, sink: &mut Sink) {
    let text = text.trim_start();
    let Some(inner) = text.strip_prefix(['"', '\'']) else { return sink.arguments(text) };
    sink.arguments("\"");
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        let rest = chars.clone();
        match c {
            '\\' => match unescape(&mut chars) {
                Some(text) => text.chars().for_each(|c| push_char(c, sink)),
                // The escape was cut off.
                None => return rest.for_each(|c| push_char(c, sink)),
            },
            c => push_char(c, sink),
        }
    }
}

/// Converts a value from JSON, Python's or Gemma's notation to JSON. Any other text becomes a string. Numbers keep their digits:
/// 64 bits would not hold all of them.
pub(crate) fn to_json(text: &str) -> String {
    let text = text.trim();
    let mut literal = LiteralParser { rest: text, depth: 0 };
    let value = literal.value().filter(|_| literal.rest.trim().is_empty());
    value.unwrap_or_else(|| quoted(text))
}

/// A string in JSON.
fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

/// Converts a literal to JSON. `rest` is the text that is left.
struct LiteralParser<'a> {
    rest: &'a str,
    depth: u32,
}

impl LiteralParser<'_> {
    fn value(&mut self) -> Option<String> {
        self.rest = self.rest.trim_start();
        if let Some(escape) = self.escape() {
            let (text, rest) = self.rest[escape.len()..].split_once(escape)?;
            self.rest = rest;
            return Some(quoted(text));
        }
        let first = self.rest.chars().next()?;
        match first {
            '{' => self.nested(Self::object),
            '[' => self.nested(|literal| literal.list(']')),
            '(' => self.nested(|literal| literal.list(')')),
            '"' | '\'' => self.string(first).map(|text| quoted(&text)),
            _ => self.word(),
        }
    }

    /// The escape marker that comes next.
    fn escape(&self) -> Option<&'static str> {
        GEMMA_ESCAPES.into_iter().find(|escape| self.rest.starts_with(escape))
    }

    fn nested(&mut self, read: impl Fn(&mut Self) -> Option<String>) -> Option<String> {
        self.rest = &self.rest[1..];
        self.depth += 1;
        let value = (self.depth <= MAX_DEPTH).then(|| read(self)).flatten();
        self.depth -= 1;
        value
    }

    /// Removes `c` if it comes next. Returns whether it did.
    fn take_if(&mut self, c: char) -> bool {
        self.rest = self.rest.trim_start();
        let Some(rest) = self.rest.strip_prefix(c) else { return false };
        self.rest = rest;
        true
    }

    fn list(&mut self, end: char) -> Option<String> {
        let mut items = Vec::new();
        while !self.take_if(end) {
            items.push(self.value()?);
            if !self.take_if(',') && !self.rest.starts_with(end) {
                return None;
            }
        }
        Some(format!("[{}]", items.join(",")))
    }

    fn object(&mut self) -> Option<String> {
        let mut members = Vec::new();
        while !self.take_if('}') {
            let key = self.key()?;
            if !self.take_if(':') {
                return None;
            }
            members.push(format!("{}:{}", quoted(&key), self.value()?));
            if !self.take_if(',') && !self.rest.starts_with('}') {
                return None;
            }
        }
        Some(format!("{{{}}}", members.join(",")))
    }

    fn key(&mut self) -> Option<String> {
        if let Some((key, rest)) =
            self.escape().and_then(|escape| self.rest[escape.len()..].split_once(escape))
        {
            self.rest = rest;
            return Some(key.to_owned());
        }
        match self.rest.chars().next()? {
            quote @ ('"' | '\'') => self.string(quote),
            '<' => None,
            _ => {
                let (key, rest) = self.rest.split_at(self.rest.find(':')?);
                self.rest = rest;
                Some(key.trim().to_owned())
            }
        }
    }

    /// A JSON string or a Python string. Their escapes differ.
    fn string(&mut self, quote: char) -> Option<String> {
        let json = if quote == '"' { self.json_string() } else { None };
        json.or_else(|| self.python_string(quote))
    }

    fn json_string(&mut self) -> Option<String> {
        let mut strings = serde_json::Deserializer::from_str(self.rest).into_iter::<String>();
        let text = strings.next()?.ok()?;
        self.rest = self.rest.get(strings.byte_offset()..)?;
        Some(text)
    }

    fn python_string(&mut self, quote: char) -> Option<String> {
        let mut text = String::new();
        let mut chars = self.rest.get(1..)?.chars();
        loop {
            match chars.next()? {
                c if c == quote => break,
                '\\' => text.push_str(&unescape(&mut chars)?),
                c => text.push(c),
            }
        }
        self.rest = chars.as_str();
        Some(text)
    }

    fn word(&mut self) -> Option<String> {
        let end = self.rest.find([',', ']', '}', ')', ':']).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        match word.trim() {
            "True" => Some("true".into()),
            "False" => Some("false".into()),
            "None" => Some("null".into()),
            word => serde_json::from_str::<Value>(word).ok().map(|_| word.to_owned()),
        }
    }
}

/// The text that an escape stands for. `chars` begins after the backslash.
fn unescape(chars: &mut std::str::Chars) -> Option<String> {
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
