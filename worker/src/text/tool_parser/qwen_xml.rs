//! Qwen3-Coder: `<tool_call>\n<function=name>\n<parameter=key>\nvalue\n</parameter>\n</function>\n</tool_call>`.
//!
//! A parameter that the schema calls a string goes out as it comes, others when they are whole, as the JSON they are. A value may
//! hold `</parameter>` itself: it ends where the next parameter or the function's end comes after that.

use super::arguments::{self, Writer};
use super::body::Fed;
use super::{Known, Markers, hermes};
use crate::adapters::reading::Sink;

pub(super) const FUNCTION: &str = "<function=";
pub(super) const END: &str = "</function>";
pub(super) const PARAMETER: &str = "<parameter=";
pub(super) const PARAMETER_END: &str = "</parameter>";
/// The line's end before it is not the value's.
const ENDS: [&str; 2] = ["\n</parameter>", PARAMETER_END];
/// What comes after a value, behind white space: anything else, and it was not its end but a part of it. Some models forget
/// the function's own.
const NEXT: [&str; 3] = [PARAMETER, END, hermes::CLOSE];
/// White space there, in bytes; more of it is a value's.
const MAX_BLANK: usize = 64;
pub(super) const MARKERS: Markers =
    Markers { open: &[hermes::OPEN, FUNCTION], first: &[], close: &[hermes::CLOSE], known_only: false };
const MAX_NAME: usize = 256;

/// One function's element.
#[derive(Debug, Default)]
pub(crate) struct Xml {
    state: State,
    function: String,
    writer: Writer,
    calling: bool,
}

#[derive(Debug)]
enum State {
    /// What has come of `<function=`.
    Start(String),
    Name(String),
    /// What has come of the next tag.
    Between(String),
    Key(String),
    Value(Value),
    /// The call is over.
    Over,
}

/// What may be the end of a value, and what comes after it.
#[derive(Debug, PartialEq, Eq)]
enum Ending {
    /// It is not.
    No,
    /// It may become that.
    Open,
    /// It is, and this came after it.
    Whole(&'static str),
}

impl Default for State {
    fn default() -> Self {
        Self::Start(String::new())
    }
}

#[derive(Debug)]
struct Value {
    string: bool,
    /// Its first character has come.
    begun: bool,
    /// What may be the beginning of the end.
    held: String,
    /// Of one that is no string.
    text: String,
}

impl Xml {
    /// The marker may be the element's own beginning.
    pub(crate) fn opened(&mut self, marker: &str) {
        if marker.ends_with(FUNCTION) {
            self.state = State::Name(String::new());
        }
    }

    /// Takes the next character.
    pub(crate) fn feed(&mut self, c: char, known: &Known, sink: &mut Sink) -> Fed {
        match &mut self.state {
            State::Start(held) => {
                held.push(c);
                let tag = held.trim_start();
                match tag {
                    FUNCTION => self.state = State::Name(String::new()),
                    _ if FUNCTION.starts_with(tag) => {}
                    _ => return Fed::Failed,
                }
            }
            State::Name(name) if c == '>' => {
                self.function = name.trim().to_owned();
                if self.function.is_empty() {
                    return Fed::Failed;
                }
                sink.call(&self.function);
                self.calling = true;
                self.state = State::Between(String::new());
            }
            State::Name(name) | State::Key(name) if c != '>' => {
                name.push(c);
                if !self.calling && (name.len() > MAX_NAME || c == '<') {
                    return Fed::Failed;
                }
            }
            State::Key(key) => {
                let key = key.trim().to_owned();
                self.writer.key(&key, sink);
                let string = known.is_string(&self.function, &key);
                self.state = State::Value(Value::new(string, sink));
            }
            State::Value(value) => match value.feed(c, sink) {
                None => {}
                Some(PARAMETER) => self.state = State::Key(String::new()),
                Some(_) => return self.end(sink),
            },
            State::Between(_) => return self.between(c, sink),
            State::Name(_) | State::Over => return Fed::Failed,
        }
        // A call's own characters are no text any more.
        if self.calling { Fed::Called } else { Fed::More }
    }

    fn between(&mut self, c: char, sink: &mut Sink) -> Fed {
        let State::Between(held) = &mut self.state else { return Fed::Failed };
        held.push(c);
        let tag = held.trim_start();
        match tag {
            PARAMETER => self.state = State::Key(String::new()),
            END => return self.end(sink),
            _ if PARAMETER.starts_with(tag) || END.starts_with(tag) => {}
            _ => {
                self.writer.close(sink);
                sink.end();
                held.pop();
                sink.text(held);
                return Fed::DoneBefore;
            }
        }
        Fed::Called
    }

    fn end(&mut self, sink: &mut Sink) -> Fed {
        self.writer.close(sink);
        sink.end();
        self.state = State::Over;
        Fed::Done
    }

    /// Whether a call has begun.
    pub(crate) fn is_calling(&self) -> bool {
        self.calling
    }

    /// Nothing more comes: the key or the value as far as it has come. The beginning of a tag is none of either.
    pub(crate) fn finish(&mut self, sink: &mut Sink) {
        match &self.state {
            State::Key(key) => self.writer.partial_key(key.trim(), sink),
            State::Value(value) if ENDS.iter().any(|end| value.held.starts_with(end)) => value.end(sink),
            State::Value(value) if value.string => {
                value.held.chars().for_each(|c| arguments::letter(c, sink))
            }
            State::Value(value) => arguments::partial(&format!("{}{}", value.text, value.held), sink),
            _ => {}
        }
    }
}

impl Value {
    fn new(string: bool, sink: &mut Sink) -> Self {
        if string {
            sink.arguments("\"");
        }
        Self { string, begun: false, held: String::new(), text: String::new() }
    }

    /// What came after it, when it is whole.
    fn feed(&mut self, c: char, sink: &mut Sink) -> Option<&'static str> {
        if !std::mem::replace(&mut self.begun, true) && c == '\n' {
            return None;
        }
        self.held.push(c);
        loop {
            match ending(&self.held) {
                Ending::Whole(next) => {
                    self.end(sink);
                    return Some(next);
                }
                Ending::Open => return None,
                Ending::No => {}
            }
            let first = self.held.remove(0);
            if self.string {
                arguments::letter(first, sink);
            } else {
                self.text.push(first);
            }
        }
    }

    fn end(&self, sink: &mut Sink) {
        match self.string {
            true => sink.arguments("\""),
            false => sink.arguments(&arguments::json(&self.text)),
        }
    }
}

/// Whether what was held back ends a value.
fn ending(held: &str) -> Ending {
    if ENDS.iter().any(|end| end.starts_with(held)) {
        return Ending::Open;
    }
    let Some(rest) = ENDS.iter().find_map(|end| held.strip_prefix(end)) else { return Ending::No };
    let tag = rest.trim_start();
    match NEXT.iter().find(|next| next.starts_with(tag)) {
        Some(next) if *next == tag => Ending::Whole(next),
        Some(_) if rest.len() - tag.len() <= MAX_BLANK => Ending::Open,
        _ => Ending::No,
    }
}
