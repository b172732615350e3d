//! A runner that hangs when it is told to, for tests of what becomes of a worker whose engine does.

use std::path::PathBuf;
use std::time::Duration;

use ipc_proto::worker::Memory;

use super::runner::{Batch, Capacity, Mask, Outcome, Runner, RunnerError};

/// Names a file in the environment: the step that finds it removes it and does not end.
pub const VARIABLE: &str = "MLXD_TEST_HANG";

/// A runner in front of another.
pub struct Hanging {
    inner: Box<dyn Runner>,
    file: PathBuf,
}

impl Hanging {
    /// Hangs in the step that finds `file`; only one of several workers does.
    pub fn new(inner: Box<dyn Runner>, file: PathBuf) -> Self {
        Self { inner, file }
    }
}

/// Never returns.
#[inline(never)]
fn hang() {
    loop {
        std::thread::sleep(Duration::from_secs(3600));
    }
}

impl Runner for Hanging {
    fn capacity(&self) -> Capacity {
        self.inner.capacity()
    }

    fn memory(&self) -> Memory {
        self.inner.memory()
    }

    fn resize(&mut self, limit: u32, used: u32) -> Result<(), RunnerError> {
        self.inner.resize(limit, used)
    }

    fn launch(&mut self, batch: &Batch) -> Result<(), RunnerError> {
        self.inner.launch(batch)
    }

    fn finish(&mut self, batch: &Batch, masks: &[Mask]) -> Result<Outcome, RunnerError> {
        if std::fs::remove_file(&self.file).is_ok() {
            hang();
        }
        self.inner.finish(batch, masks)
    }
}
