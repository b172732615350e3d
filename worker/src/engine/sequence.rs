//! One request as the scheduler sees it: tokens, how far they are computed, and blocks.

use std::sync::Arc;

use ipc_proto::generate::{Logprobs, Priority};

use super::block_allocator::{BlockAllocator, BlockTable, Cached, Pending};
use super::drafts;
use super::penalties::{Adjustments, Penalties};
use super::prefix_cache::ChainHash;
use super::rng;
use super::runner::{Adjust, RowSampling, Score};

/// Names a sequence within the engine; ids ascend in order of arrival.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SequenceId(pub u64);

/// How a sequence's tokens are chosen, resolved and checked.
#[derive(Debug, Clone, PartialEq)]
pub struct SamplingParams {
    /// See [`RowSampling`]; its noise is filled in for each token.
    pub row: RowSampling,
    /// Same seed, same text.
    pub seed: u64,
    /// What is done to the logits before.
    pub penalties: Penalties,
    /// Tokens before which none of `ends` comes.
    pub min_tokens: u32,
    /// Tokens that end the turn.
    pub ends: Arc<[u32]>,
}

/// What the scheduler is asked to run. All of it was checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Order {
    /// Neither empty nor too long.
    pub prompt: Vec<u32>,
    /// What was generated of it elsewhere: the output goes on from there.
    pub generated: Vec<u32>,
    /// How tokens are chosen.
    pub sampling: SamplingParams,
    /// Who goes first.
    pub priority: Priority,
    /// Texts of other scopes are not shared.
    pub cache_scope: String,
    /// Log probabilities that are told.
    pub logprobs: Option<Logprobs>,
    /// Whether a mask says which tokens may come.
    pub masked: bool,
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
    pub(super) turn: Turn,
    scope: ChainHash,
    /// Hashes of its full blocks, as far as they were needed.
    chain: Vec<ChainHash>,
    /// What it found in the prefix cache when it first ran; `None` before that.
    found: Option<FoundInCache>,
    row: RowSampling,
    seed: u64,
    adjustments: Adjustments,
    min_tokens: u32,
    ends: Arc<[u32]>,
    logprobs: Option<Logprobs>,
    /// Prompt tokens whose log probabilities were told, where they are asked for; the first has none.
    scored: usize,
    pub(super) masked: bool,
    /// Tokens that a second model proposes to come next.
    pub(super) proposed: Vec<u32>,
    /// Tokens whose keys and values that model has.
    pub(super) drafted: usize,
}

/// When it is a sequence's turn.
#[derive(Debug, Clone, Copy)]
pub(super) struct Turn {
    /// Its class: the lower, the earlier.
    pub(super) class: u8,
    /// The step at which it arrived.
    pub(super) since: u64,
    /// While running: its rank when it joined, and how many had joined before.
    pub(super) joined: (u8, u64),
}

/// What the prefix cache had of a prompt.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FoundInCache {
    /// Tokens that were there.
    pub tokens: u32,
    /// Others that were entered, for who comes later.
    pub entered: u32,
    /// Whether the block that follows had been there once and was given up for room.
    pub given_up: bool,
}

impl Sequence {
    /// A sequence that arrives at step `since`.
    pub(super) fn new(id: SequenceId, order: Order, since: u64, blocks: &BlockAllocator) -> Self {
        let Order { prompt, generated, sampling, priority, cache_scope, logprobs, masked } = order;
        let SamplingParams { row, seed, penalties, min_tokens, ends } = sampling;
        let adjustments = Adjustments::new(penalties, &prompt);
        let mut sequence = Self {
            id,
            prompt_len: prompt.len(),
            tokens: prompt,
            computed: 0,
            table: blocks.table(),
            turn: Turn { class: priority as u8, since, joined: (0, 0) },
            scope: blocks.scope(&cache_scope),
            chain: Vec::new(),
            found: None,
            row,
            seed,
            adjustments,
            min_tokens,
            ends,
            logprobs,
            scored: 1,
            masked,
            proposed: Vec::new(),
            drafted: 0,
        };
        generated.into_iter().for_each(|token| sequence.push(token));
        sequence
    }

    /// What is computed of its text already; at least its last token is left to compute.
    ///
    /// # Errors
    /// When another sequence is computing more of it.
    pub(super) fn find(&mut self, blocks: &BlockAllocator, window: Option<u32>) -> Result<Cached, Pending> {
        blocks.extend_chain(&mut self.chain, self.scope, &self.tokens);
        blocks.find(&self.chain[..self.adoptable(blocks)], window)
    }

    /// Full blocks that it may take over. What is to be scored has to be computed.
    fn adoptable(&self, blocks: &BlockAllocator) -> usize {
        if self.scores_prompt() {
            return 0;
        }
        blocks.whole_blocks(self.tokens.len() - 1).min(self.chain.len())
    }

    /// Whether log probabilities of its prompt are still to be told.
    pub(super) fn scores_prompt(&self) -> bool {
        self.logprobs.is_some_and(|logprobs| logprobs.prompt) && self.scored < self.prompt_len
    }

    /// Joins: takes over what is computed of its text. Others that begin alike may wait for its prompt.
    pub(super) fn join(&mut self, blocks: &BlockAllocator, window: Option<u32>) {
        let adoptable = self.adoptable(blocks);
        self.table.adopt(&self.chain[..adoptable]);
        self.computed = blocks.tokens_in(self.table.blocks().len() as u32);
        self.drafted = self.computed;
        if self.found.is_none() {
            let prompt = blocks.whole_blocks(self.prompt_len - 1).min(self.chain.len());
            let given_up = blocks.count(&self.chain[..prompt], self.table.blocks().len().min(prompt));
            let entered = blocks.tokens_in(prompt as u32).saturating_sub(self.computed) as u32;
            self.found = Some(FoundInCache { tokens: self.computed as u32, entered, given_up });
        }
        if let Some(window) = window {
            self.forget(window, blocks);
        }
    }

    /// It has blocks for what it will compute: the text of those from the one numbered `from` on is announced.
    pub(super) fn announce(&self, from: usize) {
        self.table.announce(&self.chain, from, false);
    }

    /// `count` more tokens are computed, and their full blocks are there for others.
    pub(super) fn advance(&mut self, count: usize, blocks: &BlockAllocator) {
        let before = blocks.whole_blocks(self.computed);
        self.computed += count;
        self.scored = self.scored.max((self.computed + 1).min(self.prompt_len));
        let now = blocks.whole_blocks(self.computed);
        if now > before {
            blocks.extend_chain(&mut self.chain, self.scope, &self.tokens[..self.computed]);
            self.table.announce(&self.chain[..now], before, true);
        }
    }

    /// Gives back the blocks that its next token is too far from to see. They stay in the prefix cache for others.
    pub(super) fn forget(&mut self, window: u32, blocks: &BlockAllocator) {
        self.table.release(blocks.behind(window, self.computed));
    }

    /// Gives its blocks back; it is computed again later.
    pub(super) fn preempted(mut self) -> Self {
        self.table.clear();
        self.computed = 0;
        self.drafted = 0;
        self.proposed.clear();
        self
    }

    /// What the prefix cache had of its prompt.
    pub(super) fn found(&self) -> FoundInCache {
        let found = self.found.unwrap_or_default();
        FoundInCache { tokens: found.tokens.min(self.prompt_len as u32), ..found }
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

    /// How to choose the token that comes `ahead` after the next. A pure function of seed and position, whatever else is in
    /// the batch.
    pub(super) fn row_sampling(&self, ahead: usize) -> RowSampling {
        let noise = rng::noise(self.seed, (self.generated() + ahead) as u64);
        RowSampling { noise, ..self.row }
    }

    /// What to do to the next token's logits.
    pub(super) fn adjust(&self) -> Vec<Adjust> {
        let mut adjust = self.adjustments.now();
        if self.holds_on() {
            let never = |token: &u32| Adjust {
                token: *token,
                bias: f32::NEG_INFINITY,
                repetition: 1.0,
                penalty: 0.0,
            };
            adjust.retain(|adjust| !self.ends.contains(&adjust.token));
            adjust.extend(self.ends.iter().map(never));
        }
        adjust
    }

    /// Whether it may not end yet.
    fn holds_on(&self) -> bool {
        self.generated() < self.min_tokens as usize
    }

    /// Up to `count` tokens that may come next, found in its own text; none where a choice depends on the one before.
    pub(super) fn drafts(&self, count: usize) -> &[u32] {
        match self.may_draft() {
            true => drafts::look_up(&self.tokens, count),
            false => &[],
        }
    }

    /// Whether its next choices depend on nothing but the text before them.
    pub(super) fn may_draft(&self) -> bool {
        !self.masked && self.logprobs.is_none() && !self.holds_on() && self.adjustments.is_empty()
    }

    /// What to tell of the log probabilities of a step that computes the next `count` tokens.
    pub(super) fn score(&self, count: usize) -> Option<Score> {
        let logprobs = self.logprobs?;
        let end = (self.computed + count + 1).min(self.prompt_len);
        let from = self.scored.max(self.computed + 1);
        let targets =
            if logprobs.prompt && from < end { self.tokens[from..end].to_vec() } else { Vec::new() };
        Some(Score { top: usize::from(logprobs.top), first: from - self.computed - 1, targets })
    }

    /// Goes on with `token`.
    pub(super) fn push(&mut self, token: u32) {
        self.tokens.push(token);
        self.adjustments.push(token);
    }
}
