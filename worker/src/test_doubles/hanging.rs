//! A runner that hangs on demand, for tests of the supervisor's hang detection.

use std::path::PathBuf;
use std::time::Duration;

use ipc_proto::worker::Memory;

use crate::engine::runner::{Batch, Runner, RunnerCapacity, RunnerError, StateId, StepOutcome, TokenMask};

/// Wraps another runner.
pub struct HangingRunner {
    inner: Box<dyn Runner>,
    file: PathBuf,
}

impl HangingRunner {
    /// The step that finds `file` removes it and hangs, so only one of several workers does.
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

impl Runner for HangingRunner {
    fn capacity(&self) -> RunnerCapacity {
        self.inner.capacity()
    }

    fn memory(&self) -> Memory {
        self.inner.memory()
    }

    fn resize(&mut self, limit: u32, used: u32) -> Result<(), RunnerError> {
        self.inner.resize(limit, used)
    }

    fn forget_states(&mut self, states: &[StateId]) {
        self.inner.forget_states(states);
    }

    fn launch(&mut self, batch: &Batch) -> Result<(), RunnerError> {
        self.inner.launch(batch)
    }

    fn finish(&mut self, batch: &Batch, masks: &[TokenMask]) -> Result<StepOutcome, RunnerError> {
        if std::fs::remove_file(&self.file).is_ok() {
            hang();
        }
        self.inner.finish(batch, masks)
    }
}
