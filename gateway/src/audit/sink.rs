//! Writes records to the database, many in one transaction.

use std::sync::atomic::Ordering;

use super::bus::Outlet;
use crate::db::Db;

const BATCH: usize = 256;

/// Runs until every sender is gone and everything is written. Without a database records are dropped.
pub async fn run(mut outlet: Outlet, db: Option<Db>) {
    let mut batch = Vec::new();
    while outlet.records.recv_many(&mut batch, BATCH).await > 0 {
        if let Some(db) = &db
            && let Err(error) = db.insert_requests(&batch).await
        {
            tracing::error!(%error, records = batch.len(), "audit records could not be written");
        }
        let lost = outlet.lost.swap(0, Ordering::Relaxed);
        if lost > 0 {
            tracing::error!(records = lost, "audit records were lost: the disk is too slow");
        }
        batch.clear();
    }
}
