//! Records how every request ended, without delaying the request, reports it, and deletes old records.

use std::sync::Arc;

use ipc_proto::gateway::GatewayConfig;
use tokio::task::JoinHandle;

use crate::audit::bus::Bus;
use crate::audit::retention::Retention;
use crate::store::Db;
use crate::telemetry::Telemetry;

pub mod bus;
pub mod contents;
pub mod record;
pub mod retention;
pub mod sink;
pub mod totals;

/// The tasks that take the records.
#[derive(Debug)]
pub struct Audit {
    sink: JoinHandle<()>,
    telemetry: Option<Arc<Telemetry>>,
}

/// Starts the tasks. Returns the queue for the records, too.
///
/// # Errors
/// The endpoint for traces and metrics cannot be used.
pub fn start(db: &Db, config: &GatewayConfig) -> anyhow::Result<(Bus, Audit)> {
    let telemetry = Telemetry::start(config)?;
    let (bus, receiver) = bus::bus(telemetry.clone());
    let sink = tokio::spawn(sink::run(receiver, db.clone()));
    let retention =
        Retention { days: config.request_days, rows: config.request_rows, content_days: config.content_days };
    tokio::spawn(retention::run(db.clone(), retention));
    Ok((bus, Audit { sink, telemetry }))
}

impl Audit {
    /// Returns once every record is written and reported. No queue for records may be left.
    pub async fn finish(self) {
        // The sink ends only by a defect, which is in the log then.
        let _ = self.sink.await;
        if let Some(telemetry) = self.telemetry {
            telemetry.finish().await;
        }
    }
}
