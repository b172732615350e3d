//! Runs the draft model between the steps of the served model.

use super::runner::{Batch, NO_TOKEN, Runner, RunnerError, TokenMask};
use super::scheduler::Scheduler;

/// A draft model on the same device.
pub struct Proposer {
    runner: Box<dyn Runner>,
    /// Reused, to save allocations.
    batch: Batch,
}

impl std::fmt::Debug for Proposer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Proposer").finish_non_exhaustive()
    }
}

impl Proposer {
    /// `runner` is the draft model. Its pool must have as many blocks as that of the served model.
    pub fn new(runner: Box<dyn Runner>) -> Self {
        Self { runner, batch: Batch::default() }
    }

    /// Computes the tokens of the last committed step and drafts for the next one.
    ///
    /// # Errors
    /// When the device fails; then there are no drafts.
    pub(super) fn propose(&mut self, scheduler: &mut Scheduler) -> Result<(), RunnerError> {
        let context = self.runner.capacity().max_context as usize;
        let mut more = scheduler.begin_proposals(&mut self.batch, context);
        while more {
            self.runner.launch(&self.batch)?;
            let masks: &[TokenMask] = &[];
            let tokens = self.runner.finish(&self.batch, masks)?.tokens;
            if tokens.contains(&NO_TOKEN) {
                return Err(RunnerError("it computes no numbers (NaN)".into()));
            }
            more = scheduler.continue_proposals(&mut self.batch, &tokens);
        }
        Ok(())
    }

    /// Resizes the pool; see [`Runner::resize`].
    ///
    /// # Errors
    /// When the device fails.
    pub(super) fn resize(&mut self, limit: u32, used: u32) -> Result<(), RunnerError> {
        self.runner.resize(limit, used)
    }
}
