//! Writes records to the database, many in one transaction. What it does not take is lost and counted: no request waits for a disk.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::audit::bus::Outlet;
use crate::store::{Db, DbError};

const BATCH: usize = 256;
/// A disk that stays full is not told of more often.
const REMIND: Duration = Duration::from_secs(60);

/// Runs until every sender is gone and everything is written.
pub async fn run(mut outlet: Outlet, db: Db) {
    let mut batch = Vec::new();
    let mut losses = Losses::default();
    while outlet.records.recv_many(&mut batch, BATCH).await > 0 {
        let written = db.insert_requests(&batch).await;
        if written.is_err() {
            outlet.lost.fetch_add(batch.len() as u64, Ordering::Relaxed);
        }
        losses.note(&written, outlet.lost.load(Ordering::Relaxed), Instant::now());
        batch.clear();
    }
}

/// What was told of lost records.
#[derive(Debug, Default)]
struct Losses {
    told: u64,
    /// When the database was last said to refuse, while it does.
    refusing: Option<Instant>,
}

impl Losses {
    /// Tells what is new after a batch; `lost` of all records are lost by now.
    fn note(&mut self, written: &Result<(), DbError>, lost: u64, now: Instant) {
        let records = lost - self.told;
        match written {
            Err(error) => {
                if self.refusing.is_none_or(|told| now - told >= REMIND) {
                    tracing::warn!(%error, records, "records of requests cannot be written and are lost");
                    self.refusing = Some(now);
                    self.told = lost;
                }
                return;
            }
            Ok(()) if self.refusing.take().is_some() => {
                tracing::info!(records, "records of requests are written again; more were lost meanwhile");
            }
            Ok(()) if records > 0 => {
                tracing::warn!(records, "records of requests were lost: the disk is too slow")
            }
            Ok(()) => {}
        }
        self.told = lost;
    }
}
