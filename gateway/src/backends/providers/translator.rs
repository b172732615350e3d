//! The common form of the translators of providers' streams.

use ipc_proto::generate::{Delta, Event, Part};
use ipc_proto::{Disposition, Error, ErrorKind, Origin, Result};
use serde_json::Value;

/// Events, each with the index of its choice.
pub(super) type Events = Vec<(usize, Event)>;

/// Translates one stream of a provider. Pure: the same input gives the same events.
pub(super) trait Translator: Send {
    /// The neutral events of one event's data.
    ///
    /// # Errors
    /// The provider reports an error, or sends a text that is no event. The stream is over then.
    fn event(&mut self, data: &str) -> Result<Events>;

    /// The last events, once the stream has ended.
    ///
    /// # Errors
    /// The stream ended in the middle of an answer.
    fn end(&mut self) -> Result<Events>;
}

/// Numbers the deltas of one choice. Providers send no tokens, so each piece counts as one.
#[derive(Debug, Default)]
pub(super) struct Pieces(u32);

impl Pieces {
    /// A delta of these parts; `None` without any.
    pub(super) fn delta(&mut self, parts: Vec<Part>) -> Option<Event> {
        if parts.is_empty() {
            return None;
        }
        let index = self.0;
        self.0 += 1;
        Some(Event::Delta(Delta { index, parts, ..Delta::default() }))
    }
}

/// The JSON of an event.
pub(super) fn json(data: &str) -> Result<Value> {
    serde_json::from_str(data).map_err(|error| broken(&format!("sent an event that is not JSON: {error}")))
}

/// An error that the provider reports inside its stream.
pub(super) fn reported(kind: ErrorKind, text: &str) -> Error {
    let text = format!("the provider failed: {text}");
    Error::new(kind, Origin::Upstream, text).with_disposition(Disposition::Final)
}

/// A stream that broke. No other server continues it.
pub(super) fn broken(problem: &str) -> Error {
    let text = format!("the provider {problem}");
    Error::new(ErrorKind::Upstream, Origin::Upstream, text).with_disposition(Disposition::Final)
}
