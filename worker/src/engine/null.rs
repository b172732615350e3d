//! A runner that generates without computing: what remains is the cost of everything around the model.

use super::runner::{Batch, Capacity, Runner, RunnerError};

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
        Ok(Self { capacity: Capacity { block_size, blocks, max_context, weight_bytes: 0 }, tokens })
    }
}

impl Runner for NullRunner {
    fn capacity(&self) -> Capacity {
        self.capacity
    }

    fn step(&mut self, batch: &Batch) -> Result<Vec<u32>, RunnerError> {
        let sampling = batch.rows.iter().filter(|row| row.sample.is_some());
        let last = sampling.map(|row| batch.positions[row.tokens.end - 1] as usize);
        Ok(last.map(|position| self.tokens[position % self.tokens.len()]).collect())
    }
}
