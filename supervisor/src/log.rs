//! Standard error, written by a thread of its own: whoever logs never waits for it.
//!
//! A disk that is full refuses lines, a terminal that is stopped or a pipe that nobody reads does not take them. The server shall
//! neither stand still nor end for that: lines wait in a bounded queue, and those that find it full are lost and counted.

use std::io::{self, Write};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

/// Lines that wait. Those of children have at most 8 KiB.
const WAITING: usize = 1024;

static QUEUE: OnceLock<SyncSender<Message>> = OnceLock::new();
/// Lines that found the queue full since the last that was told.
static LOST: AtomicU64 = AtomicU64::new(0);

enum Message {
    Text(Vec<u8>),
    /// Tells when everything before it is written.
    Flush(SyncSender<()>),
}

/// Takes lines for standard error; what is written to it at once stays together.
#[derive(Debug, Clone, Copy, Default)]
pub struct Log;

impl Write for Log {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        put(queue(), text);
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Log {
    /// Waits until what was logged so far is written, but no longer than `limit`.
    pub fn settle(limit: Duration) {
        let (sender, written) = sync_channel(1);
        if queue().try_send(Message::Flush(sender)).is_ok() {
            // Who does not take it in time does not get it.
            let _ = written.recv_timeout(limit);
        }
    }
}

fn queue() -> &'static SyncSender<Message> {
    QUEUE.get_or_init(|| {
        let (sender, messages) = sync_channel(WAITING);
        let writing = move || write(&messages, &mut io::stderr());
        // Without a thread there is no log: every line is lost.
        let _ = std::thread::Builder::new().name("log".into()).spawn(writing);
        sender
    })
}

fn put(queue: &SyncSender<Message>, text: &[u8]) {
    if queue.try_send(Message::Text(text.to_vec())).is_err() {
        LOST.fetch_add(1, Ordering::Relaxed);
    }
}

fn write(messages: &Receiver<Message>, to: &mut impl Write) {
    for message in messages {
        match message {
            Message::Text(text) => {
                let lost = LOST.swap(0, Ordering::Relaxed);
                if lost > 0 {
                    let _ =
                        writeln!(to, "{lost} lines of the log were lost: standard error did not take them");
                }
                // What is refused is lost, as on a full disk.
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

    /// Takes nothing before its lock is free, and refuses every line with an "x".
    struct Slow(Arc<Mutex<Vec<u8>>>);

    impl Write for Slow {
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
    fn who_logs_waits_for_nobody() {
        let taken = Arc::new(Mutex::new(Vec::new()));
        let (sender, messages) = sync_channel(WAITING);
        let slow = Arc::clone(&taken);
        let thread = std::thread::spawn(move || write(&messages, &mut Slow(slow)));
        let held = taken.lock().unwrap();
        let begun = Instant::now();
        for _ in 0..WAITING * 2 {
            put(&sender, b"line\n");
        }
        assert!(begun.elapsed() < Duration::from_secs(5), "nobody takes them, and nobody waits");
        drop(held);
        let (flushed, wait) = sync_channel(1);
        sender.send(Message::Flush(flushed)).unwrap();
        wait.recv().unwrap();
        put(&sender, b"x\n");
        put(&sender, b"last\n");
        drop(sender);
        thread.join().unwrap();
        let text = String::from_utf8(taken.lock().unwrap().clone()).unwrap();
        assert!(text.contains("lines of the log were lost"), "{}", &text[..200]);
        assert!(text.ends_with("last\n") && !text.contains('x'), "what is refused holds nothing up");
    }
}
