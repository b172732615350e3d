//! Llama 3.2 and 4: `[get_weather(city="Paris", days=3), now()]` as the whole answer; LFM2: the same between markers. An argument
//! goes out once it is complete.

use super::arguments::{self, ObjectWriter};
use super::functions::Functions;
use super::syntax::{Consumed, Markers};
use crate::text::sink::Sink;

pub(super) const MARKERS: Markers = Markers {
    open: &["<|python_start|>", "<|python_tag|>"],
    first: &['['],
    close: &["<|python_end|>"],
    known_only: true,
};

pub(super) const LFM2_OPEN: &str = "<|tool_call_start|>";
pub(super) const LFM2_CLOSE: &str = "<|tool_call_end|>";
pub(super) const LFM2_MARKERS: Markers =
    Markers { open: &[LFM2_OPEN], first: &[], close: &[LFM2_CLOSE], known_only: false };

/// A list of calls.
#[derive(Debug, Default)]
pub(crate) struct PythonicCalls {
    state: State,
    writer: ObjectWriter,
    calling: bool,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    BeforeList,
    Name(String),
    Key(String),
    Value(PythonScan),
    AfterCall,
}

/// Finds the end of a Python expression that arrives character by character.
#[derive(Debug, Default)]
struct PythonScan {
    text: String,
    depth: u32,
    quote: Option<char>,
    escaped: bool,
}

impl PythonScan {
    /// Takes the next character. `false` when `c` ends the expression; `c` does not belong to it.
    fn push(&mut self, c: char) -> bool {
        match (self.quote, c) {
            (Some(_), _) if self.escaped => self.escaped = false,
            (Some(_), '\\') => self.escaped = true,
            (Some(quote), c) if c == quote => self.quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => self.quote = Some(c),
            (None, '(' | '[' | '{') => self.depth += 1,
            (None, ',' | ')') if self.depth == 0 => return false,
            (None, ')' | ']' | '}') => self.depth = self.depth.saturating_sub(1),
            (None, _) => {}
        }
        self.text.push(c);
        true
    }
}

impl PythonicCalls {
    /// Whether the text so far is a call, or calls and separators.
    pub(crate) fn is_calling(&self) -> bool {
        self.calling
    }

    /// Parses the next character.
    pub(crate) fn push(
        &mut self,
        c: char,
        functions: &Functions,
        known_only: bool,
        sink: &mut Sink,
    ) -> Consumed {
        match &mut self.state {
            State::BeforeList if c == '[' => self.state = State::Name(String::new()),
            State::BeforeList if c.is_whitespace() => {}
            State::BeforeList => return Consumed::Failed,
            State::Name(_) => return self.push_name(c, functions, known_only, sink),
            State::Key(_) => self.push_key(c, sink),
            State::Value(scan) => {
                if !scan.push(c) {
                    sink.arguments(&arguments::to_json(&scan.text));
                    self.end_argument(c, sink);
                }
            }
            State::AfterCall => match c {
                ',' => {
                    self.calling = false;
                    self.state = State::Name(String::new());
                }
                ']' => return Consumed::Done,
                c if c.is_whitespace() => {}
                _ => return Consumed::DoneBefore,
            },
        }
        // The characters of a call never become answer text.
        if self.calling { Consumed::Called } else { Consumed::More }
    }

    fn push_name(&mut self, c: char, functions: &Functions, known_only: bool, sink: &mut Sink) -> Consumed {
        let State::Name(name) = &mut self.state else { return Consumed::Failed };
        if c == '(' {
            let name = name.trim();
            if name.is_empty() || (known_only && !functions.contains(name)) {
                return Consumed::Failed;
            }
            sink.begin_call(name);
            self.calling = true;
            self.writer = ObjectWriter::default();
            self.state = State::Key(String::new());
            return Consumed::Called;
        }
        let is_name_char = c.is_alphanumeric() || matches!(c, '_' | '.' | '-');
        if !(is_name_char || c.is_whitespace() && name.trim().is_empty()) {
            return Consumed::Failed;
        }
        name.push(c);
        Consumed::More
    }

    fn push_key(&mut self, c: char, sink: &mut Sink) {
        let State::Key(key) = &mut self.state else { return };
        match c {
            '=' => {
                self.writer.key(key.trim(), sink);
                self.state = State::Value(PythonScan::default());
            }
            ',' | ')' => {
                let text = std::mem::take(key);
                self.push_positional(&text, sink);
                self.end_argument(c, sink);
            }
            '"' | '\'' | '[' | '{' | '(' => {
                let mut scan = PythonScan { text: std::mem::take(key), ..PythonScan::default() };
                scan.push(c);
                self.writer.key(&format!("arg{}", self.writer.keys()), sink);
                self.state = State::Value(scan);
            }
            c => key.push(c),
        }
    }

    /// Ends the output: hands over the key or the value as far as it has come.
    pub(crate) fn finish(&mut self, sink: &mut Sink) {
        match &self.state {
            State::Key(key) => self.writer.partial_key(key.trim(), sink),
            State::Value(scan) => arguments::push_partial_value(&scan.text, sink),
            _ => {}
        }
    }

    /// Writes a value without a name, if there is one.
    fn push_positional(&mut self, text: &str, sink: &mut Sink) {
        if !text.trim().is_empty() {
            self.writer.key(&format!("arg{}", self.writer.keys()), sink);
            sink.arguments(&arguments::to_json(text));
        }
    }

    /// Ends an argument before `c`.
    fn end_argument(&mut self, c: char, sink: &mut Sink) {
        if c == ')' {
            self.writer.close(sink);
            sink.end_call();
            self.state = State::AfterCall;
        } else {
            self.state = State::Key(String::new());
        }
    }
}
