//! Converts the supervisor's models and memory pool into the JSON types. Pure.

use axum::http::StatusCode;
use ipc_proto::Error;
use ipc_proto::supervisor::{self, ModelEntry, Pressure, WorkerEntry, WorkerState};

use crate::admin::wire::{Change, Model, Pool, Problem, Worker};
use crate::protocols::common::field_names::{self, message, param};
use crate::protocols::models::details::{details, state};

/// The problem document of an error.
pub fn problem(error: &Error, status: StatusCode, request_id: &str) -> Problem {
    Problem {
        r#type: "about:blank",
        title: status.canonical_reason().unwrap_or("Error"),
        status: status.as_u16(),
        detail: message(error, field_names::chat),
        param: param(error, field_names::chat),
        retryable: error.is_retryable(),
        request_id: request_id.to_owned(),
    }
}

/// The JSON form of a model.
pub fn model(entry: ModelEntry) -> Model {
    Model {
        id: entry.id,
        aliases: entry.aliases,
        state: state(entry.state),
        pinned: entry.pinned,
        waiting: entry.waiting,
        file_bytes: entry.bytes,
        details: details(entry.details),
        workers: entry.workers.iter().map(worker).collect(),
        last_exit: entry.last_exit,
    }
}

fn worker(entry: &WorkerEntry) -> Worker {
    Worker {
        incarnation: entry.incarnation,
        pid: entry.pid,
        state: match entry.state {
            WorkerState::Stopped => "stopped",
            WorkerState::Starting => "starting",
            WorkerState::Ready => "ready",
            WorkerState::Draining => "draining",
            WorkerState::Stopping => "stopping",
            WorkerState::Failed => "failed",
        },
        footprint_bytes: entry.footprint,
        lease_bytes: entry.lease,
        running: entry.running,
        waiting: entry.waiting,
        steps: entry.steps,
        idle_ms: entry.idle_ms,
        expires_ms: entry.expires_ms,
    }
}

/// The JSON form of the memory pool, with the gateway's own counts.
pub fn pool(pool: supervisor::Pool, recoveries: u64, given_up: u64) -> Pool {
    Pool {
        budget_bytes: pool.budget,
        leased_bytes: pool.leased,
        measured_bytes: pool.measured,
        physical_bytes: pool.physical,
        available_bytes: pool.available,
        pressure: pressure(pool.pressure),
        leases: pool.leases,
        queue: pool.queue,
        evictions: pool.evictions,
        unknown_models: pool.unknown,
        hidden_models: pool.hidden,
        recoveries,
        given_up,
    }
}

/// The JSON name of a memory pressure.
pub fn pressure(pressure: Pressure) -> &'static str {
    match pressure {
        Pressure::Normal => "normal",
        Pressure::Warn => "warn",
        Pressure::Critical => "critical",
    }
}

/// The JSON form of a change.
pub fn change(change: supervisor::Change) -> Change {
    Change {
        revision: change.revision,
        at_ms: change.at_ms,
        model: change.model,
        state: state(change.state),
        ready: change.ready.len(),
        note: change.note,
    }
}
