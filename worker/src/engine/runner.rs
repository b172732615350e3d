//! What the engine needs of a device: run one ragged step.
//!
//! The engine knows sequences, tokens and block ids; a [`Runner`] knows weights, tensors and the KV pool. Neither
//! knows the other's half, so the scheduler is tested without a device and a device without a scheduler.

use std::ops::Range;

/// Index of a block in the KV pool.
pub type BlockId = u32;

/// The work of one step: the tokens of every row, flattened one after another.
///
/// `tokens`, `positions` and `slots` have the same length T. Each row is a run of them: one token for a decoding
/// sequence, several for a prefilling one. Rows lie in order and cover all of T.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    /// Token ids, `[T]`.
    pub tokens: Vec<u32>,
    /// Position of each token in its sequence, `[T]`.
    pub positions: Vec<u32>,
    /// Where each token's K and V go: `block_id * block_size + offset`, `[T]`; no slot twice.
    pub slots: Vec<u32>,
    /// The sequences.
    pub rows: Vec<Row>,
}

impl Batch {
    /// Empties it, keeping its memory.
    pub fn clear(&mut self) {
        self.tokens.clear();
        self.positions.clear();
        self.slots.clear();
        self.rows.clear();
    }
}

/// One sequence's part in a step.
#[derive(Debug, Clone)]
pub struct Row {
    /// Its tokens in the flattened batch; never empty.
    pub tokens: Range<usize>,
    /// The blocks that hold its KV, in order. Tokens at positions `0 .. last position of this row` lie in the first
    /// `ceil(context / block_size)` of them.
    pub blocks: Vec<BlockId>,
    /// How to choose the token after the row's last one; `None` while more of the prompt is to come.
    pub sample: Option<RowSampling>,
    /// What is done to the logits before that; no token twice.
    pub adjust: Vec<Adjust>,
}

/// A change to the logit of one token: `bias` is added, then `repetition` divides it where positive and multiplies it
/// where negative, then `penalty` is taken from it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Adjust {
    /// The token.
    pub token: u32,
    /// Neutral 0.
    pub bias: f32,
    /// Neutral 1; never 0.
    pub repetition: f32,
    /// Neutral 0.
    pub penalty: f32,
}

/// How one row's next token is chosen. All values are resolved and checked.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RowSampling {
    /// 0 is greedy: the rest is ignored.
    pub temperature: f32,
    /// In (0, 1]; 1 keeps all.
    pub top_p: f32,
    /// 0 keeps all.
    pub top_k: u32,
    /// In [0, 1]; 0 keeps all.
    pub min_p: f32,
    /// The row's random number for this position, uniform in [0, 1). A pure function of seed and position,
    /// so that a row's choice does not depend on its company.
    pub uniform: f32,
}

impl RowSampling {
    /// Takes the likeliest token.
    pub const GREEDY: Self = Self { temperature: 0.0, top_p: 1.0, top_k: 0, min_p: 0.0, uniform: 0.0 };
}

/// What a runner can hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capacity {
    /// Tokens in one KV block.
    pub block_size: u32,
    /// Blocks in the pool.
    pub blocks: u32,
    /// The model's own limit on prompt and output together, in tokens.
    pub max_context: u32,
    /// Bytes of weights in memory.
    pub weight_bytes: u64,
}

/// Runs steps on a device.
pub trait Runner {
    /// What it can hold; constant.
    fn capacity(&self) -> Capacity;

    /// Runs the model over `batch`, writes its K and V, and returns one token for each row that samples, in row order.
    ///
    /// # Errors
    /// When the device fails. The KV of the batch's rows is undefined then; other sequences' KV is not.
    fn step(&mut self, batch: &Batch) -> Result<Vec<u32>, RunnerError>;
}

impl<R: Runner + ?Sized> Runner for Box<R> {
    fn capacity(&self) -> Capacity {
        (**self).capacity()
    }

    fn step(&mut self, batch: &Batch) -> Result<Vec<u32>, RunnerError> {
        (**self).step(batch)
    }
}

/// A device failed.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct RunnerError(pub String);
