//! FunctionGemma: `<start_function_call>call:name{key:<escape>text<escape>,other:1}<end_function_call>`.
//!
//! Texts go out as they come, other values when they are whole.

use super::Markers;
use super::arguments::{self, Writer};
use super::body::Fed;
use crate::adapters::reading::Sink;

pub(super) const OPEN: &str = "<start_function_call>";
pub(super) const CLOSE: &str = "<end_function_call>";
/// Stands around texts.
pub(crate) const ESCAPE: &str = "<escape>";
pub(super) const MARKERS: Markers = Markers { open: &[OPEN], first: &[], close: &[CLOSE], known_only: false };
const CALL: &str = "call:";
const MAX_NAME: usize = 256;

/// A name, then arguments in braces.
#[derive(Debug, Default)]
pub(crate) struct Gemma {
    state: State,
    writer: Writer,
    calling: bool,
}

#[derive(Debug)]
enum State {
    Head(String),
    Key(Scan),
    /// What may be the beginning of [`ESCAPE`].
    Value(String),
    /// Inside of a text: what may be the beginning of its end.
    Text(String),
    Other(Scan),
    After,
}

impl Default for State {
    fn default() -> Self {
        Self::Head(String::new())
    }
}

impl Gemma {
    /// Whether a call has begun; then nothing of it is text.
    pub(crate) fn is_calling(&self) -> bool {
        self.calling
    }

    /// Takes the next character.
    pub(crate) fn feed(&mut self, c: char, sink: &mut Sink) -> Fed {
        match &mut self.state {
            State::Head(_) => return self.head(c, sink),
            State::Key(scan) => match c {
                ':' if scan.is_outside() => {
                    self.writer.key(&key(&scan.text), sink);
                    self.state = State::Value(String::new());
                }
                c => {
                    if !scan.feed(c) {
                        let text = std::mem::take(&mut scan.text);
                        self.nameless(&text, sink);
                        return self.next(c, sink);
                    }
                }
            },
            State::Value(held) => {
                held.push(c);
                let text = held.trim_start();
                if text == ESCAPE {
                    sink.arguments("\"");
                    self.state = State::Text(String::new());
                } else if !ESCAPE.starts_with(text) {
                    let text = std::mem::take(held);
                    self.state = State::Other(Scan::default());
                    return text.chars().fold(Fed::Called, |fed, c| match fed {
                        Fed::Called => self.other(c, sink),
                        fed => fed,
                    });
                }
            }
            State::Text(held) => {
                held.push(c);
                while !ESCAPE.starts_with(held.as_str()) {
                    arguments::letter(held.remove(0), sink);
                }
                if held == ESCAPE {
                    sink.arguments("\"");
                    self.state = State::After;
                }
            }
            State::Other(_) => return self.other(c, sink),
            State::After if c.is_whitespace() => {}
            State::After => return self.next(c, sink),
        }
        Fed::Called
    }

    fn head(&mut self, c: char, sink: &mut Sink) -> Fed {
        let State::Head(head) = &mut self.state else { return Fed::Failed };
        if c != '{' {
            head.push(c);
            let text = head.trim_start();
            let begun = CALL.starts_with(text) || text.starts_with(CALL);
            return if begun && head.len() <= MAX_NAME { Fed::More } else { Fed::Failed };
        }
        let name = head.trim().strip_prefix(CALL).map_or("", str::trim);
        if name.is_empty() {
            return Fed::Failed;
        }
        sink.call(name);
        self.calling = true;
        self.state = State::Key(Scan::default());
        Fed::Called
    }

    fn other(&mut self, c: char, sink: &mut Sink) -> Fed {
        let State::Other(scan) = &mut self.state else { return Fed::Failed };
        if scan.feed(c) {
            return Fed::Called;
        }
        sink.arguments(&arguments::json(&scan.text));
        self.next(c, sink)
    }

    /// What has no colon after it: a value without a name, where it is anything.
    fn nameless(&mut self, text: &str, sink: &mut Sink) {
        if !text.trim().is_empty() {
            self.writer.key(&format!("arg{}", self.writer.keys()), sink);
            sink.arguments(&arguments::json(text));
        }
    }

    /// After an argument.
    fn next(&mut self, c: char, sink: &mut Sink) -> Fed {
        if c == ',' {
            self.state = State::Key(Scan::default());
            return Fed::Called;
        }
        self.writer.close(sink);
        sink.end();
        if c == '}' { Fed::Done } else { Fed::DoneBefore }
    }

    /// Nothing more comes: the key or the value as far as it has come. The beginning of a marker is none of either.
    pub(crate) fn finish(&mut self, sink: &mut Sink) {
        match &self.state {
            State::Key(scan) => self.writer.partial_key(scan.text.trim(), sink),
            State::Text(held) => held.chars().for_each(|c| arguments::letter(c, sink)),
            State::Other(scan) => arguments::partial(&scan.text, sink),
            State::Head(_) | State::Value(_) | State::After => {}
        }
    }
}

/// A key as it is written, or as a text.
fn key(text: &str) -> String {
    let text = text.trim();
    let inner = text.strip_prefix(ESCAPE).and_then(|text| text.strip_suffix(ESCAPE));
    let quoted = || serde_json::from_str(text).ok().filter(|_| text.starts_with('"'));
    inner.map(str::to_owned).or_else(quoted).unwrap_or_else(|| text.to_owned())
}

/// A key, or a value that is no text, as it comes.
#[derive(Debug, Default)]
struct Scan {
    text: String,
    depth: u32,
    /// Between two of [`ESCAPE`].
    escaped: bool,
    /// In a JSON string, and whether a backslash was before.
    quoted: Option<bool>,
}

impl Scan {
    /// Whether no text and no brackets are open.
    fn is_outside(&self) -> bool {
        self.depth == 0 && !self.escaped && self.quoted.is_none()
    }

    /// False when `c` ends it, to which it does not belong.
    fn feed(&mut self, c: char) -> bool {
        match (self.quoted, c) {
            (Some(true), _) => self.quoted = Some(false),
            (Some(false), '\\') => self.quoted = Some(true),
            (Some(false), '"') => self.quoted = None,
            (Some(false), _) => {}
            (None, _) if self.escaped => {}
            // A quotation mark inside of a word is one of its letters.
            (None, '"')
                if self.text.trim_end().is_empty()
                    || self.text.trim_end().ends_with(['{', '[', ',', ':']) =>
            {
                self.quoted = Some(false);
            }
            (None, ',' | '}') if self.depth == 0 => return false,
            (None, '{' | '[') => self.depth += 1,
            (None, '}' | ']') => self.depth = self.depth.saturating_sub(1),
            (None, _) => {}
        }
        self.text.push(c);
        if c == '>' && self.quoted.is_none() && self.text.ends_with(ESCAPE) {
            self.escaped = !self.escaped;
        }
        true
    }
}
