//! Mistral: `[TOOL_CALLS][{"name": …, "arguments": {…}}, …]`, and from v11 on `[TOOL_CALLS]name[ARGS]{…}`, repeated.

use super::Markers;
use super::body::Fed;
use super::envelope::{At, Value};
use crate::adapters::reading::Sink;

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
pub(crate) struct Named {
    head: String,
    arguments: Option<Value>,
}

impl Named {
    pub(crate) fn is_calling(&self) -> bool {
        self.arguments.is_some()
    }

    pub(crate) fn feed(&mut self, c: char, sink: &mut Sink) -> Fed {
        if let Some(value) = &mut self.arguments {
            return match value.feed(c) {
                At::Before => Fed::More,
                At::After => {
                    sink.end();
                    Fed::DoneBefore
                }
                at => {
                    sink.arguments(c.encode_utf8(&mut [0; 4]));
                    if at == At::Last {
                        sink.end();
                        return Fed::Done;
                    }
                    Fed::More
                }
            };
        }
        self.head.push(c);
        let Some(head) = self.head.strip_suffix(ARGS) else {
            return if self.head.len() > MAX_HEAD || c == '{' { Fed::Failed } else { Fed::More };
        };
        let name = head.split(CALL_ID).next().unwrap_or_default().trim();
        if name.is_empty() {
            return Fed::Failed;
        }
        sink.call(name);
        self.arguments = Some(Value::default());
        Fed::Called
    }
}
