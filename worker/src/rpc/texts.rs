//! Work on clients' texts: rendering, tokenising, compiling. It runs on the blocking pool, off the threads that move frames.

use std::sync::Arc;

use ipc_proto::{Error, ErrorKind, Origin, Result};
use tokio::sync::Semaphore;
use tokio::task::{JoinError, spawn_blocking};

use crate::memory;

/// Texts of this many bytes take turns, so that several of them need no more memory than one.
const LARGE: usize = 1 << 20;

/// Runs work on texts; clones share the turns of large ones.
#[derive(Debug, Clone)]
pub(super) struct TextWork {
    large: Arc<Semaphore>,
}

impl Default for TextWork {
    fn default() -> Self {
        Self { large: Arc::new(Semaphore::new(1)) }
    }
}

impl TextWork {
    /// Runs `work` on texts of this many bytes. It learns whether the caller still waits for the outcome.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        bytes: usize,
        work: impl FnOnce(&dyn Fn() -> bool) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let is_large = bytes >= LARGE;
        // The semaphore is never closed.
        let turn = if is_large { Arc::clone(&self.large).acquire_owned().await.ok() } else { None };
        let waits = Arc::new(());
        let waiting = Arc::downgrade(&waits);
        let done = spawn_blocking(move || {
            let outcome = work(&|| waiting.strong_count() > 0);
            if is_large {
                memory::give_back();
            }
            // The work keeps its turn although its caller may have gone.
            drop(turn);
            outcome
        });
        let outcome = done.await;
        drop(waits);
        outcome.map_err(|error: JoinError| {
            Error::new(ErrorKind::Internal, Origin::Worker, format!("tokenising failed: {error}"))
        })?
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn large_texts_take_turns() {
        let (work, running) = (TextWork::default(), Arc::new(AtomicUsize::new(0)));
        let one = |bytes| {
            let running = Arc::clone(&running);
            work.run(bytes, move |_| {
                let before = running.fetch_add(1, Ordering::SeqCst);
                std::thread::sleep(Duration::from_millis(20));
                running.fetch_sub(1, Ordering::SeqCst);
                Ok(before)
            })
        };
        let large = tokio::join!(one(LARGE), one(LARGE), one(LARGE));
        assert_eq!(large, (Ok(0), Ok(0), Ok(0)));
        let small = tokio::join!(one(LARGE), one(1), one(1));
        assert!(small.1.unwrap() + small.2.unwrap() > 0, "small texts do not wait");
    }

    #[tokio::test]
    async fn work_learns_that_its_caller_has_gone() {
        let (sender, ended) = std::sync::mpsc::channel();
        let work = TextWork::default();
        let waited = work.run(1, move |wanted| {
            while wanted() {
                std::thread::sleep(Duration::from_millis(1));
            }
            sender.send(()).unwrap();
            Ok(())
        });
        assert!(tokio::time::timeout(Duration::from_millis(20), waited).await.is_err());
        spawn_blocking(move || ended.recv_timeout(Duration::from_secs(10))).await.unwrap().unwrap();
    }
}
