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

    /// Appends what `event` means; true at the end of the stream.
    fn push(&mut self, buffer: &mut Vec<u8>, event: &Event) -> bool;

    /// Likewise, of one of several choices; true when all have ended.
    fn push_of(&mut self, buffer: &mut Vec<u8>, choice: usize, event: &Event) -> bool {
        debug_assert_eq!(choice, 0, "only some protocols have choices");
        self.push(buffer, event)
    }

    /// Appends what is told only when it is known whether an answer that was to be kept could be.
    fn end(&mut self, _: &mut Vec<u8>, _kept: bool) {}

    /// Appends a failure as clients recognise it inside a stream. Nothing follows.
    fn fail(&mut self, buffer: &mut Vec<u8>, failure: &Error);

    /// Appends a sign of life; it may come before anything else.
    fn keep_alive(&mut self, buffer: &mut Vec<u8>);
}
