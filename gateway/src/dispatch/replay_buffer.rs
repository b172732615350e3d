//! A stream with one writer and several readers. A reader starts at any piece and follows the stream to its end.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::body::Bytes;
use futures::Stream;
use tokio::sync::watch;

/// The writing end. Dropping it completes the buffer.
#[derive(Debug)]
pub struct ReplayWriter {
    pieces: Arc<Mutex<Vec<Bytes>>>,
    count: watch::Sender<usize>,
}

/// The reading end. Clones share the pieces.
#[derive(Debug, Clone)]
pub struct ReplayBuffer {
    pieces: Arc<Mutex<Vec<Bytes>>>,
    count: watch::Receiver<usize>,
}

/// Both ends of a new buffer.
pub fn replay_buffer() -> (ReplayWriter, ReplayBuffer) {
    let pieces: Arc<Mutex<Vec<Bytes>>> = Arc::default();
    let (sender, count) = watch::channel(0);
    (ReplayWriter { pieces: Arc::clone(&pieces), count: sender }, ReplayBuffer { pieces, count })
}

impl ReplayWriter {
    /// Appends one piece.
    pub fn push(&self, piece: Bytes) {
        locked(&self.pieces).push(piece);
        self.count.send_modify(|count| *count += 1);
    }

    /// Moves the server-sent events in `buffer` here, each as one piece.
    pub fn push_events(&self, buffer: &mut Vec<u8>) {
        let mut rest = Bytes::from(std::mem::take(buffer));
        // An event holds no empty line: JSON has no line breaks.
        while let Some(at) = rest.windows(2).position(|pair| pair == b"\n\n") {
            self.push(rest.split_to(at + 2));
        }
    }
}

impl ReplayBuffer {
    /// Whether the writer has finished.
    pub fn is_complete(&self) -> bool {
        self.count.has_changed().is_err()
    }

    /// The size in bytes.
    pub fn size(&self) -> usize {
        locked(&self.pieces).iter().map(Bytes::len).sum()
    }

    /// The pieces from number `from` on. Ends after the last one.
    pub fn read(&self, from: usize) -> impl Stream<Item = Bytes> + Send + use<> {
        futures::stream::unfold((self.clone(), from), |(mut replay, at)| async move {
            loop {
                // Before the look-up: a piece that arrives during it counts as a change.
                replay.count.borrow_and_update();
                let piece = locked(&replay.pieces).get(at).cloned();
                if let Some(piece) = piece {
                    return Some((piece, (replay, at + 1)));
                }
                replay.count.changed().await.ok()?;
            }
        })
    }
}

fn locked(pieces: &Mutex<Vec<Bytes>>) -> MutexGuard<'_, Vec<Bytes>> {
    pieces.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use futures::StreamExt;

    use super::*;

    #[tokio::test]
    async fn early_and_late_readers_get_the_same_pieces() {
        let (writer, replay) = replay_buffer();
        writer.push_events(&mut b"event: a\ndata: 1\n\ndata: 2\n\n".to_vec());
        let early = tokio::spawn(replay.read(0).collect::<Vec<_>>());
        tokio::task::yield_now().await;
        writer.push(Bytes::from_static(b"end"));
        assert!(!replay.is_complete());
        drop(writer);
        assert!(replay.is_complete() && replay.size() == 30);
        let all = early.await.unwrap();
        assert_eq!(all, ["event: a\ndata: 1\n\n", "data: 2\n\n", "end"]);
        assert_eq!(replay.read(1).collect::<Vec<_>>().await, all[1..]);
        assert_eq!(replay.read(9).collect::<Vec<_>>().await.len(), 0);
    }
}
