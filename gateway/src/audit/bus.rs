//! Takes records from requests to the sink without ever holding up a request.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::mpsc;

use crate::audit::totals::Totals;
use crate::inference::record::Record;

/// Records that may wait for the disk.
const RECORDS_AHEAD: usize = 1024;

/// The requests' end.
#[derive(Debug, Clone)]
pub struct Bus {
    sender: mpsc::Sender<Record>,
    lost: Arc<AtomicU64>,
    totals: Arc<Totals>,
}

/// The sink's end.
#[derive(Debug)]
pub struct Outlet {
    /// Records as they come.
    pub records: mpsc::Receiver<Record>,
    /// Records that found no room or could not be written, so far.
    pub lost: Arc<AtomicU64>,
}

/// Both ends.
pub fn bus() -> (Bus, Outlet) {
    let (sender, records) = mpsc::channel(RECORDS_AHEAD);
    let lost = Arc::new(AtomicU64::new(0));
    (Bus { sender, lost: Arc::clone(&lost), totals: Arc::default() }, Outlet { records, lost })
}

impl Bus {
    /// Sends a record, or counts it as lost.
    pub fn send(&self, record: Record) {
        self.totals.add(&record);
        if self.sender.try_send(record).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Records that were lost so far.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Sums over all records so far.
    pub fn totals(&self) -> &Totals {
        &self.totals
    }
}
