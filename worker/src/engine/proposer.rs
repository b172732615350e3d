//! Runs the model that drafts, between the steps of the model that is served.

use super::runner::{Batch, Mask, Runner, RunnerError};
use super::scheduler::Scheduler;

/// A second model on the device.
pub struct Proposer {
    runner: Box<dyn Runner>,
    /// Kept for its memory.
    batch: Batch,
}

impl std::fmt::Debug for Proposer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Proposer").finish_non_exhaustive()
    }
}

impl Proposer {
    /// Drafts by `runner`, whose pool has as many blocks as the served model's.
    pub fn new(runner: Box<dyn Runner>) -> Self {
        Self { runner, batch: Batch::default() }
    }

    /// Lets it follow the step that was just committed, and proposes for the next.
    ///
    /// # Errors
    /// When the device fails; there are no proposals then.
    pub(super) fn propose(&mut self, scheduler: &mut Scheduler) -> Result<(), RunnerError> {
        let context = self.runner.capacity().max_context as usize;
        let mut more = scheduler.begin_proposals(&mut self.batch, context);
        while more {
            self.runner.launch(&self.batch)?;
            let masks: &[Mask] = &[];
            let tokens = self.runner.finish(&self.batch, masks)?.tokens;
            more = scheduler.go_on_proposing(&mut self.batch, &tokens);
        }
        Ok(())
    }

    /// Follows a change of the pool; see [`Runner::resize`].
    ///
    /// # Errors
    /// When the device fails.
    pub(super) fn resize(&mut self, limit: u32, used: u32) -> Result<(), RunnerError> {
        self.runner.resize(limit, used)
    }
}
