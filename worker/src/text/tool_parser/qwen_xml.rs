//! Qwen3-Coder: `<tool_call>\n<function=name>\n<parameter=key>\nvalue\n</parameter>\n</function>\n</tool_call>`.
//!
//! A parameter that the schema types as a string goes out as it comes. So does one that may also be null, unless it is the text
//! `null`: a zip code stays a string. Any other goes out as JSON once it is complete. A value
//! may contain `</parameter>`: only the next parameter or the end of the function after that tag ends the value.

use super::arguments::{self, ObjectWriter};
use super::functions::{Functions, Values};
use super::hermes;
use super::syntax::{Consumed, Markers};
use crate::text::sink::Sink;

pub(super) const FUNCTION: &str = "<function=";
pub(super) const END: &str = "</function>";
pub(super) const PARAMETER: &str = "<parameter=";
pub(super) const PARAMETER_END: &str = "</parameter>";
/// Ends of a value. A line break before the tag does not belong to the value.
const ENDS: [&str; 2] = ["\n</parameter>", PARAMETER_END];
/// Tags that confirm the end of a value, after white space. With any other text, the closing tag was a part of the value.
/// Some models omit the closing tag of the function.
const NEXT: [&str; 3] = [PARAMETER, END, hermes::CLOSE];
/// The text of null.
const NULL: &str = "null";
/// Bytes of that white space, at most. Longer white space belongs to the value.
const MAX_BLANK: usize = 64;
pub(super) const MARKERS: Markers =
    Markers { open: &[hermes::OPEN, FUNCTION], first: &[], close: &[hermes::CLOSE], known_only: false };
/// Bytes of a function's name, at most.
const MAX_NAME: usize = 256;

/// One function's element.
#[derive(Debug, Default)]
pub(crate) struct XmlCall {
    state: State,
    function: String,
    writer: ObjectWriter,
    calling: bool,
}

#[derive(Debug)]
enum State {
    /// Before the name. Holds a possible beginning of `<function=`.
    Start(String),
    Name(String),
    /// Between parameters. Holds a possible beginning of the next tag.
    Between(String),
    Key(String),
    Value(ParameterValue),
    Over,
}

/// The end of a value, and the tag after it.
#[derive(Debug, PartialEq, Eq)]
enum Ending {
    None,
    /// The text may become one.
    Possible,
    /// The value ends, and this tag follows.
    Complete(&'static str),
}

impl Default for State {
    fn default() -> Self {
        Self::Start(String::new())
    }
}

#[derive(Debug)]
struct ParameterValue {
    /// [`Values::NullableText`] becomes [`Values::Text`] once the value cannot be null.
    values: Values,
    /// The first character has come.
    begun: bool,
    /// A possible beginning of the end.
    held: String,
    /// The text of a value that may be no string.
    text: String,
}

impl XmlCall {
    /// Begins after `marker`, which may be the beginning of the element.
    pub(crate) fn begin(&mut self, marker: &str) {
        if marker.ends_with(FUNCTION) {
            self.state = State::Name(String::new());
        }
    }

    /// Parses the next character.
    pub(crate) fn push(&mut self, c: char, functions: &Functions, sink: &mut Sink) -> Consumed {
        match &mut self.state {
            State::Start(held) => {
                held.push(c);
                let tag = held.trim_start();
                match tag {
                    FUNCTION => self.state = State::Name(String::new()),
                    _ if FUNCTION.starts_with(tag) => {}
                    _ => return Consumed::Failed,
                }
            }
            State::Name(name) if c == '>' => {
                self.function = name.trim().to_owned();
                if self.function.is_empty() {
                    return Consumed::Failed;
                }
                sink.begin_call(&self.function);
                self.calling = true;
                self.state = State::Between(String::new());
            }
            State::Name(name) | State::Key(name) if c != '>' => {
                name.push(c);
                if !self.calling && (name.len() > MAX_NAME || c == '<') {
                    return Consumed::Failed;
                }
            }
            State::Key(key) => {
                let key = key.trim().to_owned();
                self.writer.key(&key, sink);
                let values = functions.values(&self.function, &key);
                self.state = State::Value(ParameterValue::new(values, sink));
            }
            State::Value(value) => match value.push(c, sink) {
                None => {}
                Some(PARAMETER) => self.state = State::Key(String::new()),
                Some(_) => return self.end_call(sink),
            },
            State::Between(_) => return self.push_between(c, sink),
            State::Name(_) | State::Over => return Consumed::Failed,
        }
        // The characters of a call never become answer text.
        if self.calling { Consumed::Called } else { Consumed::More }
    }

    fn push_between(&mut self, c: char, sink: &mut Sink) -> Consumed {
        let State::Between(held) = &mut self.state else { return Consumed::Failed };
        held.push(c);
        let tag = held.trim_start();
        match tag {
            PARAMETER => self.state = State::Key(String::new()),
            END => return self.end_call(sink),
            _ if PARAMETER.starts_with(tag) || END.starts_with(tag) => {}
            _ => {
                self.writer.close(sink);
                sink.end_call();
                held.pop();
                sink.text(held);
                return Consumed::DoneBefore;
            }
        }
        Consumed::Called
    }

    fn end_call(&mut self, sink: &mut Sink) -> Consumed {
        self.writer.close(sink);
        sink.end_call();
        self.state = State::Over;
        Consumed::Done
    }

    /// Whether a call has begun.
    pub(crate) fn is_calling(&self) -> bool {
        self.calling
    }

    /// Ends the output: hands over the key or the value as far as it has come, without the beginning of a tag.
    pub(crate) fn finish(&mut self, sink: &mut Sink) {
        match &self.state {
            State::Key(key) => self.writer.partial_key(key.trim(), sink),
            State::Value(value) if ENDS.iter().any(|end| value.held.starts_with(end)) => value.end(sink),
            State::Value(value) if value.values == Values::Text => {
                value.held.chars().for_each(|c| arguments::push_char(c, sink))
            }
            State::Value(value) if value.values == Values::NullableText => {
                let text = format!("{}{}", value.text, value.held);
                if !text.is_empty() {
                    sink.arguments("\"");
                    text.chars().for_each(|c| arguments::push_char(c, sink));
                }
            }
            State::Value(value) => {
                arguments::push_partial_value(&format!("{}{}", value.text, value.held), sink)
            }
            _ => {}
        }
    }
}

impl ParameterValue {
    fn new(values: Values, sink: &mut Sink) -> Self {
        if values == Values::Text {
            sink.arguments("\"");
        }
        Self { values, begun: false, held: String::new(), text: String::new() }
    }

    /// Takes the next character. Returns the tag after the value once the value is complete.
    fn push(&mut self, c: char, sink: &mut Sink) -> Option<&'static str> {
        if !std::mem::replace(&mut self.begun, true) && c == '\n' {
            return None;
        }
        self.held.push(c);
        loop {
            match find_ending(&self.held) {
                Ending::Complete(next) => {
                    self.end(sink);
                    return Some(next);
                }
                Ending::Possible => return None,
                Ending::None => {}
            }
            let first = self.held.remove(0);
            if self.values == Values::Text {
                arguments::push_char(first, sink);
                continue;
            }
            self.text.push(first);
            if self.values == Values::NullableText && !NULL.starts_with(&self.text) {
                self.values = Values::Text;
                sink.arguments("\"");
                std::mem::take(&mut self.text).chars().for_each(|c| arguments::push_char(c, sink));
            }
        }
    }

    fn end(&self, sink: &mut Sink) {
        match self.values {
            Values::Text => sink.arguments("\""),
            Values::NullableText if self.text != NULL => {
                sink.arguments(&serde_json::Value::from(self.text.as_str()).to_string());
            }
            Values::NullableText | Values::Json => sink.arguments(&arguments::to_json(&self.text)),
        }
    }
}

/// Finds the end of a value in the text held back.
fn find_ending(held: &str) -> Ending {
    if ENDS.iter().any(|end| end.starts_with(held)) {
        return Ending::Possible;
    }
    let Some(rest) = ENDS.iter().find_map(|end| held.strip_prefix(end)) else { return Ending::None };
    let tag = rest.trim_start();
    match NEXT.iter().find(|next| next.starts_with(tag)) {
        Some(next) if *next == tag => Ending::Complete(next),
        Some(_) if rest.len() - tag.len() <= MAX_BLANK => Ending::Possible,
        _ => Ending::None,
    }
}
