//! The interface that a client protocol implements to write streams.

use ipc_proto::Error;
use ipc_proto::generate::Event;

use super::sse;

/// Writes one response as a stream, by default of server-sent events. Pure: all output goes into the buffer.
pub trait ResponseWriter: Send + Sync + 'static {
    /// Whether the stream begins once the request is queued. Otherwise it begins with the first event: an earlier failure
    /// then has an HTTP status of its own.
    const EAGER: bool;

    /// The media type of the stream.
    const MEDIA_TYPE: &'static str = sse::MEDIA_TYPE;

    /// Replaces the client's name of the model by that of the route's model which answers. Called before [`Self::open`].
    fn set_model(&mut self, model: &str);

    /// Begins the stream of a queued request, whose prompt has `prompt_tokens` tokens.
    fn open(&mut self, buffer: &mut Vec<u8>, prompt_tokens: u32);

    /// Appends an event of one choice. Returns true at the end of the stream: all choices have ended, or one has failed.
    /// Protocols with one choice ignore the number.
    fn push(&mut self, buffer: &mut Vec<u8>, choice: usize, event: &Event) -> bool;

    /// Appends the last event. `stored` is false if the response was to be stored and could not be.
    fn end(&mut self, _: &mut Vec<u8>, _stored: bool) {}

    /// Notes events that a provider wrote and that passed as they came. A failure may follow.
    fn passed(&mut self, _events: u64) {}

    /// Appends a failure in the form that clients expect inside a stream. Nothing follows.
    fn fail(&mut self, buffer: &mut Vec<u8>, failure: &Error);

    /// Appends a keep-alive. It may come before everything else.
    fn keep_alive(&mut self, buffer: &mut Vec<u8>);

    /// Appends how much of the model is loaded, in percent. It comes before everything else.
    fn loading(&mut self, buffer: &mut Vec<u8>, percent: u64) {
        sse::push_loading(buffer, percent);
    }
}
