//! Reads folders that may never answer: disks that sleep, shares whose server is gone.
//!
//! A thread makes the reads. A read that takes too long keeps that thread, and the next read gets another one. The path
//! counts as silent until the late result is there, so a silent folder costs one thread and, after the first scan, no
//! time.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError, channel};
use std::thread;
use std::time::Duration;

/// The limit for the first folder of a scan that does not answer.
const FIRST: Duration = Duration::from_secs(2);
/// The limit for those after it: many are likely to be on the same disk.
const FURTHER: Duration = Duration::from_millis(200);

/// Makes reads with results of one type.
pub(super) struct Reader<T> {
    /// The thread that waits for reads.
    thread: Option<Sender<Read<T>>>,
    limit: Duration,
    /// Reads that have not ended.
    silent: BTreeMap<PathBuf, Receiver<T>>,
}

struct Read<T> {
    read: Box<dyn FnOnce() -> T + Send>,
    result: Sender<T>,
}

impl<T: Send + 'static> Reader<T> {
    pub(super) fn new() -> Self {
        Self { thread: None, limit: FIRST, silent: BTreeMap::new() }
    }

    /// Begins a scan.
    pub(super) fn begin_scan(&mut self) {
        self.limit = FIRST;
    }

    /// The result of `read`, or of an earlier read of the same path that was late. `None` if the path is silent.
    pub(super) fn read(&mut self, path: &Path, read: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        if let Some(result) = self.silent.remove(path) {
            match result.try_recv() {
                Ok(late) => return Some(late),
                Err(TryRecvError::Empty) => {
                    self.silent.insert(path.to_owned(), result);
                    return None;
                }
                // It panicked.
                Err(TryRecvError::Disconnected) => {}
            }
        }
        let result = self.ask(read)?;
        match result.recv_timeout(self.limit) {
            Ok(value) => Some(value),
            Err(RecvTimeoutError::Disconnected) => {
                self.thread = None;
                None
            }
            Err(RecvTimeoutError::Timeout) => {
                tracing::warn!(folder = %path.display(), "a folder does not answer");
                (self.thread, self.limit) = (None, FURTHER);
                self.silent.insert(path.to_owned(), result);
                None
            }
        }
    }

    /// Hands a read to the thread, and starts one if there is none. `None` if none can be started.
    fn ask(&mut self, read: impl FnOnce() -> T + Send + 'static) -> Option<Receiver<T>> {
        let (result, answer) = channel();
        if self.thread.is_none() {
            let (reads, received) = channel::<Read<T>>();
            let run = move || {
                for Read { read, result } in received {
                    let _ = result.send(read());
                }
            };
            thread::Builder::new().name("read-folder".into()).spawn(run).ok()?;
            self.thread = Some(reads);
        }
        self.thread.as_ref()?.send(Read { read: Box::new(read), result }).ok()?;
        Some(answer)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn silent_path_delays_one_read_and_its_late_result_counts() {
        let mut reader = Reader::new();
        let (answer, disk) = channel();
        let start = Instant::now();
        assert_eq!(reader.read(Path::new("/silent"), move || disk.recv().unwrap_or(0)), None);
        assert_eq!(reader.read(Path::new("/good"), || 7), Some(7), "another thread reads it");
        assert!(start.elapsed() < FIRST * 2);
        reader.begin_scan();
        let start = Instant::now();
        assert_eq!(reader.read(Path::new("/silent"), || 1), None);
        assert!(start.elapsed() < FIRST / 2, "it is not waited for again");
        answer.send(5).unwrap();
        while reader.read(Path::new("/silent"), || 1) != Some(5) {}
        assert_eq!(reader.read(Path::new("/silent"), || 1), Some(1), "it is read anew");
    }

    #[test]
    fn further_silent_paths_of_a_scan_cost_less_time() {
        let mut reader = Reader::new();
        let start = Instant::now();
        let (_answers, disks): (Vec<Sender<()>>, Vec<Receiver<()>>) = (0..5).map(|_| channel()).unzip();
        for (number, disk) in disks.into_iter().enumerate() {
            let path = PathBuf::from(format!("/silent/{number}"));
            assert_eq!(reader.read(&path, move || disk.recv().is_ok()), None);
        }
        let took = start.elapsed();
        assert!(took >= FIRST + FURTHER * 4 && took < FIRST * 2, "{took:?}");
    }

    #[test]
    fn read_that_panics_finds_nothing_and_stops_no_other() {
        let mut reader = Reader::new();
        assert_eq!(reader.read(Path::new("/a"), || panic!("no")), None);
        assert_eq!(reader.read(Path::new("/b"), || 2), Some(2));
    }
}
