//! Server-sent events (<https://html.spec.whatwg.org/multipage/server-sent-events.html>).

use serde::Serialize;

use crate::dispatch::json_line;

/// The media type of streams of events.
pub const MEDIA_TYPE: &str = "text/event-stream";

/// A comment, which clients skip. Keeps connections alive through proxies and read timeouts.
pub const KEEP_ALIVE: &[u8] = b": keep-alive\n\n";

/// Appends an event: `data: <json>` and an empty line.
pub fn push(buffer: &mut Vec<u8>, event: &impl Serialize) {
    buffer.extend_from_slice(b"data: ");
    // Wire types hold strings, numbers and options only, which always serialise.
    let start = buffer.len();
    if json_line::write(buffer, event).is_err() {
        buffer.truncate(start);
        buffer.extend_from_slice(b"{}");
    }
    buffer.extend_from_slice(b"\n\n");
}

/// Appends the loading progress of a model as a comment.
pub fn push_loading(buffer: &mut Vec<u8>, percent: u64) {
    buffer.extend_from_slice(format!(": loading {percent} %\n\n").as_bytes());
}

/// Appends OpenAI's end-of-stream event.
pub fn push_done(buffer: &mut Vec<u8>) {
    buffer.extend_from_slice(b"data: [DONE]\n\n");
}

/// Appends an event with a name: the line `event: <name>`, then as [`push`].
pub fn push_named(buffer: &mut Vec<u8>, name: &str, event: &impl Serialize) {
    buffer.extend_from_slice(b"event: ");
    buffer.extend_from_slice(name.as_bytes());
    buffer.push(b'\n');
    push(buffer, event);
}
