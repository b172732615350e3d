//! Mistral: `[TOOL_CALLS][{"name": …, "arguments": {…}}, …]`, and from v11 on `[TOOL_CALLS]name[ARGS]{…}`, repeated.

use super::json_calls::{JsonScan, Position};
use super::syntax::{Consumed, Markers};
use crate::text::sink::Sink;

pub(super) const OPEN: &str = "[TOOL_CALLS]";
pub(super) const ARGS: &str = "[ARGS]";
const CALL_ID: &str = "[CALL_ID]";
/// Markers inside a call.
pub(super) const INNER: [&str; 2] = [ARGS, CALL_ID];
pub(super) const MARKERS: Markers = Markers { open: &[OPEN], first: &[], close: &[], known_only: false };
/// Bytes of a name and an id, at most.
const MAX_HEAD: usize = 512;

/// A name, then arguments.
#[derive(Debug, Default)]
pub(crate) struct NamedCall {
    head: String,
    arguments: Option<JsonScan>,
}

impl NamedCall {
    /// Whether a call has begun.
    pub(crate) fn is_calling(&self) -> bool {
        self.arguments.is_some()
    }

    /// Parses the next character.
    pub(crate) fn push(&mut self, c: char, sink: &mut Sink) -> Consumed {
        let Some(arguments) = &mut self.arguments else { return self.push_head(c, sink) };
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

    fn push_head(&mut self, c: char, sink: &mut Sink) -> Consumed {
        self.head.push(c);
        let Some(head) = self.head.strip_suffix(ARGS) else {
            let failed = self.head.len() > MAX_HEAD || c == '{';
            return if failed { Consumed::Failed } else { Consumed::More };
        };
        let name = head.split(CALL_ID).next().unwrap_or_default().trim();
        if name.is_empty() {
            return Consumed::Failed;
        }
        sink.begin_call(name);
        self.arguments = Some(JsonScan::default());
        Consumed::Called
    }
}
