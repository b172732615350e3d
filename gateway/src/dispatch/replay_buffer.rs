//! What is told once and read by several: from its beginning or later, at once as far as it is there, then as it comes.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::body::Bytes;
use futures::Stream;
use tokio::sync::watch;

/// The writer's end. When it is dropped the replay is whole.
#[derive(Debug)]
pub struct ReplayWriter {
    pieces: Arc<Mutex<Vec<Bytes>>>,
    count: watch::Sender<usize>,
}

/// The readers' end; clones are the same.
#[derive(Debug, Clone)]
pub struct ReplayBuffer {
    pieces: Arc<Mutex<Vec<Bytes>>>,
    count: watch::Receiver<usize>,
}

/// Both ends.
pub fn replay_buffer() -> (ReplayWriter, ReplayBuffer) {
    let pieces: Arc<Mutex<Vec<Bytes>>> = Arc::default();
    let (sender, count) = watch::channel(0);
    (ReplayWriter { pieces: Arc::clone(&pieces), count: sender }, ReplayBuffer { pieces, count })
}

impl ReplayWriter {
    /// Tells one more piece.
    pub fn push(&self, piece: Bytes) {
        locked(&self.pieces).push(piece);
        self.count.send_modify(|count| *count += 1);
    }

    /// Tells each event of a buffer of server-sent ones as a piece of its own.
    pub fn push_events(&self, buffer: &mut Vec<u8>) {
        let mut rest = Bytes::from(std::mem::take(buffer));
        // Within an event no two line breaks follow each other: JSON has none.
        while let Some(at) = rest.windows(2).position(|pair| pair == b"\n\n") {
            self.push(rest.split_to(at + 2));
        }
    }
}

impl ReplayBuffer {
    /// Whether nothing more comes.
    pub fn is_whole(&self) -> bool {
        self.count.has_changed().is_err()
    }

    /// Bytes that are held.
    pub fn size(&self) -> usize {
        locked(&self.pieces).iter().map(Bytes::len).sum()
    }

    /// The pieces from number `from` on, until the last.
    pub fn read(&self, from: usize) -> impl Stream<Item = Bytes> + Send + use<> {
        futures::stream::unfold((self.clone(), from), |(mut replay, at)| async move {
            loop {
                // Before it is looked for: what comes meanwhile is seen as a change.
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
    async fn everybody_reads_the_same() {
        let (writer, replay) = replay_buffer();
        writer.push_events(&mut b"event: a\ndata: 1\n\ndata: 2\n\n".to_vec());
        let early = tokio::spawn(replay.read(0).collect::<Vec<_>>());
        tokio::task::yield_now().await;
        writer.push(Bytes::from_static(b"end"));
        assert!(!replay.is_whole());
        drop(writer);
        assert!(replay.is_whole() && replay.size() == 30);
        let all = early.await.unwrap();
        assert_eq!(all, ["event: a\ndata: 1\n\n", "data: 2\n\n", "end"]);
        assert_eq!(replay.read(1).collect::<Vec<_>>().await, all[1..]);
        assert_eq!(replay.read(9).collect::<Vec<_>>().await.len(), 0);
    }
}
