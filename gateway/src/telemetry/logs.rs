//! Reports warnings and errors of the gateway as log records, with the trace of the request that they belong to.

use std::fmt::{Debug, Display};
use std::sync::OnceLock;
use std::time::SystemTime;

use opentelemetry::logs::{AnyValue, LogRecord, Logger, Severity};
use opentelemetry::{SpanId, TraceFlags, TraceId};
use opentelemetry_sdk::logs::{SdkLogRecord, SdkLogger};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Span, Subscriber};
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, filter::LevelFilter, fmt};

/// The logger of this process, once it reports.
static LOGGER: OnceLock<SdkLogger> = OnceLock::new();
/// The crates whose events are reported. Those of the exporters would report themselves.
const CRATES: [&str; 3] = ["gateway", "mlxd_gateway", "ipc_proto"];

/// Writes the log of this process to standard error, as `MLXD_LOG` filters it. Reports warnings and errors once `report_to` is called.
pub fn init() {
    let filter =
        EnvFilter::try_from_env("MLXD_LOG").unwrap_or_else(|_| EnvFilter::new(ipc_proto::DEFAULT_LOG));
    let text = fmt::layer().with_writer(std::io::stderr).with_ansi(false).with_filter(filter);
    let reports = Reporter { logger: &LOGGER }.with_filter(LevelFilter::WARN);
    tracing_subscriber::registry().with(text).with(reports).init();
}

/// Reports from now on. Only the first call has an effect.
pub(super) fn report_to(logger: SdkLogger) {
    // Only tests begin twice.
    let _ = LOGGER.set(logger);
}

/// The request of a span, for the records of events in it.
struct Request {
    id: String,
    trace: TraceId,
}

/// Notes the request that a span belongs to, if log records are reported.
pub fn attach(span: &Span, id: &str, trace: TraceId) {
    if LOGGER.get().is_some() {
        attach_always(span, id, trace);
    }
}

fn attach_always(span: &Span, id: &str, trace: TraceId) {
    span.with_subscriber(|(span, dispatch)| {
        if let Some(data) = dispatch.downcast_ref::<Registry>().and_then(|registry| registry.span(span)) {
            data.extensions_mut().insert(Request { id: id.to_owned(), trace });
        }
    });
}

/// The layer of the log that reports.
struct Reporter {
    logger: &'static OnceLock<SdkLogger>,
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Reporter {
    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let Some(logger) = self.logger.get() else { return };
        let metadata = event.metadata();
        if !is_own(metadata.target()) {
            return;
        }
        let mut record = logger.create_log_record();
        let (severity, text) = match *metadata.level() {
            Level::ERROR => (Severity::Error, "ERROR"),
            _ => (Severity::Warn, "WARN"),
        };
        record.set_severity_number(severity);
        record.set_severity_text(text);
        record.set_target(metadata.target());
        record.set_timestamp(SystemTime::now());
        event.record(&mut Fields(&mut record));
        for span in context.event_scope(event).into_iter().flatten() {
            if let Some(Request { id, trace }) = span.extensions().get::<Request>() {
                record.set_trace_context(*trace, SpanId::INVALID, Some(TraceFlags::SAMPLED));
                record.add_attribute("mlxd.request.id", id.clone());
                break;
            }
        }
        logger.emit(record);
    }
}

fn is_own(target: &str) -> bool {
    CRATES.contains(&target.split("::").next().unwrap_or_default())
}

/// Takes the fields of an event into a record.
struct Fields<'a>(&'a mut SdkLogRecord);

impl Fields<'_> {
    fn add(&mut self, field: &Field, value: impl Into<AnyValue>) {
        match field.name() {
            "message" => self.0.set_body(value.into()),
            name => self.0.add_attribute(name, value),
        }
    }

    fn add_text(&mut self, field: &Field, text: impl Display) {
        self.add(field, text.to_string());
    }
}

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.add_text(field, format_args!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add_text(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, i64::try_from(value).unwrap_or(i64::MAX));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, value);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use opentelemetry::logs::LoggerProvider;
    use opentelemetry_sdk::error::OTelSdkResult;
    use opentelemetry_sdk::logs::{LogBatch, LogExporter, SdkLoggerProvider};

    use super::*;

    /// Keeps what it gets.
    #[derive(Debug, Default, Clone)]
    struct Kept(Arc<Mutex<Vec<SdkLogRecord>>>);

    impl LogExporter for Kept {
        async fn export(&self, batch: LogBatch<'_>) -> OTelSdkResult {
            self.0.lock().unwrap().extend(batch.iter().map(|(record, _)| record.clone()));
            Ok(())
        }
    }

    /// The records of what `log` logs.
    fn reported(log: impl FnOnce()) -> Vec<SdkLogRecord> {
        let kept = Kept::default();
        let provider = SdkLoggerProvider::builder().with_simple_exporter(kept.clone()).build();
        let logger: &'static OnceLock<SdkLogger> = Box::leak(Box::new(OnceLock::new()));
        logger.set(provider.logger("mlxd")).unwrap();
        let layer = Reporter { logger }.with_filter(LevelFilter::WARN);
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), log);
        kept.0.lock().unwrap().clone()
    }

    fn body(record: &SdkLogRecord) -> String {
        match record.body().unwrap() {
            AnyValue::String(text) => text.to_string(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn warning_has_the_trace_of_its_request_and_its_fields() {
        let trace = TraceId::from_bytes(7_u128.to_be_bytes());
        let records = reported(|| {
            let span = tracing::error_span!("request", id = "req_1");
            attach_always(&span, "req_1", trace);
            span.in_scope(|| {
                let inner = tracing::error_span!("inner");
                inner.in_scope(|| {
                    tracing::warn!(model = "m", left = 2u32, "a request goes to another server")
                });
            });
            tracing::error!(error = %"no room", "the database refuses");
        });
        assert_eq!(records.len(), 2);
        assert_eq!(records[0].trace_context().unwrap().trace_id, trace);
        assert_eq!(
            (records[0].severity_text(), body(&records[0])),
            (Some("WARN"), "a request goes to another server".into())
        );
        let mut attributes: Vec<_> =
            records[0].attributes_iter().map(|(key, value)| format!("{key}={value:?}")).collect();
        attributes.sort();
        assert_eq!(attributes.len(), 3, "{attributes:?}");
        assert!(
            attributes[0].starts_with("left=Int(2)") && attributes[1].contains("req_1"),
            "{attributes:?}"
        );
        assert_eq!(records[1].severity_number(), Some(Severity::Error));
        assert!(records[1].trace_context().is_none(), "it belongs to no request");
    }

    #[test]
    fn only_warnings_and_errors_of_the_gateway_are_reported() {
        let records = reported(|| {
            tracing::info!("listening");
            tracing::warn!(target: "hyper::client", "a connection broke");
            tracing::warn!(target: "opentelemetry_sdk", "an export failed");
            tracing::warn!(target: "mlxd_gateway", "requests still running are cut off");
        });
        assert_eq!(records.iter().map(body).collect::<Vec<_>>(), ["requests still running are cut off"]);
    }
}
