use std::sync::Mutex;

use ipc_proto::ErrorKind;
use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId, TraceState};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SpanData, SpanExporter};

use super::*;
use crate::inference::course::{Answerer, BackendName};

/// Keeps what it gets.
#[derive(Debug, Default, Clone)]
struct Kept(Arc<Mutex<Vec<SpanData>>>);

impl SpanExporter for Kept {
    async fn export(&self, spans: Vec<SpanData>) -> OTelSdkResult {
        self.0.lock().unwrap().extend(spans);
        Ok(())
    }
}

/// The span of a record.
fn span(record: &Record) -> SpanData {
    let kept = Kept::default();
    let traces = SdkTracerProvider::builder().with_id_generator(ids::Ids::default());
    let traces = traces.with_simple_exporter(kept.clone()).build();
    let telemetry = Telemetry::new(traces, SdkMeterProvider::builder().build());
    telemetry.record(record);
    kept.0.lock().unwrap().remove(0)
}

fn attribute(span: &SpanData, name: &str) -> Option<String> {
    let found = span.attributes.iter().find(|pair| pair.key.as_str() == name)?;
    Some(found.value.as_str().into_owned())
}

#[test]
fn span_has_the_times_the_models_and_the_tokens_of_its_request() {
    let answerer = Answerer {
        backend: Some(BackendName::Provider("far".into())),
        model: Some("big".into()),
        ..Answerer::default()
    };
    let span = span(&Record { answerer, ..Record::example("req_1/a", 1_700_000_000_123) });
    assert_eq!((&*span.name, &span.span_kind), ("text_completion m", &SpanKind::Server));
    assert_eq!(span.start_time, SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_123));
    assert_eq!(span.end_time.duration_since(span.start_time).unwrap(), Duration::from_millis(9));
    for (name, value) in [
        ("gen_ai.operation.name", "text_completion"),
        ("gen_ai.provider.name", "far"),
        ("gen_ai.request.model", "m"),
        ("gen_ai.response.model", "big"),
        ("gen_ai.usage.input_tokens", "3"),
        ("gen_ai.usage.output_tokens", "2"),
        ("mlxd.request.id", "req_1/a"),
    ] {
        assert_eq!(attribute(&span, name).as_deref(), Some(value), "{name}");
    }
    assert_eq!((attribute(&span, "error.type"), span.status), (None, Status::Unset));
}

#[test]
fn failed_request_has_an_error() {
    let span = span(&Record { outcome: Outcome::Failed(ErrorKind::Timeout), ..Record::example("a", 0) });
    assert_eq!(attribute(&span, "error.type").as_deref(), Some("Timeout"));
    assert_eq!(span.status, Status::error("Timeout"));
    assert_eq!(attribute(&span, "gen_ai.provider.name"), None, "no backend was asked");
}

#[test]
fn span_without_a_clients_trace_has_the_one_of_its_log_records() {
    let parent = Arc::new(ids::new_trace());
    let span = span(&Record { parent: Arc::clone(&parent), ..Record::example("a", 0) });
    assert_eq!(span.span_context.trace_id(), parent.trace_id());
    assert_eq!(span.parent_span_id, SpanId::INVALID);
}

#[test]
fn span_continues_the_clients_trace() {
    let (trace, parent) =
        (TraceId::from_bytes(7_u128.to_be_bytes()), SpanId::from_bytes(9_u64.to_be_bytes()));
    let client = SpanContext::new(trace, parent, TraceFlags::SAMPLED, true, TraceState::default());
    let span = span(&Record { parent: Arc::new(client), ..Record::example("a", 0) });
    assert_eq!((span.span_context.trace_id(), span.parent_span_id), (trace, parent));
}
