//! The ids of traces. A request has its trace's id from its beginning, for the log records about it; its span is made at its end.

use std::cell::Cell;

use opentelemetry::trace::{SpanContext, TraceState};
use opentelemetry::{SpanId, TraceFlags, TraceId};
use opentelemetry_sdk::trace::{IdGenerator, RandomIdGenerator};

thread_local! {
    /// The id of the next trace on this thread.
    static NEXT: Cell<Option<TraceId>> = const { Cell::new(None) };
}

/// A trace for a request that belongs to none. It has no span, so it is not valid as a parent.
pub fn new_trace() -> SpanContext {
    let trace = RandomIdGenerator::default().new_trace_id();
    SpanContext::new(trace, SpanId::INVALID, TraceFlags::SAMPLED, false, TraceState::NONE)
}

/// Makes a span. If it begins a trace, that has this id.
pub(super) fn within<T>(trace: TraceId, make: impl FnOnce() -> T) -> T {
    NEXT.set((trace != TraceId::INVALID).then_some(trace));
    let made = make();
    NEXT.set(None);
    made
}

/// Gives the traces the ids of their requests.
#[derive(Debug, Default)]
pub(super) struct Ids(RandomIdGenerator);

impl IdGenerator for Ids {
    fn new_trace_id(&self) -> TraceId {
        NEXT.take().unwrap_or_else(|| self.0.new_trace_id())
    }

    fn new_span_id(&self) -> SpanId {
        self.0.new_span_id()
    }
}
