//! What a client protocol's stream must know how to write.

use ipc_proto::Error;
use ipc_proto::generate::Event;

/// Writes one answer as server-sent events. Pure: everything goes into the buffer.
pub trait Wire: Send + Sync + 'static {
    /// Whether the stream begins once the request is queued. Otherwise it begins with the first event, so that a failure
    /// before it still has an HTTP status of its own.
    const EAGER: bool;

    /// The request was queued; its prompt has so many tokens.
    fn open(&mut self, buffer: &mut Vec<u8>, prompt_tokens: u32);

    /// Appends an event of one choice; true at the end of the stream, when all choices have ended. Protocols with one choice
    /// ignore the number.
    fn push(&mut self, buffer: &mut Vec<u8>, choice: usize, event: &Event) -> bool;

    /// Appends what is told only when it is known whether an answer that was to be kept could be.
    fn end(&mut self, _: &mut Vec<u8>, _kept: bool) {}

    /// Appends a failure as clients recognise it inside a stream. Nothing follows.
    fn fail(&mut self, buffer: &mut Vec<u8>, failure: &Error);

    /// Appends a sign of life; it may come before anything else.
    fn keep_alive(&mut self, buffer: &mut Vec<u8>);
}
