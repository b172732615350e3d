//! Writes records to the database, many in one transaction. Records that the database refuses are lost and counted: no request
//! waits for a disk.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use crate::audit::bus::RecordReceiver;
use crate::inference::record::Record;
use crate::store::{Db, DbError};

/// Records per transaction.
const BATCH: usize = 256;
/// Pause between two warnings about a database that keeps refusing.
const WARNING_INTERVAL: Duration = Duration::from_secs(60);

/// Runs until every sender is gone and everything is written.
pub async fn run(receiver: RecordReceiver, db: Db) {
    let RecordReceiver { records, lost, contents } = receiver;
    tokio::join!(write_records(records, &lost, &db), contents.run(&db));
}

async fn write_records(mut records: mpsc::Receiver<Record>, lost: &AtomicU64, db: &Db) {
    let mut batch = Vec::new();
    let mut log = LossLog::default();
    while records.recv_many(&mut batch, BATCH).await > 0 {
        let written = db.insert_requests(&batch).await;
        if written.is_err() {
            lost.fetch_add(batch.len() as u64, Ordering::Relaxed);
        }
        log.record_batch(&written, lost.load(Ordering::Relaxed), Instant::now());
        batch.clear();
    }
}

/// Logs lost records, at most once per [`WARNING_INTERVAL`] while the database refuses.
#[derive(Debug, Default)]
struct LossLog {
    /// Lost records that the log has reported.
    reported: u64,
    /// The last warning while the database refuses.
    last_warning: Option<Instant>,
}

impl LossLog {
    /// Logs new losses after a batch. `lost` counts all lost records so far.
    fn record_batch(&mut self, written: &Result<(), DbError>, lost: u64, now: Instant) {
        let records = lost - self.reported;
        match written {
            Err(error) => {
                if self.last_warning.is_some_and(|warned| now - warned < WARNING_INTERVAL) {
                    return;
                }
                tracing::warn!(%error, records, "records of requests cannot be written and are lost");
                self.last_warning = Some(now);
            }
            Ok(()) if self.last_warning.take().is_some() => {
                tracing::info!(records, "records of requests are written again; more were lost meanwhile");
            }
            Ok(()) if records > 0 => {
                tracing::warn!(records, "records of requests were lost: the disk is too slow");
            }
            Ok(()) => {}
        }
        self.reported = lost;
    }
}
