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
use crate::protocols::error::ApiError;
use crate::protocols::openai::responses::store::Responses;

const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// `GET /metrics`: counters and gauges of the whole server; those of requests and tokens are this gateway's.
///
/// # Errors
/// When the supervisor does not answer.
pub async fn metrics(
    State(services): State<Services>,
    State(responses): State<Arc<Responses>>,
) -> Result<Response, ApiError> {
    let counters = &services.dispatcher.counters;
    let own = Own {
        sums: services.audit.totals().read(),
        recoveries: counters.recoveries.load(Ordering::Relaxed),
        given_up: counters.given_up.load(Ordering::Relaxed),
        records_lost: services.audit.lost(),
        responses_lost: responses.lost(),
    };
    let text = text(&services.fleet.pool().await?, &own);
    Ok(([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response())
}

/// The gateway's own counters.
#[derive(Debug, Clone, Default)]
pub struct Own {
    /// Requests and tokens.
    pub sums: Sums,
    /// Times that requests were given to another worker.
    pub recoveries: u64,
    /// Requests that were lost too often.
    pub given_up: u64,
    /// Records of requests that could not be written.
    pub records_lost: u64,
    /// Responses that could not be kept.
    pub responses_lost: u64,
}

/// What one worker says of itself.
type Reading = fn(&Lease) -> u64;

/// Each worker's metrics: name, kind, what it is, where it stands.
const OF_WORKERS: [(&str, &str, &str, Reading); 22] = [
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

/// Everything.
pub fn text(pool: &Pool, own: &Own) -> String {
    let mut text = String::new();
    head(&mut text, "mlxd_requests_total", "counter", "Requests that ended, by path and how.");
    for ((endpoint, outcome), count) in &own.sums.requests {
        line(&mut text, "mlxd_requests_total", &[("endpoint", endpoint), ("outcome", outcome)], count);
    }
    head(&mut text, "mlxd_tokens_total", "counter", "Tokens of requests that ended.");
    let Sums { prompt_tokens, cached_tokens, completion_tokens, .. } = own.sums;
    for (kind, count) in
        [("prompt", prompt_tokens), ("cached", cached_tokens), ("completion", completion_tokens)]
    {
        line(&mut text, "mlxd_tokens_total", &[("kind", kind)], count);
    }
    let pressure = match pool.pressure {
        Pressure::Normal => 0,
        Pressure::Warn => 1,
        Pressure::Critical => 2,
    };
    for (name, kind, help, value) in [
        ("mlxd_recoveries_total", "counter", "Times that requests went to another worker.", own.recoveries),
        ("mlxd_given_up_total", "counter", "Requests that were lost too often.", own.given_up),
        (
            "mlxd_records_lost_total",
            "counter",
            "Records of requests that could not be written.",
            own.records_lost,
        ),
        ("mlxd_responses_lost_total", "counter", "Responses that could not be kept.", own.responses_lost),
        ("mlxd_evictions_total", "counter", "Workers ended to make room.", pool.evictions),
        ("mlxd_models_queued", "gauge", "Models that wait for memory.", pool.queue.len() as u64),
        ("mlxd_memory_budget_bytes", "gauge", "What workers may have together.", pool.budget),
        ("mlxd_memory_leased_bytes", "gauge", "What is granted.", pool.leased),
        ("mlxd_memory_measured_bytes", "gauge", "What workers have.", pool.measured),
        ("mlxd_memory_available_bytes", "gauge", "What the system could give.", pool.available),
        ("mlxd_memory_pressure", "gauge", "0 normal, 1 warn, 2 critical.", pressure),
    ] {
        head(&mut text, name, kind, help);
        line(&mut text, name, &[], value);
    }
    for (name, kind, help, reading) in OF_WORKERS {
        let name = format!("mlxd_worker_{name}");
        head(&mut text, &name, kind, help);
        for lease in &pool.leases {
            let incarnation = lease.incarnation.to_string();
            let labels = [("model", lease.model.as_str()), ("incarnation", &incarnation)];
            line(&mut text, &name, &labels, reading(lease));
        }
    }
    text
}

fn head(text: &mut String, name: &str, kind: &str, help: &str) {
    // Writing to a string cannot fail.
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

fn line(text: &mut String, name: &str, labels: &[(&str, &str)], value: impl Display) {
    text.push_str(name);
    if !labels.is_empty() {
        let labels: Vec<String> =
            labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect();
        let _ = write!(text, "{{{}}}", labels.join(","));
    }
    let _ = writeln!(text, " {value}");
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_value_has_its_line_and_names_cannot_break_out() {
        let mut lease = Lease { model: "a\"\n\\b".into(), incarnation: 3, bytes: 7, ..Lease::default() };
        lease.health.prefix.hits = 11;
        lease.health.drafts.accepted = 12;
        let pool = Pool { budget: 9, pressure: Pressure::Warn, leases: vec![lease], ..Pool::default() };
        let mut own = Own { recoveries: 2, records_lost: 3, responses_lost: 1, ..Own::default() };
        own.sums.requests.insert(("/v1/messages", "failed"), 4);
        own.sums.cached_tokens = 5;
        let text = text(&pool, &own);
        for line in [
            "mlxd_requests_total{endpoint=\"/v1/messages\",outcome=\"failed\"} 4",
            "mlxd_tokens_total{kind=\"cached\"} 5",
            "mlxd_recoveries_total 2",
            "mlxd_records_lost_total 3",
            "mlxd_responses_lost_total 1",
            "mlxd_memory_budget_bytes 9",
            "mlxd_memory_pressure 1",
            "mlxd_worker_lease_bytes{model=\"a\\\"\\n\\\\b\",incarnation=\"3\"} 7",
            "mlxd_worker_prefix_hits_total{model=\"a\\\"\\n\\\\b\",incarnation=\"3\"} 11",
            "mlxd_worker_drafts_accepted_total{model=\"a\\\"\\n\\\\b\",incarnation=\"3\"} 12",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
        let types = text.lines().filter(|line| line.starts_with("# TYPE ")).count();
        assert_eq!(types, 2 + 11 + OF_WORKERS.len());
    }
}
