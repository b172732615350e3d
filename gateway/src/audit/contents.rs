//! Writes the contents of requests to the database, beside the records. A full queue, or a database that refuses, loses contents and
//! delays no request.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::mpsc;

use crate::inference::content::Collected;
use crate::store::Db;
use crate::store::contents::ContentRow;

/// Contents that may wait for the disk. Each has at most four texts of 256 KiB.
const QUEUE: usize = 64;
/// Contents per transaction.
const BATCH: usize = 8;

/// The content of a request that has ended.
#[derive(Debug)]
pub struct EndedContent {
    /// The id of the request's record.
    pub request_id: String,
    /// Milliseconds since the epoch.
    pub started_at_ms: i64,
    /// The content.
    pub content: Collected,
}

/// The sending end, for recorders.
#[derive(Debug, Clone)]
pub struct ContentQueue {
    sender: mpsc::Sender<EndedContent>,
    lost: Arc<AtomicU64>,
}

/// The receiving end.
#[derive(Debug)]
pub struct ContentReceiver {
    contents: mpsc::Receiver<EndedContent>,
    lost: Arc<AtomicU64>,
}

/// Both ends of a new queue.
pub fn queue() -> (ContentQueue, ContentReceiver) {
    let (sender, contents) = mpsc::channel(QUEUE);
    let lost = Arc::new(AtomicU64::new(0));
    (ContentQueue { sender, lost: Arc::clone(&lost) }, ContentReceiver { contents, lost })
}

impl ContentQueue {
    /// Queues a content, or counts it as lost.
    pub fn send(&self, content: EndedContent) {
        if self.sender.try_send(content).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Contents lost so far.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}

impl ContentReceiver {
    /// Writes until every sender is gone and everything is written.
    pub async fn run(mut self, db: &Db) {
        let mut batch = Vec::new();
        let mut is_failing = false;
        while self.contents.recv_many(&mut batch, BATCH).await > 0 {
            let rows: Vec<ContentRow> = batch.drain(..).map(row).collect();
            let written = db.insert_contents(&rows).await;
            if let Err(error) = &written {
                self.lost.fetch_add(rows.len() as u64, Ordering::Relaxed);
                if !is_failing {
                    tracing::warn!(%error, "prompts and outputs of requests cannot be stored and are lost meanwhile");
                }
            }
            is_failing = written.is_err();
        }
    }
}

fn row(EndedContent { request_id, started_at_ms, content }: EndedContent) -> ContentRow {
    ContentRow { request_id, started_at_ms, content: content.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inference::content::Content;

    fn ended(id: usize) -> EndedContent {
        let content = Content::of_request(b"x").take();
        EndedContent { request_id: id.to_string(), started_at_ms: 1, content }
    }

    #[tokio::test]
    async fn full_queue_loses_and_counts_and_the_rest_is_written() {
        let home = tempfile::tempdir().unwrap();
        let db = Db::new(home.path());
        let (queue, receiver) = queue();
        (0..QUEUE + 2).for_each(|id| queue.send(ended(id)));
        let lost = Arc::clone(&queue.lost);
        assert_eq!(queue.lost(), 2);
        drop(queue);
        receiver.run(&db).await;
        let ids: Vec<String> = (0..QUEUE + 2).map(|id| id.to_string()).collect();
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        assert_eq!(db.contents(&ids).await.unwrap().len(), QUEUE);
        assert_eq!(lost.load(Ordering::Relaxed), 2);
    }

    #[tokio::test]
    async fn refusing_database_loses_and_counts() {
        let (queue, receiver) = queue();
        queue.send(ended(1));
        let lost = Arc::clone(&queue.lost);
        drop(queue);
        // There is no such folder, and none can be made below a file.
        let file = tempfile::NamedTempFile::new().unwrap();
        receiver.run(&Db::new(&file.path().join("home"))).await;
        assert_eq!(lost.load(Ordering::Relaxed), 1);
    }
}
