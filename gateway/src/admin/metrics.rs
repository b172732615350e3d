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
    /// Responses that were not stored.
    pub responses_lost: u64,
}

/// Reads one value of a worker's lease.
type ReadValue = fn(&Lease) -> u64;

/// The metrics of each worker: name, type, help text, value.
const WORKER_METRICS: [(&str, &str, &str, ReadValue); 22] = [
    ("lease_bytes", "gauge", "Memory that it may have.", |l| l.bytes),
    ("footprint_bytes", "gauge", "Memory that it has, as measured.", |l| l.footprint),
    ("requests_running", "gauge", "Requests that it generates for.", |l| l.health.running.into()),
    ("requests_waiting", "gauge", "Requests that wait in it.", |l| l.health.waiting.into()),
    ("steps_total", "counter", "Engine steps.", |l| l.health.steps),
    ("kv_blocks_used", "gauge", "KV blocks that hold text of running requests.", |l| {
        l.health.kv_blocks_used.into()
    }),
    ("kv_blocks", "gauge", "KV blocks that may exist.", |l| l.health.kv_blocks_total.into()),
    ("prefix_hits_total", "counter", "Full prompt blocks found in the prefix cache.", |l| {
        l.health.prefix.hits
    }),
    ("prefix_misses_total", "counter", "Full prompt blocks that were not.", |l| l.health.prefix.misses),
    ("prefix_misses_after_eviction_total", "counter", "Of these, blocks that had been there.", |l| {
        l.health.prefix.misses_after_eviction
    }),
    ("prefix_evictions_total", "counter", "Blocks given up for room.", |l| l.health.prefix.evictions),
    ("prefix_last_miss_at", "gauge", "First block that the last prompt not found whole lacked.", |l| {
        l.health.prefix.last_miss_at
    }),
    ("drafts_proposed_total", "counter", "Tokens guessed ahead.", |l| l.health.drafts.proposed),
    ("drafts_accepted_total", "counter", "Of these, tokens that held.", |l| l.health.drafts.accepted),
    ("weights_bytes", "gauge", "Weights in the device's memory.", |l| l.health.memory.weights),
    ("kv_used_bytes", "gauge", "KV cache in use.", |l| l.health.memory.kv_used),
    ("kv_allocated_bytes", "gauge", "KV cache that exists.", |l| l.health.memory.kv_allocated),
    ("kv_limit_bytes", "gauge", "KV cache that may exist.", |l| l.health.memory.kv_limit),
    ("device_active_bytes", "gauge", "What the device holds.", |l| l.health.memory.active),
    ("device_cached_bytes", "gauge", "Freed buffers that the device keeps.", |l| l.health.memory.cached),
    ("device_peak_bytes", "gauge", "The most that the device has held.", |l| l.health.memory.peak),
    ("kv_lease_bytes", "gauge", "KV cache that it may have.", |l| l.kv),
];

/// All metrics, in the text format. Those of `pool` are absent without it.
pub fn text(pool: Option<&Pool>, gateway: &GatewayMetrics) -> String {
    let mut text = String::new();
    push_head(&mut text, "mlxd_requests_total", "counter", "Requests that ended, by path and how.");
    for ((endpoint, outcome), count) in &gateway.sums.requests {
        push_sample(&mut text, "mlxd_requests_total", &[("endpoint", endpoint), ("outcome", outcome)], count);
    }
    push_head(&mut text, "mlxd_tokens_total", "counter", "Tokens of requests that ended.");
    let Sums { prompt_tokens, cached_tokens, completion_tokens, .. } = gateway.sums;
    for (kind, count) in
        [("prompt", prompt_tokens), ("cached", cached_tokens), ("completion", completion_tokens)]
    {
        push_sample(&mut text, "mlxd_tokens_total", &[("kind", kind)], count);
    }
    for (name, kind, help, value) in [
        (
            "mlxd_recoveries_total",
            "counter",
            "Times that requests went to another worker.",
            gateway.recoveries,
        ),
        ("mlxd_given_up_total", "counter", "Requests that were lost too often.", gateway.given_up),
        (
            "mlxd_records_lost_total",
            "counter",
            "Records of requests that could not be written.",
            gateway.records_lost,
        ),
        ("mlxd_responses_lost_total", "counter", "Responses that could not be kept.", gateway.responses_lost),
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
        ("mlxd_evictions_total", "counter", "Workers ended to make room.", pool.evictions),
        ("mlxd_models_queued", "gauge", "Models that wait for memory.", pool.queue.len() as u64),
        ("mlxd_memory_budget_bytes", "gauge", "What workers may have together.", pool.budget),
        ("mlxd_memory_leased_bytes", "gauge", "What is granted.", pool.leased),
        ("mlxd_memory_measured_bytes", "gauge", "What workers have.", pool.measured),
        ("mlxd_memory_available_bytes", "gauge", "What the system could give.", pool.available),
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
            GatewayMetrics { recoveries: 2, records_lost: 3, responses_lost: 1, ..GatewayMetrics::default() };
        gateway.sums.requests.insert(("/v1/messages", "failed"), 4);
        gateway.sums.cached_tokens = 5;
        assert!(!text(None, &gateway).contains("mlxd_memory"));
        let text = text(Some(&pool), &gateway);
        for line in [
            "mlxd_requests_total{endpoint=\"/v1/messages\",outcome=\"failed\"} 4",
            "mlxd_tokens_total{kind=\"cached\"} 5",
            "mlxd_recoveries_total 2",
            "mlxd_records_lost_total 3",
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
        assert_eq!(types, 2 + 12 + WORKER_METRICS.len());
    }
}
