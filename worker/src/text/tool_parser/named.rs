//! Calls that are a name, a marker and then arguments in JSON, as Mistral, DeepSeek and Kimi write them.

use super::functions::Functions;
use super::json_calls::{JsonScan, Position};
use super::syntax::Consumed;
use crate::text::sink::Sink;

/// Bytes of the text before the arguments, at most.
const MAX_HEAD: usize = 512;

/// The text before the arguments.
#[derive(Debug)]
pub(crate) struct NamedForm {
    /// Comes before the name, or has come with the marker that opens all calls.
    pub(crate) begin: &'static str,
    /// Ends the name.
    pub(crate) end: &'static str,
    /// The function's name in the text before `end`.
    pub(crate) name: fn(&str) -> &str,
    /// A name that is none, unless a function has it: another form has it in that place.
    pub(crate) placeholder: Option<&'static str>,
}

/// A name, then arguments.
#[derive(Debug)]
pub(crate) struct NamedCall {
    /// The first one that matches counts.
    forms: &'static [NamedForm],
    head: String,
    arguments: Option<JsonScan>,
}

impl NamedCall {
    /// A call in one of `forms`.
    pub(crate) fn new(forms: &'static [NamedForm]) -> Self {
        Self { forms, head: String::new(), arguments: None }
    }

    /// Whether a call has begun.
    pub(crate) fn is_calling(&self) -> bool {
        self.arguments.is_some()
    }

    /// Begins after `marker`.
    pub(crate) fn begin(&mut self, marker: &str) {
        if self.forms.iter().any(|form| form.begin.starts_with(marker)) {
            marker.clone_into(&mut self.head);
        }
    }

    /// Parses the next character.
    pub(crate) fn push(&mut self, c: char, functions: &Functions, sink: &mut Sink) -> Consumed {
        let Some(arguments) = &mut self.arguments else { return self.push_head(c, functions, sink) };
        match arguments.push(c) {
            Position::Before => Consumed::More,
            Position::Inside => {
                sink.arguments(c.encode_utf8(&mut [0; 4]));
                Consumed::More
            }
            Position::Last => {
                sink.arguments(c.encode_utf8(&mut [0; 4]));
                sink.end_call();
                Consumed::Done
            }
            Position::After => {
                sink.end_call();
                Consumed::DoneBefore
            }
        }
    }

    fn push_head(&mut self, c: char, functions: &Functions, sink: &mut Sink) -> Consumed {
        self.head.push(c);
        let Some(name) = self.forms.iter().find_map(|form| form.read(&self.head, functions)) else {
            let failed = self.head.len() > MAX_HEAD || c == '{';
            return if failed { Consumed::Failed } else { Consumed::More };
        };
        if name.is_empty() {
            return Consumed::Failed;
        }
        sink.begin_call(name);
        self.arguments = Some(JsonScan::default());
        Consumed::Called
    }
}

impl NamedForm {
    /// The name, if `head` is all of the text before the arguments.
    fn read<'h>(&self, head: &'h str, functions: &Functions) -> Option<&'h str> {
        let head = head.trim_start().strip_suffix(self.end)?;
        let name = (self.name)(head.strip_prefix(self.begin).unwrap_or(head)).trim();
        (self.placeholder != Some(name) || functions.contains(name)).then_some(name)
    }
}
