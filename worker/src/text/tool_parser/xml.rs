//! Calls as elements: a function's name, and its parameters one by one between tags. Each format has its own tags.
//!
//! A parameter that the schema types as a string goes out as it comes. So does one that may also be null, unless it is the text
//! `null`: a zip code stays a string. Any other goes out as JSON once it is complete. A value may contain the tag that ends
//! values: it ends at that tag only if the next parameter or the end of the function follows.

use super::arguments::{self, ObjectWriter};
use super::functions::{Functions, Values};
use super::syntax::Consumed;
use crate::text::sink::Sink;

/// The tags of a format.
#[derive(Debug)]
pub(crate) struct XmlTags {
    /// Before a function's name. Empty if the name follows the marker of calls; then it ends with its line, or before a tag.
    pub(crate) function: &'static str,
    /// After a function's name.
    pub(crate) name_end: &'static str,
    /// Before a parameter's name.
    pub(crate) parameter: &'static str,
    /// After a parameter's name.
    pub(crate) key_end: &'static str,
    /// Before a value, after white space; may be empty.
    pub(crate) value: &'static str,
    /// After a value.
    pub(crate) value_end: &'static str,
    /// Whether values stand on lines of their own. The line breaks around them do not belong to them then.
    pub(crate) own_lines: bool,
    /// After the last parameter.
    pub(crate) end: &'static str,
    /// After the last function. Some models omit `end`.
    pub(crate) close: &'static str,
}

impl XmlTags {
    /// Tags that may follow a parameter.
    fn next(&self) -> [&'static str; 3] {
        [self.parameter, self.end, self.close]
    }
}

/// The text of null.
const NULL: &str = "null";
/// Bytes of white space between the end of a value and the next tag, at most. Longer white space belongs to the value.
const MAX_BLANK: usize = 64;
/// Bytes of a function's name, at most.
const MAX_NAME: usize = 256;

/// One function's element.
#[derive(Debug)]
pub(crate) struct XmlCall {
    tags: &'static XmlTags,
    state: State,
    function: String,
    writer: ObjectWriter,
    calling: bool,
}

#[derive(Debug)]
enum State {
    /// Before the name. Holds a possible beginning of the function's tag.
    Start(String),
    Name(String),
    /// Between parameters. Holds a possible beginning of the next tag.
    Between(String),
    Key(String),
    /// Before a value. Holds a possible beginning of its tag.
    BeforeValue(Values, String),
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

#[derive(Debug)]
struct ParameterValue {
    tags: &'static XmlTags,
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
    /// Before the first character.
    pub(crate) fn new(tags: &'static XmlTags) -> Self {
        let (state, function) = (State::Start(String::new()), String::new());
        Self { tags, state, function, writer: ObjectWriter::default(), calling: false }
    }

    /// Begins after `marker`, which may be the beginning of the element.
    pub(crate) fn begin(&mut self, marker: &str) {
        if marker.ends_with(self.tags.function) {
            self.state = State::Name(String::new());
        }
    }

    /// Parses the next character.
    pub(crate) fn push(&mut self, c: char, functions: &Functions, sink: &mut Sink) -> Consumed {
        match &mut self.state {
            State::Start(held) => {
                held.push(c);
                let (tag, function) = (held.trim_start(), self.tags.function);
                if tag == function {
                    self.state = State::Name(String::new());
                } else if !function.starts_with(tag) {
                    return Consumed::Failed;
                }
            }
            State::Name(_) if self.tags.function.is_empty() => return self.push_bare_name(c, sink),
            State::Name(name) => {
                name.push(c);
                if let Some(name) = name.strip_suffix(self.tags.name_end) {
                    let name = name.trim().to_owned();
                    return self.begin_call(name, State::Between(String::new()), sink);
                }
                if name.len() > MAX_NAME || c == '<' {
                    return Consumed::Failed;
                }
            }
            State::Key(key) => {
                key.push(c);
                if let Some(key) = key.strip_suffix(self.tags.key_end) {
                    let key = key.trim().to_owned();
                    self.writer.key(&key, sink);
                    let values = functions.values(&self.function, &key);
                    self.state = match self.tags.value {
                        "" => State::Value(ParameterValue::new(self.tags, values, sink)),
                        _ => State::BeforeValue(values, String::new()),
                    };
                }
            }
            State::BeforeValue(..) => return self.push_before_value(c, sink),
            State::Value(value) => match value.push(c, sink) {
                None => {}
                Some(tag) if tag == self.tags.parameter => self.state = State::Key(String::new()),
                Some(_) => return self.end_call(sink),
            },
            State::Between(_) => return self.push_between(c, sink),
            State::Over => return Consumed::Failed,
        }
        // The characters of a call never become answer text.
        if self.calling { Consumed::Called } else { Consumed::More }
    }

    /// A character of a name without tags around it.
    fn push_bare_name(&mut self, c: char, sink: &mut Sink) -> Consumed {
        let State::Name(name) = &mut self.state else { return Consumed::Failed };
        if name.is_empty() && c.is_whitespace() {
            return Consumed::More;
        }
        if c == '\n' || c == '<' {
            let (name, held) = (name.trim().to_owned(), if c == '<' { "<" } else { "" });
            return self.begin_call(name, State::Between(held.to_owned()), sink);
        }
        name.push(c);
        // JSON and prose are no names.
        if name.len() > MAX_NAME || matches!(c, '{' | '[' | '"' | ' ' | '\t') {
            return Consumed::Failed;
        }
        Consumed::More
    }

    fn begin_call(&mut self, name: String, next: State, sink: &mut Sink) -> Consumed {
        if name.is_empty() {
            return Consumed::Failed;
        }
        sink.begin_call(&name);
        (self.function, self.calling, self.state) = (name, true, next);
        Consumed::Called
    }

    /// The tag before a value; without it, the value begins at once.
    fn push_before_value(&mut self, c: char, sink: &mut Sink) -> Consumed {
        let State::BeforeValue(values, held) = &mut self.state else { return Consumed::Failed };
        held.push(c);
        let (tag, begin) = (held.trim_start(), self.tags.value);
        if tag != begin && begin.starts_with(tag) {
            return Consumed::Called;
        }
        let text = if tag == begin { String::new() } else { tag.to_owned() };
        let mut value = ParameterValue::new(self.tags, *values, sink);
        let next = text.chars().find_map(|c| value.push(c, sink));
        self.state = State::Value(value);
        if next.is_some() { self.end_call(sink) } else { Consumed::Called }
    }

    fn push_between(&mut self, c: char, sink: &mut Sink) -> Consumed {
        let State::Between(held) = &mut self.state else { return Consumed::Failed };
        held.push(c);
        let tag = held.trim_start();
        if tag == self.tags.parameter {
            self.state = State::Key(String::new());
            return Consumed::Called;
        }
        if tag == self.tags.end || tag == self.tags.close {
            return self.end_call(sink);
        }
        if self.tags.next().iter().any(|next| next.starts_with(tag)) {
            return Consumed::Called;
        }
        held.pop();
        let held = std::mem::take(held);
        self.writer.close(sink);
        sink.end_call();
        sink.text(&held);
        Consumed::DoneBefore
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
            State::Key(key) => {
                self.writer.partial_key(without_beginning(key, self.tags.key_end).trim(), sink);
            }
            State::BeforeValue(..) => {}
            State::Value(value) if value.after_end().is_some() => value.end(sink),
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
    fn new(tags: &'static XmlTags, values: Values, sink: &mut Sink) -> Self {
        if values == Values::Text {
            sink.arguments("\"");
        }
        Self { tags, values, begun: false, held: String::new(), text: String::new() }
    }

    /// Takes the next character. Returns the tag after the value once the value is complete.
    fn push(&mut self, c: char, sink: &mut Sink) -> Option<&'static str> {
        if !std::mem::replace(&mut self.begun, true) && c == '\n' && self.tags.own_lines {
            return None;
        }
        self.held.push(c);
        loop {
            match self.find_ending() {
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

    /// The text held back without the end of the value at its beginning; `None` if it does not begin with one.
    fn after_end(&self) -> Option<&str> {
        let line = self.held.strip_prefix('\n').filter(|_| self.tags.own_lines);
        line.unwrap_or(&self.held).strip_prefix(self.tags.value_end)
    }

    /// Finds the end of the value in the text held back.
    fn find_ending(&self) -> Ending {
        let Some(rest) = self.after_end() else {
            let line = self.held.strip_prefix('\n').filter(|_| self.tags.own_lines);
            let is_beginning = self.tags.value_end.starts_with(line.unwrap_or(&self.held));
            return if is_beginning { Ending::Possible } else { Ending::None };
        };
        let tag = rest.trim_start();
        match self.tags.next().into_iter().find(|next| next.starts_with(tag)) {
            Some(next) if next == tag => Ending::Complete(next),
            Some(_) if rest.len() - tag.len() <= MAX_BLANK => Ending::Possible,
            _ => Ending::None,
        }
    }
}

/// `text` without the beginning of `tag` at its end.
fn without_beginning<'a>(text: &'a str, tag: &str) -> &'a str {
    let mut beginnings = (1..tag.len()).rev().filter_map(|end| tag.get(..end));
    beginnings.find_map(|beginning| text.strip_suffix(beginning)).unwrap_or(text)
}
