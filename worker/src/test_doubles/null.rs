//! A runner that generates without computing. It measures the cost of everything around the model.

use ipc_proto::worker::Memory;

use crate::engine::runner::{
    Batch, Runner, RunnerCapacity, RunnerError, ScoreRequest, StepOutcome, TokenMask, TokenScore,
};

/// Repeats a few ordinary tokens in every row.
#[derive(Debug)]
pub struct NullRunner {
    capacity: RunnerCapacity,
    tokens: Vec<u32>,
}

impl NullRunner {
    /// Repeats `tokens`. The pool has blocks for 16 full contexts, as on a large machine.
    ///
    /// # Errors
    /// When `tokens` is empty.
    pub fn new(max_context: u32, tokens: Vec<u32>) -> Result<Self, String> {
        const CONTEXTS: u32 = 16;
        let block_size = 32;
        if tokens.is_empty() {
            return Err("the tokenizer has no token for the null runner to repeat".into());
        }
        let blocks = max_context.div_ceil(block_size).saturating_mul(CONTEXTS);
        Ok(Self {
            capacity: RunnerCapacity {
                block_size,
                blocks,
                max_context,
                weight_bytes: 0,
                window: None,
                original_context: None,
                blocks_per_state: None,
                whole_images: None,
            },
            tokens,
        })
    }
}

impl Runner for NullRunner {
    fn capacity(&self) -> RunnerCapacity {
        self.capacity
    }

    fn memory(&self) -> Memory {
        Memory::default()
    }

    fn resize(&mut self, _: u32, _: u32) -> Result<(), RunnerError> {
        Ok(())
    }

    fn launch(&mut self, _: &Batch) -> Result<(), RunnerError> {
        Ok(())
    }

    fn finish(&mut self, batch: &Batch, masks: &[TokenMask]) -> Result<StepOutcome, RunnerError> {
        let mut masks = masks.iter();
        let mut outcome = StepOutcome::default();
        for row in &batch.rows {
            let mask = if row.masked { masks.next() } else { None };
            let from = row.tokens.end - row.samples.len();
            for at in from..row.tokens.end {
                let next = self.tokens[batch.positions[at] as usize % self.tokens.len()];
                outcome.tokens.push(mask.and_then(first_allowed).unwrap_or(next));
            }
            if let Some(ScoreRequest { targets, .. }) = &row.score {
                let chosen = &outcome.tokens[outcome.tokens.len() - row.samples.len()..];
                let certain = |token: &u32| TokenScore { token: *token, ..TokenScore::default() };
                outcome.scores.push(targets.iter().chain(chosen).map(certain).collect());
            }
        }
        Ok(outcome)
    }
}

/// The lowest token id that the mask allows.
fn first_allowed(mask: &TokenMask) -> Option<u32> {
    let at = mask.iter().position(|word| *word != 0)?;
    Some(at as u32 * 32 + mask[at].trailing_zeros())
}
