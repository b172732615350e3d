//! One request as the scheduler sees it: tokens, how far they are computed, and blocks.

use super::block_allocator::BlockTable;
use super::rng;
use super::runner::RowSampling;

/// Names a sequence within the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SequenceId(pub u64);

/// How a sequence's tokens are chosen, resolved and checked.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SamplingParams {
    /// See [`RowSampling`]; its random number is filled in for each token.
    pub row: RowSampling,
    /// Same seed, same text.
    pub seed: u64,
}

/// A request's tokens.
#[derive(Debug)]
pub struct Sequence {
    /// Its name.
    pub id: SequenceId,
    /// Prompt, then what was generated.
    pub(super) tokens: Vec<u32>,
    pub(super) prompt_len: usize,
    /// Tokens whose keys and values are in the pool.
    pub(super) computed: usize,
    pub(super) table: BlockTable,
    sampling: SamplingParams,
}

impl Sequence {
    /// A sequence whose prompt is not empty.
    pub fn new(id: SequenceId, prompt: Vec<u32>, sampling: SamplingParams, table: BlockTable) -> Self {
        Self { id, prompt_len: prompt.len(), tokens: prompt, computed: 0, table, sampling }
    }

    /// Tokens generated so far.
    pub fn generated(&self) -> usize {
        self.tokens.len() - self.prompt_len
    }

    /// Tokens in all.
    pub fn length(&self) -> usize {
        self.tokens.len()
    }

    /// Tokens that the next step could compute: one while decoding, more while prefilling.
    pub(super) fn pending(&self) -> usize {
        self.tokens.len() - self.computed
    }

    /// How to choose the next token. A pure function of seed and position, whatever else is in the batch.
    pub(super) fn row_sampling(&self) -> RowSampling {
        let uniform = rng::uniform(self.sampling.seed, self.generated() as u64);
        RowSampling { uniform, ..self.sampling.row }
    }
}
