//! The interface that a client protocol implements to write streams.

use ipc_proto::Error;
use ipc_proto::generate::Event;

/// Writes one response as server-sent events. Pure: all output goes into the buffer.
pub trait ResponseWriter: Send + Sync + 'static {
    /// Whether the stream begins once the request is queued. Otherwise it begins with the first event: an earlier failure
    /// then has an HTTP status of its own.
    const EAGER: bool;

    /// Begins the stream of a queued request, whose prompt has `prompt_tokens` tokens.
    fn open(&mut self, buffer: &mut Vec<u8>, prompt_tokens: u32);

    /// Appends an event of one choice. Returns true at the end of the stream: all choices have ended, or one has failed.
    /// Protocols with one choice ignore the number.
    fn push(&mut self, buffer: &mut Vec<u8>, choice: usize, event: &Event) -> bool;

    /// Appends the last event. `stored` is false if the response was to be stored and could not be.
    fn end(&mut self, _: &mut Vec<u8>, _stored: bool) {}

    /// Appends a failure in the form that clients expect inside a stream. Nothing follows.
    fn fail(&mut self, buffer: &mut Vec<u8>, failure: &Error);

    /// Appends a keep-alive. It may come before everything else.
    fn keep_alive(&mut self, buffer: &mut Vec<u8>);
}
