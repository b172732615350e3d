//! One request as the scheduler sees it: tokens, how far they are computed, and blocks.

use super::block_allocator::{BlockAllocator, BlockTable, Pending};
use super::penalties::{Adjustments, Penalties};
use super::prefix_cache::ChainHash;
use super::rng;
use super::runner::{Adjust, RowSampling};

/// Names a sequence within the engine; ids ascend in order of arrival.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SequenceId(pub u64);

/// How a sequence's tokens are chosen, resolved and checked.
#[derive(Debug, Clone, PartialEq)]
pub struct SamplingParams {
    /// See [`RowSampling`]; its random number is filled in for each token.
    pub row: RowSampling,
    /// Same seed, same text.
    pub seed: u64,
    /// What is done to the logits before.
    pub penalties: Penalties,
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
    /// Hashes of its full blocks, as far as they were needed.
    chain: Vec<ChainHash>,
    /// Prompt tokens that it found computed when it first ran; `None` before that.
    cached: Option<u32>,
    row: RowSampling,
    seed: u64,
    adjustments: Adjustments,
}

impl Sequence {
    /// A sequence whose prompt is not empty.
    pub(super) fn new(id: SequenceId, tokens: Vec<u32>, sampling: SamplingParams, table: BlockTable) -> Self {
        let SamplingParams { row, seed, penalties } = sampling;
        let adjustments = Adjustments::new(penalties, &tokens);
        Self {
            id,
            prompt_len: tokens.len(),
            tokens,
            computed: 0,
            table,
            chain: Vec::new(),
            cached: None,
            row,
            seed,
            adjustments,
        }
    }

    /// Takes over what is computed of its text already; at least its last token is left to compute.
    ///
    /// # Errors
    /// When another sequence is computing more of it.
    pub(super) fn adopt(&mut self, blocks: &BlockAllocator) -> Result<(), Pending> {
        blocks.extend_chain(&mut self.chain, &self.tokens);
        let most = blocks.whole_blocks(self.tokens.len() - 1).min(self.chain.len());
        self.computed = blocks.tokens_in(self.table.adopt(&self.chain[..most])?);
        Ok(())
    }

    /// It runs: others that begin alike may wait for its prompt.
    pub(super) fn started(&mut self) {
        self.cached.get_or_insert(self.computed as u32);
        self.table.announce(&self.chain, 0, false);
    }

    /// `count` more tokens are computed, and their full blocks are there for others.
    pub(super) fn advance(&mut self, count: usize, blocks: &BlockAllocator) {
        let before = blocks.whole_blocks(self.computed);
        self.computed += count;
        let now = blocks.whole_blocks(self.computed);
        if now > before {
            blocks.extend_chain(&mut self.chain, &self.tokens[..self.computed]);
            self.table.announce(&self.chain[..now], before, true);
        }
    }

    /// Gives its blocks back; it is computed again later.
    pub(super) fn preempt(&mut self) {
        self.table.clear();
        self.computed = 0;
    }

    /// Prompt tokens that were computed for others before.
    pub(super) fn cached(&self) -> u32 {
        self.cached.unwrap_or(0).min(self.prompt_len as u32)
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
        let uniform = rng::uniform(self.seed, self.generated() as u64);
        RowSampling { uniform, ..self.row }
    }

    /// What to do to the next token's logits.
    pub(super) fn adjust(&self) -> Vec<Adjust> {
        self.adjustments.now()
    }

    /// Goes on with `token`.
    pub(super) fn push(&mut self, token: u32) {
        self.tokens.push(token);
        self.adjustments.push(token);
    }
}
