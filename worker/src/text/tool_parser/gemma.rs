//! FunctionGemma: `<start_function_call>call:name{key:<escape>text<escape>,other:1}<end_function_call>`; and Gemma 4 with markers of
//! its own: `<|tool_call>call:name{key:<|"|>text<|"|>,other:1}<tool_call|>`.
//!
//! Strings go out as they come, other values once they are complete.

use super::arguments::{self, ObjectWriter};
use super::syntax::{Consumed, Markers};
use crate::text::sink::Sink;

pub(super) const MARKERS: Markers = Markers {
    open: &["<start_function_call>"],
    first: &[],
    close: &["<end_function_call>"],
    known_only: false,
};
pub(super) const ESCAPE: &str = arguments::GEMMA_ESCAPES[0];
pub(super) const MARKERS_4: Markers =
    Markers { open: &["<|tool_call>"], first: &[], close: &["<tool_call|>"], known_only: false };
pub(super) const ESCAPE_4: &str = arguments::GEMMA_ESCAPES[1];
const CALL: &str = "call:";
/// Bytes of the text before the arguments, at most.
const MAX_HEAD: usize = 256;

/// A name, then arguments in braces.
#[derive(Debug)]
pub(crate) struct GemmaCall {
    /// Surrounds strings.
    escape: &'static str,
    state: State,
    writer: ObjectWriter,
    calling: bool,
}

#[derive(Debug)]
enum State {
    Head(String),
    Key(GemmaScan),
    /// Before a value. Holds a possible beginning of an escape marker.
    BeforeValue(String),
    /// Inside of a string. Holds a possible beginning of the end marker.
    Text(String),
    /// Inside of any other value.
    Other(GemmaScan),
    AfterValue,
}

impl GemmaCall {
    /// A call whose strings `escape` surrounds.
    pub(crate) fn new(escape: &'static str) -> Self {
        let (state, writer) = (State::Head(String::new()), ObjectWriter::default());
        Self { escape, state, writer, calling: false }
    }

    /// Whether a call has begun.
    pub(crate) fn is_calling(&self) -> bool {
        self.calling
    }

    /// Parses the next character.
    pub(crate) fn push(&mut self, c: char, sink: &mut Sink) -> Consumed {
        match &mut self.state {
            State::Head(_) => self.push_head(c, sink),
            State::Key(_) => self.push_key(c, sink),
            State::BeforeValue(_) => self.push_before_value(c, sink),
            State::Text(held) => {
                held.push(c);
                while !self.escape.starts_with(held.as_str()) {
                    arguments::push_char(held.remove(0), sink);
                }
                if held == self.escape {
                    sink.arguments("\"");
                    self.state = State::AfterValue;
                }
                Consumed::Called
            }
            State::Other(_) => self.push_other(c, sink),
            State::AfterValue if c.is_whitespace() => Consumed::Called,
            State::AfterValue => self.end_argument(c, sink),
        }
    }

    fn push_head(&mut self, c: char, sink: &mut Sink) -> Consumed {
        let State::Head(head) = &mut self.state else { return Consumed::Failed };
        if c != '{' {
            head.push(c);
            let text = head.trim_start();
            let begun = CALL.starts_with(text) || text.starts_with(CALL);
            return if begun && head.len() <= MAX_HEAD { Consumed::More } else { Consumed::Failed };
        }
        let name = head.trim().strip_prefix(CALL).map_or("", str::trim);
        if name.is_empty() {
            return Consumed::Failed;
        }
        sink.begin_call(name);
        self.calling = true;
        self.state = State::Key(GemmaScan::new(self.escape));
        Consumed::Called
    }

    fn push_key(&mut self, c: char, sink: &mut Sink) -> Consumed {
        let State::Key(scan) = &mut self.state else { return Consumed::Failed };
        if c == ':' && scan.is_outside() {
            self.writer.key(&key(&scan.text, self.escape), sink);
            self.state = State::BeforeValue(String::new());
            return Consumed::Called;
        }
        if scan.push(c) {
            return Consumed::Called;
        }
        let text = std::mem::take(&mut scan.text);
        self.push_unnamed(&text, sink);
        self.end_argument(c, sink)
    }

    fn push_before_value(&mut self, c: char, sink: &mut Sink) -> Consumed {
        let State::BeforeValue(held) = &mut self.state else { return Consumed::Failed };
        held.push(c);
        let text = held.trim_start();
        if text == self.escape {
            sink.arguments("\"");
            self.state = State::Text(String::new());
            return Consumed::Called;
        }
        if self.escape.starts_with(text) {
            return Consumed::Called;
        }
        let text = std::mem::take(held);
        self.state = State::Other(GemmaScan::new(self.escape));
        for c in text.chars() {
            let consumed = self.push_other(c, sink);
            if consumed != Consumed::Called {
                return consumed;
            }
        }
        Consumed::Called
    }

    fn push_other(&mut self, c: char, sink: &mut Sink) -> Consumed {
        let State::Other(scan) = &mut self.state else { return Consumed::Failed };
        if scan.push(c) {
            return Consumed::Called;
        }
        sink.arguments(&arguments::to_json(&scan.text));
        self.end_argument(c, sink)
    }

    /// Writes a value without a name, if there is one.
    fn push_unnamed(&mut self, text: &str, sink: &mut Sink) {
        if !text.trim().is_empty() {
            self.writer.key(&format!("arg{}", self.writer.keys()), sink);
            sink.arguments(&arguments::to_json(text));
        }
    }

    /// Ends an argument before `c`.
    fn end_argument(&mut self, c: char, sink: &mut Sink) -> Consumed {
        if c == ',' {
            self.state = State::Key(GemmaScan::new(self.escape));
            return Consumed::Called;
        }
        self.writer.close(sink);
        sink.end_call();
        if c == '}' { Consumed::Done } else { Consumed::DoneBefore }
    }

    /// Ends the output: hands over the key or the value as far as it has come, without the beginning of a marker.
    pub(crate) fn finish(&mut self, sink: &mut Sink) {
        match &self.state {
            State::Key(scan) => self.writer.partial_key(scan.text.trim(), sink),
            State::Text(held) => held.chars().for_each(|c| arguments::push_char(c, sink)),
            State::Other(scan) => arguments::push_partial_value(&scan.text, sink),
            State::Head(_) | State::BeforeValue(_) | State::AfterValue => {}
        }
    }
}

/// Removes the quotes around a key: escape markers, or JSON's.
fn key(text: &str, escape: &str) -> String {
    let text = text.trim();
    let inner = text.strip_prefix(escape).and_then(|text| text.strip_suffix(escape));
    let quoted = || serde_json::from_str(text).ok().filter(|_| text.starts_with('"'));
    inner.map(str::to_owned).or_else(quoted).unwrap_or_else(|| text.to_owned())
}

/// Finds the end of a key, or of a value that is no string.
#[derive(Debug)]
struct GemmaScan {
    escape: &'static str,
    text: String,
    depth: u32,
    /// Between two escape markers.
    escaped: bool,
    /// In a JSON string. `true` after a backslash.
    quoted: Option<bool>,
}

impl GemmaScan {
    fn new(escape: &'static str) -> Self {
        Self { escape, text: String::new(), depth: 0, escaped: false, quoted: None }
    }

    /// Whether no string and no bracket is open.
    fn is_outside(&self) -> bool {
        self.depth == 0 && !self.escaped && self.quoted.is_none()
    }

    /// Takes the next character. `false` when `c` ends the text; `c` does not belong to it.
    fn push(&mut self, c: char) -> bool {
        match (self.quoted, c) {
            (Some(true), _) => self.quoted = Some(false),
            (Some(false), '\\') => self.quoted = Some(true),
            (Some(false), '"') => self.quoted = None,
            (Some(false), _) => {}
            (None, _) if self.escaped => {}
            // A quotation mark inside of a word is an ordinary character.
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
        if c == '>' && self.quoted.is_none() && self.text.ends_with(self.escape) {
            self.escaped = !self.escaped;
        }
        true
    }
}
