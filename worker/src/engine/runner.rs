//! What the engine needs of a device: run one ragged step.
//!
//! The engine knows sequences, tokens and block ids; a [`Runner`] knows weights, tensors and the KV pool. Neither
//! knows the other's half, so the scheduler is tested without a device and a device without a scheduler.

use std::ops::Range;

use ipc_proto::worker::Memory;

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
#[derive(Debug, Clone, Default)]
pub struct Row {
    /// Its tokens in the flattened batch; never empty.
    pub tokens: Range<usize>,
    /// The blocks that hold its KV, in order. Tokens at positions `0 .. last position of this row` lie in the first
    /// `ceil(context / block_size)` of them.
    pub blocks: Vec<BlockId>,
    /// How to choose the tokens after the row's last ones: none while more of the prompt is to come, else one, and one
    /// more for each drafted token that ends the row.
    pub samples: Vec<RowSampling>,
    /// What is done to the logits before that; no token twice. Only for rows that sample once.
    pub adjust: Vec<Adjust>,
    /// Whether a [`Mask`] comes for it. Only for rows that sample once.
    pub masked: bool,
    /// What is to be told of its log probabilities.
    pub score: Option<Score>,
}

/// Which log probabilities of a row are asked for: those of the model itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Score {
    /// With each token, so many likeliest.
    pub top: usize,
    /// Which token of the row the first target follows.
    pub first: usize,
    /// Tokens of the prompt that follow the row's, where they are scored too.
    pub targets: Vec<u32>,
}

/// A token's log probability, and the likeliest tokens at its place, likeliest first.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Scored {
    /// The token.
    pub token: u32,
    /// Its natural logarithm.
    pub logprob: f32,
    /// Tokens and theirs.
    pub top: Vec<(u32, f32)>,
}

/// Which tokens a row may choose: bit `t % 32` of word `t / 32` says it of token t.
pub type Mask = Vec<u32>;

/// What a step brought.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Outcome {
    /// The chosen tokens, as many as the rows have samples, in order.
    pub tokens: Vec<u32>,
    /// For each row with a [`Score`], in order: its targets, then what it chose.
    pub scores: Vec<Vec<Scored>>,
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
    /// Where this position's random numbers come from. A pure function of seed and position, so that a row's choice does not
    /// depend on its company.
    pub noise: u64,
}

impl RowSampling {
    /// Takes the likeliest token.
    pub const GREEDY: Self = Self { temperature: 0.0, top_p: 1.0, top_k: 0, min_p: 0.0, noise: 0 };
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
    /// Tokens that any layer sees at most, the newest included; `None` where one sees all.
    pub window: Option<u32>,
}

/// Runs steps on a device.
pub trait Runner {
    /// What it can hold; constant.
    fn capacity(&self) -> Capacity;

    /// Where memory goes now; `kv_used` is left to the caller, who knows which blocks are held.
    fn memory(&self) -> Memory;

    /// Lets the KV pool have at most `limit` blocks. Those from `used` on hold nothing: their memory is given back where the
    /// pool has grown that far, and with it freed buffers.
    ///
    /// # Errors
    /// When the device fails; the pool is as it was then, or smaller.
    fn resize(&mut self, limit: u32, used: u32) -> Result<(), RunnerError>;

    /// Begins a step: runs the model over `batch` and writes its K and V. May return before that is done.
    ///
    /// # Errors
    /// When the device fails. The KV of the batch's rows is undefined then; other sequences' KV is not.
    fn launch(&mut self, batch: &Batch) -> Result<(), RunnerError>;

    /// Ends the step that was begun for `batch`: chooses tokens. `masks` has one for each masked row, in order. (They come
    /// late, so that making them takes no time of its own.)
    ///
    /// # Errors
    /// As [`Self::launch`].
    fn finish(&mut self, batch: &Batch, masks: &[Mask]) -> Result<Outcome, RunnerError>;
}

impl<R: Runner + ?Sized> Runner for Box<R> {
    fn capacity(&self) -> Capacity {
        (**self).capacity()
    }

    fn memory(&self) -> Memory {
        (**self).memory()
    }

    fn resize(&mut self, limit: u32, used: u32) -> Result<(), RunnerError> {
        (**self).resize(limit, used)
    }

    fn launch(&mut self, batch: &Batch) -> Result<(), RunnerError> {
        (**self).launch(batch)
    }

    fn finish(&mut self, batch: &Batch, masks: &[Mask]) -> Result<Outcome, RunnerError> {
        (**self).finish(batch, masks)
    }
}

/// A device failed.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct RunnerError(pub String);
