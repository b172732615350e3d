//! Counters and gauges in Prometheus' text format, version 0.0.4
//! (<https://prometheus.io/docs/instrumenting/exposition_formats/>).

use std::fmt::{Display, Write};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use ipc_proto::supervisor::{Lease, Pool, Pressure};

use crate::audit::totals::Sums;
use crate::dispatch::Services;
use crate::fleet::catalogue::within;
use crate::protocols::openai::responses::store::ResponseStore;

const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// `GET /metrics`: counters and gauges of the whole server. Requests and tokens are counted by this gateway process. Without an
/// answer of the supervisor there are only these.
pub async fn metrics(
    State(services): State<Services>,
    State(responses): State<Arc<ResponseStore>>,
) -> Response {
    let counters = &services.dispatcher.counters;
    let gateway = GatewayMetrics {
        sums: services.audit.totals().snapshot(),
        recoveries: counters.recoveries.load(Ordering::Relaxed),
        given_up: counters.given_up.load(Ordering::Relaxed),
        records_lost: services.audit.lost(),
        contents_lost: services.audit.contents().lost(),
        responses_lost: responses.lost(),
    };
    let pool = within(services.fleet.pool()).await.ok();
    ([(header::CONTENT_TYPE, CONTENT_TYPE)], text(pool.as_ref(), &gateway)).into_response()
}

/// The gateway's own counters.
#[derive(Debug, Clone, Default)]
pub struct GatewayMetrics {
    /// Counts of requests and tokens.
    pub sums: Sums,
    /// Retries at another worker.
    pub recoveries: u64,
    /// Requests that have used up their retries.
    pub given_up: u64,
    /// Records that were not written to the database.
    pub records_lost: u64,
    /// Prompts and outputs that could not be stored.
    pub contents_lost: u64,
    /// Responses that were not stored.
    pub responses_lost: u64,
}

/// Reads one value of a worker's lease.
type ReadValue = fn(&Lease) -> u64;

/// The metrics of each worker: name, type, help text, value.
const WORKER_METRICS: [(&str, &str, &str, ReadValue); 22] = [
    ("lease_bytes", "gauge", "Memory in the lease.", |l| l.bytes),
    ("footprint_bytes", "gauge", "Measured memory.", |l| l.footprint),
    ("requests_running", "gauge", "Running requests.", |l| l.health.running.into()),
    ("requests_waiting", "gauge", "Waiting requests.", |l| l.health.waiting.into()),
    ("steps_total", "counter", "Engine steps.", |l| l.health.steps),
    ("kv_blocks_used", "gauge", "KV blocks of running requests.", |l| l.health.kv_blocks_used.into()),
    ("kv_blocks", "gauge", "KV blocks at most.", |l| l.health.kv_blocks_total.into()),
    ("prefix_hits_total", "counter", "Full prompt blocks found in the prefix cache.", |l| {
        l.health.prefix.hits
    }),
    ("prefix_misses_total", "counter", "Full prompt blocks not found in the prefix cache.", |l| {
        l.health.prefix.misses
    }),
    (
        "prefix_misses_after_eviction_total",
        "counter",
        "Blocks not found because they had been evicted.",
        |l| l.health.prefix.misses_after_eviction,
    ),
    ("prefix_evictions_total", "counter", "Blocks evicted from the prefix cache.", |l| {
        l.health.prefix.evictions
    }),
    (
        "prefix_last_miss_at",
        "gauge",
        "Index of the first missing block of the last prompt that was not found as a whole.",
        |l| l.health.prefix.last_miss_at,
    ),
    ("drafts_proposed_total", "counter", "Drafted tokens.", |l| l.health.drafts.proposed),
    ("drafts_accepted_total", "counter", "Drafted tokens that were accepted.", |l| l.health.drafts.accepted),
    ("weights_bytes", "gauge", "Weights in the device's memory.", |l| l.health.memory.weights),
    ("kv_used_bytes", "gauge", "KV cache in use.", |l| l.health.memory.kv_used),
    ("kv_allocated_bytes", "gauge", "Allocated KV cache.", |l| l.health.memory.kv_allocated),
    ("kv_limit_bytes", "gauge", "KV cache at most.", |l| l.health.memory.kv_limit),
    ("device_active_bytes", "gauge", "Memory in use on the device.", |l| l.health.memory.active),
    ("device_cached_bytes", "gauge", "Freed buffers that the device keeps.", |l| l.health.memory.cached),
    ("device_peak_bytes", "gauge", "Peak of the memory in use on the device.", |l| l.health.memory.peak),
    ("kv_lease_bytes", "gauge", "KV cache in the lease.", |l| l.kv),
];

/// All metrics, in the text format. Those of `pool` are absent without it.
pub fn text(pool: Option<&Pool>, gateway: &GatewayMetrics) -> String {
    let mut text = String::new();
    push_head(&mut text, "mlxd_requests_total", "counter", "Ended requests, by path and outcome.");
    for ((endpoint, outcome), count) in &gateway.sums.requests {
        push_sample(&mut text, "mlxd_requests_total", &[("endpoint", endpoint), ("outcome", outcome)], count);
    }
    push_head(&mut text, "mlxd_tokens_total", "counter", "Tokens of ended requests.");
    let Sums { prompt_tokens, cached_tokens, completion_tokens, .. } = gateway.sums;
    for (kind, count) in
        [("prompt", prompt_tokens), ("cached", cached_tokens), ("completion", completion_tokens)]
    {
        push_sample(&mut text, "mlxd_tokens_total", &[("kind", kind)], count);
    }
    for (name, kind, help, value) in [
        ("mlxd_recoveries_total", "counter", "Retries at another worker.", gateway.recoveries),
        ("mlxd_given_up_total", "counter", "Requests without retries left.", gateway.given_up),
        (
            "mlxd_records_lost_total",
            "counter",
            "Records of requests that could not be written.",
            gateway.records_lost,
        ),
        (
            "mlxd_contents_lost_total",
            "counter",
            "Stored prompts and outputs that could not be written.",
            gateway.contents_lost,
        ),
        (
            "mlxd_responses_lost_total",
            "counter",
            "Responses that could not be stored.",
            gateway.responses_lost,
        ),
        ("mlxd_supervisor_up", "gauge", "1 if the supervisor answers.", pool.is_some().into()),
    ] {
        push_head(&mut text, name, kind, help);
        push_sample(&mut text, name, &[], value);
    }
    if let Some(pool) = pool {
        push_pool(&mut text, pool);
    }
    text
}

/// Appends the metrics of the memory and of each worker.
fn push_pool(text: &mut String, pool: &Pool) {
    let pressure = match pool.pressure {
        Pressure::Normal => 0,
        Pressure::Warn => 1,
        Pressure::Critical => 2,
    };
    for (name, kind, help, value) in [
        ("mlxd_evictions_total", "counter", "Evicted workers.", pool.evictions),
        ("mlxd_models_queued", "gauge", "Models that wait for memory.", pool.queue.len() as u64),
        ("mlxd_memory_budget_bytes", "gauge", "Memory budget of all workers.", pool.budget),
        ("mlxd_memory_leased_bytes", "gauge", "Memory in leases.", pool.leased),
        ("mlxd_memory_measured_bytes", "gauge", "Measured memory of all workers.", pool.measured),
        ("mlxd_memory_available_bytes", "gauge", "Memory that is available in the system.", pool.available),
        ("mlxd_memory_pressure", "gauge", "0 normal, 1 warn, 2 critical.", pressure),
    ] {
        push_head(text, name, kind, help);
        push_sample(text, name, &[], value);
    }
    for (name, kind, help, read_value) in WORKER_METRICS {
        let name = format!("mlxd_worker_{name}");
        push_head(text, &name, kind, help);
        for lease in &pool.leases {
            let incarnation = lease.incarnation.to_string();
            let labels = [("model", lease.model.as_str()), ("incarnation", &incarnation)];
            push_sample(text, &name, &labels, read_value(lease));
        }
    }
}

/// Appends the `HELP` and `TYPE` lines of a metric.
fn push_head(text: &mut String, name: &str, kind: &str, help: &str) {
    // Writing to a string cannot fail.
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

/// Appends one sample.
fn push_sample(text: &mut String, name: &str, labels: &[(&str, &str)], value: impl Display) {
    text.push_str(name);
    if !labels.is_empty() {
        let labels: Vec<String> =
            labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escape(value))).collect();
        let _ = write!(text, "{{{}}}", labels.join(","));
    }
    let _ = writeln!(text, " {value}");
}

fn escape(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_has_a_line_for_each_value_and_escapes_labels() {
        let mut lease = Lease { model: "a\"\n\\b".into(), incarnation: 3, bytes: 7, ..Lease::default() };
        lease.health.prefix.hits = 11;
        lease.health.drafts.accepted = 12;
        let pool = Pool { budget: 9, pressure: Pressure::Warn, leases: vec![lease], ..Pool::default() };
        let mut gateway =
            GatewayMetrics { recoveries: 2, records_lost: 3, contents_lost: 6, ..GatewayMetrics::default() };
        gateway.responses_lost = 1;
        gateway.sums.requests.insert(("/v1/messages", "failed"), 4);
        gateway.sums.cached_tokens = 5;
        assert!(!text(None, &gateway).contains("mlxd_memory"));
        let text = text(Some(&pool), &gateway);
        for line in [
            "mlxd_requests_total{endpoint=\"/v1/messages\",outcome=\"failed\"} 4",
            "mlxd_tokens_total{kind=\"cached\"} 5",
            "mlxd_recoveries_total 2",
            "mlxd_records_lost_total 3",
            "mlxd_contents_lost_total 6",
            "mlxd_responses_lost_total 1",
            "mlxd_supervisor_up 1",
            "mlxd_memory_budget_bytes 9",
            "mlxd_memory_pressure 1",
            "mlxd_worker_lease_bytes{model=\"a\\\"\\n\\\\b\",incarnation=\"3\"} 7",
            "mlxd_worker_prefix_hits_total{model=\"a\\\"\\n\\\\b\",incarnation=\"3\"} 11",
            "mlxd_worker_drafts_accepted_total{model=\"a\\\"\\n\\\\b\",incarnation=\"3\"} 12",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
        let types = text.lines().filter(|line| line.starts_with("# TYPE ")).count();
        assert_eq!(types, 2 + 13 + WORKER_METRICS.len());
    }
}
