//! The queue of records between the requests and the sink. A full queue loses records and delays no request.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::mpsc;

use crate::audit::totals::Totals;
use crate::inference::record::Record;

/// Records that may wait for the disk.
const QUEUE_RECORDS: usize = 1024;

/// The sending end, for requests.
#[derive(Debug, Clone)]
pub struct Bus {
    sender: mpsc::Sender<Record>,
    lost: Arc<AtomicU64>,
    totals: Arc<Totals>,
}

/// The receiving end, for the sink.
#[derive(Debug)]
pub struct RecordReceiver {
    /// The records in order.
    pub records: mpsc::Receiver<Record>,
    /// Records lost so far: the queue was full, or the database refused them.
    pub lost: Arc<AtomicU64>,
}

/// Both ends of a new queue.
pub fn bus() -> (Bus, RecordReceiver) {
    let (sender, records) = mpsc::channel(QUEUE_RECORDS);
    let lost = Arc::new(AtomicU64::new(0));
    (Bus { sender, lost: Arc::clone(&lost), totals: Arc::default() }, RecordReceiver { records, lost })
}

impl Bus {
    /// Queues a record, or counts it as lost.
    pub fn send(&self, record: Record) {
        self.totals.add(&record);
        if self.sender.try_send(record).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Records lost so far.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Sums over all records so far.
    pub fn totals(&self) -> &Totals {
        &self.totals
    }
}
