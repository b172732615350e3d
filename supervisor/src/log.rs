//! Writes standard error on a separate thread, so that logging never blocks.
//!
//! A full disk refuses lines. A stopped terminal or a pipe without a reader blocks. Neither may block or end the server:
//! lines wait in a bounded queue, and lines that do not fit are dropped and counted. The last lines are also kept in memory.

use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{LazyLock, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use ipc_proto::supervisor::LogLines;

mod recent;

use recent::Recent;

/// Lines that can wait. Lines of children have at most 8 KiB.
const CAPACITY: usize = 1024;

static RECENT: LazyLock<Mutex<Recent>> = LazyLock::new(|| Mutex::new(Recent::new()));
static QUEUE: OnceLock<SyncSender<Message>> = OnceLock::new();
/// Lines dropped since the last report.
static LOST: AtomicU64 = AtomicU64::new(0);

enum Message {
    Text(Vec<u8>),
    /// Answered when everything before it is written.
    Flush(SyncSender<()>),
}

/// A writer for standard error. Each `write` stays in one piece.
#[derive(Debug, Clone, Copy, Default)]
pub struct Log;

impl Write for Log {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        enqueue(queue(), text);
        RECENT.lock().unwrap_or_else(PoisonError::into_inner).push(text);
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Log {
    /// Waits until everything logged so far is written, up to `limit`.
    pub fn settle(limit: Duration) {
        let (sender, written) = sync_channel(1);
        if queue().try_send(Message::Flush(sender)).is_ok() {
            // Lines that are not written in time are lost.
            let _ = written.recv_timeout(limit);
        }
    }
}

/// See [`ipc_proto::supervisor::Supervisor::logs`].
pub(crate) fn recent(after: Option<u64>, most: usize) -> LogLines {
    RECENT.lock().unwrap_or_else(PoisonError::into_inner).behind(after, most)
}

fn queue() -> &'static SyncSender<Message> {
    QUEUE.get_or_init(|| {
        let (sender, messages) = sync_channel(CAPACITY);
        let run = move || write_messages(&messages, &mut io::stderr());
        // If no thread can be started, every line is lost.
        let _ = std::thread::Builder::new().name("log".into()).spawn(run);
        sender
    })
}

fn enqueue(queue: &SyncSender<Message>, text: &[u8]) {
    if queue.try_send(Message::Text(text.to_vec())).is_err() {
        LOST.fetch_add(1, Ordering::Relaxed);
    }
}

fn write_messages(messages: &Receiver<Message>, to: &mut impl Write) {
    for message in messages {
        match message {
            Message::Text(text) => {
                let lost = LOST.swap(0, Ordering::Relaxed);
                if lost > 0 {
                    let _ =
                        writeln!(to, "{lost} lines of the log were lost: standard error did not take them");
                }
                // A refused line is lost, for example on a full disk.
                let _ = to.write_all(&text);
            }
            Message::Flush(written) => drop(written.send(())),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};
    use std::time::Instant;

    use super::*;

    /// Blocks until its lock is free, and refuses every line with an "x".
    struct BlockingWriter(Arc<Mutex<Vec<u8>>>);

    impl Write for BlockingWriter {
        fn write(&mut self, text: &[u8]) -> io::Result<usize> {
            if text.contains(&b'x') {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.0.lock().unwrap().write(text)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn logging_never_blocks_and_lost_lines_are_counted() {
        let written = Arc::new(Mutex::new(Vec::new()));
        let (sender, messages) = sync_channel(CAPACITY);
        let shared = Arc::clone(&written);
        let thread = std::thread::spawn(move || write_messages(&messages, &mut BlockingWriter(shared)));
        let held = written.lock().unwrap();
        let started_at = Instant::now();
        for _ in 0..CAPACITY * 2 {
            enqueue(&sender, b"line\n");
        }
        assert!(started_at.elapsed() < Duration::from_secs(5), "the writer blocks, and logging does not");
        drop(held);
        let (flushed, wait) = sync_channel(1);
        sender.send(Message::Flush(flushed)).unwrap();
        wait.recv().unwrap();
        enqueue(&sender, b"x\n");
        enqueue(&sender, b"last\n");
        drop(sender);
        thread.join().unwrap();
        let text = String::from_utf8(written.lock().unwrap().clone()).unwrap();
        assert!(text.contains("lines of the log were lost"), "{}", &text[..200]);
        assert!(text.ends_with("last\n") && !text.contains('x'), "a refused line blocks no other");
    }
}
