//! The queue of records between the requests and the sink. A full queue loses records and delays no request.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::mpsc;

use crate::audit::contents::{self, ContentQueue, ContentReceiver};
use crate::audit::totals::Totals;
use crate::inference::record::Record;
use crate::telemetry::Telemetry;

/// Records that may wait for the disk.
const QUEUE_RECORDS: usize = 1024;

/// The sending end, for requests. Small, because a request that waits holds it.
#[derive(Debug, Clone)]
pub struct Bus {
    sender: mpsc::Sender<Record>,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    lost: Arc<AtomicU64>,
    contents: ContentQueue,
    totals: Totals,
    telemetry: Option<Arc<Telemetry>>,
}

/// The receiving end, for the sink.
#[derive(Debug)]
pub struct RecordReceiver {
    /// The records in order.
    pub records: mpsc::Receiver<Record>,
    /// Records lost so far: the queue was full, or the database refused them.
    pub lost: Arc<AtomicU64>,
    /// The contents of requests whose keys say so.
    pub contents: ContentReceiver,
}

/// Both ends of a new queue.
///
/// Requests are reported to `telemetry`, too.
pub fn bus(telemetry: Option<Arc<Telemetry>>) -> (Bus, RecordReceiver) {
    let (sender, records) = mpsc::channel(QUEUE_RECORDS);
    let lost = Arc::new(AtomicU64::new(0));
    let (queue, contents) = contents::queue();
    let shared = Shared { lost: Arc::clone(&lost), contents: queue, totals: Totals::default(), telemetry };
    let bus = Bus { sender, shared: Arc::new(shared) };
    (bus, RecordReceiver { records, lost, contents })
}

impl Bus {
    /// Queues a record, or counts it as lost.
    pub fn send(&self, record: Record) {
        self.shared.totals.add(&record);
        if let Some(telemetry) = &self.shared.telemetry {
            telemetry.record(&record);
        }
        if self.sender.try_send(record).is_err() {
            self.shared.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The queue for the contents of requests.
    pub fn contents(&self) -> &ContentQueue {
        &self.shared.contents
    }

    /// Records lost so far.
    pub fn lost(&self) -> u64 {
        self.shared.lost.load(Ordering::Relaxed)
    }

    /// Sums over all records so far.
    pub fn totals(&self) -> &Totals {
        &self.shared.totals
    }
}
