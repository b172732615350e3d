//! Llama 3.2 and 4: `[get_weather(city="Paris", days=3), now()]` as the whole answer. Each argument goes out when it is whole.

use super::arguments::{self, Writer};
use super::body::Fed;
use super::{Known, Markers};
use crate::adapters::reading::Sink;

pub(super) const MARKERS: Markers = Markers {
    open: &["<|python_start|>", "<|python_tag|>"],
    first: &['['],
    close: &["<|python_end|>"],
    known_only: true,
};

/// A list of calls.
#[derive(Debug, Default)]
pub(crate) struct Pythonic {
    state: State,
    writer: Writer,
    calling: bool,
}

#[derive(Debug, Default)]
enum State {
    /// Before the list.
    #[default]
    Start,
    Name(String),
    Key(String),
    Value(Scan),
    After,
}

/// A Python expression as it comes.
#[derive(Debug, Default)]
struct Scan {
    text: String,
    depth: u32,
    quote: Option<char>,
    escaped: bool,
}

impl Scan {
    /// False when `c` ends it, to which it does not belong.
    fn feed(&mut self, c: char) -> bool {
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

impl Pythonic {
    /// Whether what has come is a call, or calls and what belongs between them.
    pub(crate) fn is_calling(&self) -> bool {
        self.calling
    }

    /// Takes the next character.
    pub(crate) fn feed(&mut self, c: char, known: &Known, known_only: bool, sink: &mut Sink) -> Fed {
        match &mut self.state {
            State::Start if c == '[' => self.state = State::Name(String::new()),
            State::Start if c.is_whitespace() => {}
            State::Start => return Fed::Failed,
            State::Name(name) if c == '(' => {
                let name = name.trim();
                if name.is_empty() || (known_only && !known.contains(name)) {
                    return Fed::Failed;
                }
                sink.call(name);
                self.calling = true;
                self.writer = Writer::default();
                self.state = State::Key(String::new());
                return Fed::Called;
            }
            State::Name(name) => {
                let inside = c.is_alphanumeric() || matches!(c, '_' | '.' | '-');
                if !(inside || c.is_whitespace() && name.trim().is_empty()) {
                    return Fed::Failed;
                }
                name.push(c);
            }
            State::Key(key) => match c {
                '=' => {
                    self.writer.key(key.trim(), sink);
                    self.state = State::Value(Scan::default());
                }
                ',' | ')' => {
                    let text = std::mem::take(key);
                    self.positional(&text, sink);
                    self.next(c, sink);
                }
                '"' | '\'' | '[' | '{' | '(' => {
                    let mut scan = Scan { text: std::mem::take(key), ..Scan::default() };
                    scan.feed(c);
                    self.writer.key(&format!("arg{}", self.writer.keys()), sink);
                    self.state = State::Value(scan);
                }
                c => key.push(c),
            },
            State::Value(scan) => {
                if !scan.feed(c) {
                    sink.arguments(&arguments::json(&scan.text));
                    self.next(c, sink);
                }
            }
            State::After => match c {
                ',' => {
                    self.calling = false;
                    self.state = State::Name(String::new());
                }
                ']' => return Fed::Done,
                c if c.is_whitespace() => {}
                _ => return Fed::DoneBefore,
            },
        }
        // A call's own characters are no text any more.
        if self.calling { Fed::Called } else { Fed::More }
    }

    /// Nothing more comes: the key or the value as far as it has come.
    pub(crate) fn finish(&mut self, sink: &mut Sink) {
        match &self.state {
            State::Key(key) => self.writer.partial_key(key.trim(), sink),
            State::Value(scan) => arguments::partial(&scan.text, sink),
            _ => {}
        }
    }

    /// A value without a name, where there is one.
    fn positional(&mut self, text: &str, sink: &mut Sink) {
        if !text.trim().is_empty() {
            self.writer.key(&format!("arg{}", self.writer.keys()), sink);
            sink.arguments(&arguments::json(text));
        }
    }

    /// After an argument.
    fn next(&mut self, c: char, sink: &mut Sink) {
        if c == ')' {
            self.writer.close(sink);
            sink.end();
            self.state = State::After;
        } else {
            self.state = State::Key(String::new());
        }
    }
}
