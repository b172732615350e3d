//! The interface between engine and device: run one ragged step.
//!
//! The engine knows sequences, tokens and block ids; a [`Runner`] knows weights, tensors and the KV pool. So tests can run
//! the scheduler without a device, and a device without the scheduler.

use std::ops::Range;
use std::sync::Arc;

use image_input::Prepared;
use ipc_proto::worker::Memory;

/// Index of a block in the KV pool.
pub type BlockId = u32;

/// Names a recurrent state. No name is used twice.
pub type StateId = u64;

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
    /// Time, row and column of each token, `[T]`, if they are not its position for all tokens; empty otherwise.
    pub axes: Vec<[u32; 3]>,
    /// Slot of each token's K and V: `block_id * block_size + offset`, `[T]`; all distinct.
    pub slots: Vec<u32>,
    /// One per sequence in the step.
    pub rows: Vec<Row>,
}

impl Batch {
    /// Empties the batch; keeps its allocations.
    pub fn clear(&mut self) {
        self.tokens.clear();
        self.positions.clear();
        self.axes.clear();
        self.slots.clear();
        self.rows.clear();
    }
}

/// One sequence's part of a step.
#[derive(Debug, Clone, Default)]
pub struct Row {
    /// Range in the flattened batch; never empty.
    pub tokens: Range<usize>,
    /// The blocks that hold the sequence's KV, in order. Tokens at positions `0 .. last position of this row` lie in the
    /// first `ceil(context / block_size)` of them.
    pub blocks: Vec<BlockId>,
    /// The text is longer than [`RunnerCapacity::original_context`].
    pub extended: bool,
    /// The recurrent states, if the model has any.
    pub state: Option<RowState>,
    /// Images of which tokens are in the row.
    pub images: Vec<RowImage>,
    /// Sampling parameters of the next tokens. Empty if more of the prompt follows; otherwise one, plus one per drafted
    /// token at the end of the row.
    pub samples: Vec<RowSampling>,
    /// Logit adjustments before sampling; token ids are distinct. Only for rows with one sample.
    pub adjust: Vec<LogitAdjustment>,
    /// Whether a [`TokenMask`] applies. Only for rows with one sample.
    pub masked: bool,
    /// The log probabilities to return, if any.
    pub score: Option<ScoreRequest>,
}

/// An image of which tokens are in a row.
#[derive(Debug, Clone)]
pub struct RowImage {
    /// What the vision tower takes.
    pub image: Arc<Prepared>,
    /// The index in the batch of each token that stands for it.
    pub tokens: Vec<u32>,
    /// Which of its features these are, in order.
    pub features: Range<u32>,
}

/// The recurrent states of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowState {
    /// The state before its first token; `None` at the start of a text.
    pub before: Option<StateId>,
    /// The name of the state after its last token.
    pub after: StateId,
    /// `after` may outlive those of the other rows.
    pub keep: bool,
}

/// Requests log probabilities of a row: the model's own, before adjustments and filters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ScoreRequest {
    /// Number of most likely tokens per position.
    pub top: usize,
    /// Index in the row of the token before the first target.
    pub first: usize,
    /// Prompt tokens to score: each follows a token of the row.
    pub targets: Vec<u32>,
}

/// A token's log probability, and the most likely tokens at its position in descending order.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TokenScore {
    /// Token id.
    pub token: u32,
    /// Natural logarithm of the probability.
    pub logprob: f32,
    /// Token ids and log probabilities.
    pub top: Vec<(u32, f32)>,
}

/// The tokens that a row may sample: bit `t % 32` of word `t / 32` is set if token t is allowed.
pub type TokenMask = Vec<u32>;

/// Stands for the token of a row whose logits are no finite numbers. No vocabulary is so large.
pub const NO_TOKEN: u32 = u32::MAX;

/// The result of a step.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct StepOutcome {
    /// The sampled tokens in row order, one per sample. [`NO_TOKEN`] where the model computes no numbers.
    pub tokens: Vec<u32>,
    /// For each row with a [`ScoreRequest`], in order: its targets, then its sampled tokens.
    pub scores: Vec<Vec<TokenScore>>,
}

/// A change to the logit of one token: first add `bias`; then divide by `repetition` if positive, multiply if negative;
/// then subtract `penalty`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LogitAdjustment {
    /// Token id.
    pub token: u32,
    /// Neutral: 0.
    pub bias: f32,
    /// Neutral: 1; never 0.
    pub repetition: f32,
    /// Neutral: 0.
    pub penalty: f32,
}

/// Sampling parameters of one token, resolved and validated.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RowSampling {
    /// 0 is greedy; the other fields are then ignored.
    pub temperature: f32,
    /// In (0, 1]; 1 keeps all.
    pub top_p: f32,
    /// 0 keeps all.
    pub top_k: u32,
    /// In [0, 1]; 0 keeps all.
    pub min_p: f32,
    /// Seed of this position's random numbers. A pure function of request seed and position, so that a sample does not
    /// depend on the other rows of the batch.
    pub noise: u64,
}

impl RowSampling {
    /// Takes the most likely token.
    pub const GREEDY: Self = Self { temperature: 0.0, top_p: 1.0, top_k: 0, min_p: 0.0, noise: 0 };
}

/// The sizes of a loaded model and its KV pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunnerCapacity {
    /// Tokens in one KV block.
    pub block_size: u32,
    /// Blocks in the pool.
    pub blocks: u32,
    /// The model's limit on prompt plus output, in tokens.
    pub max_context: u32,
    /// Bytes of weights in memory.
    pub weight_bytes: u64,
    /// Largest attention window of any layer, in tokens, the newest included; `None` if a layer attends to all.
    pub window: Option<u32>,
    /// Longest text, in tokens, with the rotary factors of short texts. KV of the two kinds does not mix. `None` if there is one
    /// kind.
    pub original_context: Option<u32>,
    /// Blocks that a recurrent state of the model counts as; `None` if it has none.
    pub blocks_per_state: Option<u32>,
    /// Most tokens of an image, if they attend to each other; `None` if they attend to those before them, like text. A step computes
    /// such an image as a whole.
    pub whole_images: Option<u32>,
}

/// Runs steps on a device.
pub trait Runner {
    /// Constant after loading.
    fn capacity(&self) -> RunnerCapacity;

    /// Current memory use. The caller sets `kv_used`: only it knows which blocks are held.
    fn memory(&self) -> Memory;

    /// Limits the KV pool to `limit` blocks. Blocks from `used` on hold nothing; their memory is freed, along with cached
    /// buffers.
    ///
    /// # Errors
    /// When the device fails; the pool is then unchanged or smaller.
    fn resize(&mut self, limit: u32, used: u32) -> Result<(), RunnerError>;

    /// Frees recurrent states that no row will read.
    fn forget_states(&mut self, _states: &[StateId]) {}

    /// Starts a step: runs the model over `batch` and writes its K and V. May return before the device is done.
    ///
    /// # Errors
    /// When the device fails. Then the KV of the batch's rows is undefined; that of other sequences is intact.
    fn launch(&mut self, batch: &Batch) -> Result<(), RunnerError>;

    /// Ends the step started for `batch`: samples tokens. `masks` has one mask per masked row, in order. They come this late
    /// so that the engine can build them while the device computes.
    ///
    /// # Errors
    /// As [`Self::launch`].
    fn finish(&mut self, batch: &Batch, masks: &[TokenMask]) -> Result<StepOutcome, RunnerError>;
}

impl<R: Runner + ?Sized> Runner for Box<R> {
    fn capacity(&self) -> RunnerCapacity {
        (**self).capacity()
    }

    fn memory(&self) -> Memory {
        (**self).memory()
    }

    fn resize(&mut self, limit: u32, used: u32) -> Result<(), RunnerError> {
        (**self).resize(limit, used)
    }

    fn forget_states(&mut self, states: &[StateId]) {
        (**self).forget_states(states);
    }

    fn launch(&mut self, batch: &Batch) -> Result<(), RunnerError> {
        (**self).launch(batch)
    }

    fn finish(&mut self, batch: &Batch, masks: &[TokenMask]) -> Result<StepOutcome, RunnerError> {
        (**self).finish(batch, masks)
    }
}

/// A device failure.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct RunnerError(pub String);
