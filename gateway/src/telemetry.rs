//! Sends a trace and metrics of ended requests, and warnings and errors of the log, to a collector, by OpenTelemetry's protocol (OTLP)
//! with its names for generative AI.
//!
//! Nothing goes anywhere without an endpoint in the settings. No prompt, output or key is in it.

mod attributes;
mod client;
pub mod ids;
pub mod logs;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use ipc_proto::gateway::GatewayConfig;
use opentelemetry::logs::LoggerProvider as _;
use opentelemetry::metrics::{Histogram, MeterProvider as _};
use opentelemetry::trace::{
    Span as _, SpanBuilder, SpanKind, Status, TraceContextExt as _, Tracer as _, TracerProvider as _,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_otlp::{
    LogExporter, MetricExporter, Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::logs::SdkLoggerProvider;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};
use tokio::sync::oneshot;

use crate::inference::record::{Outcome, Record};
use client::Client;

const SCOPE: &str = "mlxd";
/// Buckets of durations in seconds, as OpenTelemetry advises.
const SECONDS: [f64; 14] =
    [0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92];
const FIRST_TOKEN_SECONDS: [f64; 16] =
    [0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0];
const TOKENS: [f64; 14] = [
    1.0, 4.0, 16.0, 64.0, 256.0, 1024.0, 4096.0, 16384.0, 65536.0, 262144.0, 1048576.0, 4194304.0,
    16777216.0, 67108864.0,
];

/// Reports ended requests.
#[derive(Debug)]
pub struct Telemetry {
    traces: SdkTracerProvider,
    meters: SdkMeterProvider,
    logs: Option<SdkLoggerProvider>,
    tracer: SdkTracer,
    duration: Histogram<f64>,
    first_token: Histogram<f64>,
    tokens: Histogram<u64>,
}

impl Telemetry {
    /// Begins to report, if the settings name an endpoint. Needs a runtime.
    ///
    /// # Errors
    /// The endpoint or a header cannot be used.
    pub fn start(config: &GatewayConfig) -> anyhow::Result<Option<Arc<Self>>> {
        let Some(endpoint) = config.otlp_endpoint.as_deref().map(|url| url.trim_end_matches('/')) else {
            return Ok(None);
        };
        let client = Client::new(config.otlp_headers.as_ref())?;
        let span = SpanExporter::builder().with_http().with_http_client(client.clone());
        let span = span.with_protocol(Protocol::HttpBinary).with_endpoint(format!("{endpoint}/v1/traces"));
        let metric = MetricExporter::builder().with_http().with_http_client(client.clone());
        let metric =
            metric.with_protocol(Protocol::HttpBinary).with_endpoint(format!("{endpoint}/v1/metrics"));
        let problem = || format!("otlp_endpoint: {endpoint}");
        let resource = Resource::builder().with_service_name(config.otlp_service.clone());
        let resource =
            resource.with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION"))).build();
        let traces = SdkTracerProvider::builder()
            .with_id_generator(ids::Ids::default())
            .with_batch_exporter(span.build().with_context(problem)?)
            .with_resource(resource.clone())
            .build();
        let meters = SdkMeterProvider::builder()
            .with_periodic_exporter(metric.build().with_context(problem)?)
            .with_resource(resource.clone())
            .build();
        let mut telemetry = Self::new(traces, meters);
        if config.otlp_logs {
            let log = LogExporter::builder().with_http().with_http_client(client);
            let log = log.with_protocol(Protocol::HttpBinary).with_endpoint(format!("{endpoint}/v1/logs"));
            let provider = SdkLoggerProvider::builder()
                .with_batch_exporter(log.build().with_context(problem)?)
                .with_resource(resource)
                .build();
            logs::report_to(provider.logger(SCOPE));
            telemetry.logs = Some(provider);
        }
        tracing::info!(endpoint, "traces and metrics of requests are reported");
        Ok(Some(Arc::new(telemetry)))
    }

    fn new(traces: SdkTracerProvider, meters: SdkMeterProvider) -> Self {
        let meter = meters.meter(SCOPE);
        let seconds = |name: &'static str, text: &'static str, bounds: &[f64]| {
            let histogram = meter.f64_histogram(name).with_unit("s").with_description(text);
            histogram.with_boundaries(bounds.to_vec()).build()
        };
        Self {
            tracer: traces.tracer(SCOPE),
            duration: seconds("gen_ai.server.request.duration", "Time of a request.", &SECONDS),
            first_token: seconds(
                "gen_ai.server.time_to_first_token",
                "Time to the first token.",
                &FIRST_TOKEN_SECONDS,
            ),
            tokens: meter
                .u64_histogram("gen_ai.client.token.usage")
                .with_unit("{token}")
                .with_description("Tokens of a request.")
                .with_boundaries(TOKENS.to_vec())
                .build(),
            traces,
            meters,
            logs: None,
        }
    }

    /// Reports an ended request.
    pub fn record(&self, record: &Record) {
        let common = attributes::common(record);
        let start = SystemTime::UNIX_EPOCH + milliseconds(record.started_at_ms);
        let builder = SpanBuilder::from_name(attributes::span_name(record))
            .with_kind(SpanKind::Server)
            .with_start_time(start)
            .with_attributes(common.iter().cloned().chain(attributes::of_span(record)));
        let parent = if record.parent.is_valid() {
            Context::new().with_remote_span_context((*record.parent).clone())
        } else {
            // An invalid parent would count as one that is not sampled.
            Context::new()
        };
        let trace = record.parent.trace_id();
        let mut span = ids::within(trace, || self.tracer.build_with_context(builder, &parent));
        if let Outcome::Failed(kind) = record.outcome {
            span.set_status(Status::error(format!("{kind:?}")));
        }
        let total = milliseconds(record.total_ms);
        span.end_with_timestamp(start + total);
        self.duration.record(total.as_secs_f64(), &common);
        if let Some(ms) = record.first_token_ms {
            self.first_token.record(milliseconds(ms).as_secs_f64(), &common);
        }
        for (kind, count) in
            [("input", record.usage.prompt_tokens), ("output", record.usage.completion_tokens)]
        {
            let kind = KeyValue::new("gen_ai.token.type", kind);
            self.tokens.record(count.into(), &[&common[..], &[kind]].concat());
        }
    }

    /// Sends what is not sent yet.
    pub async fn finish(self: Arc<Self>) {
        let (done, end) = oneshot::channel();
        // A collector that does not answer holds a thread. The runtime would wait for one of its own; this one ends with the process.
        std::thread::spawn(move || {
            // What cannot be sent any more is lost. The client has logged why.
            let _ = self.traces.shutdown();
            let _ = self.meters.shutdown();
            let _ = self.logs.as_ref().map(SdkLoggerProvider::shutdown);
            let _ = done.send(());
        });
        let _ = end.await;
    }
}

fn milliseconds(count: i64) -> Duration {
    Duration::from_millis(u64::try_from(count).unwrap_or(0))
}

#[cfg(test)]
mod tests;
