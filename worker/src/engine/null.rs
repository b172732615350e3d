//! A runner that generates without computing: what remains is the cost of everything around the model.

use ipc_proto::worker::Memory;

use super::runner::{Batch, Capacity, Mask, Outcome, Runner, RunnerError, Score, Scored};

/// Answers every row with the next of a few ordinary tokens.
#[derive(Debug)]
pub struct NullRunner {
    capacity: Capacity,
    tokens: Vec<u32>,
}

impl NullRunner {
    /// A runner that repeats `tokens` in a pool for as many contexts as a large machine would hold.
    ///
    /// # Errors
    /// When there is no token to repeat.
    pub fn new(max_context: u32, tokens: Vec<u32>) -> Result<Self, String> {
        const CONTEXTS: u32 = 16;
        let block_size = 32;
        if tokens.is_empty() {
            return Err("the tokenizer has no token for the null runner to repeat".into());
        }
        let blocks = max_context.div_ceil(block_size).saturating_mul(CONTEXTS);
        Ok(Self {
            capacity: Capacity { block_size, blocks, max_context, weight_bytes: 0, window: None },
            tokens,
        })
    }
}

impl Runner for NullRunner {
    fn capacity(&self) -> Capacity {
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

    fn finish(&mut self, batch: &Batch, masks: &[Mask]) -> Result<Outcome, RunnerError> {
        let mut masks = masks.iter();
        let mut outcome = Outcome::default();
        for row in &batch.rows {
            let mask = if row.masked { masks.next() } else { None };
            let from = row.tokens.end - row.samples.len();
            for at in from..row.tokens.end {
                let next = self.tokens[batch.positions[at] as usize % self.tokens.len()];
                outcome.tokens.push(mask.and_then(first_allowed).unwrap_or(next));
            }
            if let Some(Score { targets, .. }) = &row.score {
                let chosen = &outcome.tokens[outcome.tokens.len() - row.samples.len()..];
                let certain = |token: &u32| Scored { token: *token, ..Scored::default() };
                outcome.scores.push(targets.iter().chain(chosen).map(certain).collect());
            }
        }
        Ok(outcome)
    }
}

/// The lowest token that a mask allows.
fn first_allowed(mask: &Mask) -> Option<u32> {
    let at = mask.iter().position(|word| *word != 0)?;
    Some(at as u32 * 32 + mask[at].trailing_zeros())
}
