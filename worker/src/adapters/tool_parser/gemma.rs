//! FunctionGemma: `<start_function_call>call:name{key:<escape>text<escape>,other:1}<end_function_call>`.

use super::Markers;
use super::arguments;
use super::body::Fed;
use crate::adapters::reading::Sink;

pub(super) const OPEN: &str = "<start_function_call>";
pub(super) const CLOSE: &str = "<end_function_call>";
/// Stands around texts.
pub(crate) const ESCAPE: &str = "<escape>";
pub(super) const MARKERS: Markers = Markers { open: &[OPEN], first: &[], close: &[CLOSE], known_only: false };
const CALL: &str = "call:";
const MAX_NAME: usize = 256;

/// A name, then arguments in braces, which go out when they are whole.
#[derive(Debug, Default)]
pub(crate) struct Gemma {
    head: String,
    arguments: Option<Arguments>,
}

#[derive(Debug, Default)]
struct Arguments {
    text: String,
    depth: u32,
    quoted: bool,
}

impl Gemma {
    /// Whether a call has begun; then nothing of it is text.
    pub(crate) fn is_calling(&self) -> bool {
        self.arguments.is_some()
    }

    /// Takes the next character.
    pub(crate) fn feed(&mut self, c: char, sink: &mut Sink) -> Fed {
        if let Some(arguments) = &mut self.arguments {
            if !arguments.feed(c) {
                return Fed::More;
            }
            sink.arguments(&arguments::json(&arguments.text));
            sink.end();
            return Fed::Done;
        }
        if c != '{' {
            self.head.push(c);
            let head = self.head.trim_start();
            let begun = CALL.starts_with(head) || head.starts_with(CALL);
            return if begun && self.head.len() <= MAX_NAME { Fed::More } else { Fed::Failed };
        }
        let name = self.head.trim().strip_prefix(CALL).map_or("", str::trim);
        if name.is_empty() {
            return Fed::Failed;
        }
        sink.call(name);
        let mut arguments = Arguments::default();
        arguments.feed(c);
        self.arguments = Some(arguments);
        Fed::Called
    }
}

impl Arguments {
    /// True when they are whole.
    fn feed(&mut self, c: char) -> bool {
        self.text.push(c);
        match c {
            '>' if self.text.ends_with(ESCAPE) => self.quoted = !self.quoted,
            '{' if !self.quoted => self.depth += 1,
            '}' if !self.quoted => self.depth = self.depth.saturating_sub(1),
            _ => {}
        }
        self.depth == 0
    }
}
