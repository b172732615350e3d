//! One request as the scheduler sees it: its tokens, how many are computed, and its blocks.

use std::sync::Arc;

use ipc_proto::generate::{Logprobs, Priority};

use super::block_allocator::{BlockAllocator, BlockTable, Cached, Pending};
use super::drafts;
use super::fair_share::Share;
use super::images::PromptImages;
use super::penalties::{Adjustments, Penalties};
use super::prefix_cache::ChainHash;
use super::rng;
use super::runner::{LogitAdjustment, RowSampling, RowState, RunnerCapacity, ScoreRequest};
use super::state_pool::{State, StatePool};

/// Unique within the engine; ids ascend in order of arrival.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SequenceId(pub u64);

/// Sampling parameters of a request, resolved and validated.
#[derive(Debug, Clone, PartialEq)]
pub struct SamplingParams {
    /// Template of each row; `noise` is set per token.
    pub row: RowSampling,
    /// The same seed gives the same text.
    pub seed: u64,
    /// Applied to the logits before sampling.
    pub penalties: Penalties,
    /// The first tokens of the output, among which none of `ends` may occur.
    pub min_tokens: u32,
    /// End-of-turn tokens.
    pub ends: Arc<[u32]>,
}

/// A request to the scheduler. Admission has validated it.
#[derive(Debug, Clone, PartialEq)]
pub struct SequenceParams {
    /// Neither empty nor too long.
    pub prompt: Vec<u32>,
    /// The images in it, in order.
    pub images: PromptImages,
    /// Tokens that another worker generated; the output continues after them.
    pub generated: Vec<u32>,
    /// See [`SamplingParams`].
    pub sampling: SamplingParams,
    /// Priority class in the queue.
    pub priority: Priority,
    /// Whose request it is: see [`ipc_proto::generate::Submission::tenant`].
    pub tenant: u64,
    /// The prefix cache shares blocks only within a scope.
    pub cache_scope: String,
    /// Log probabilities to return, if any.
    pub logprobs: Option<Logprobs>,
    /// Index of the first prompt token to score, if the prompt is scored.
    pub scored_from: usize,
    /// Whether a token mask restricts each sample.
    pub masked: bool,
}

/// A waiting or running sequence.
#[derive(Debug)]
pub struct Sequence {
    /// Its id in the scheduler.
    pub id: SequenceId,
    /// Prompt, then generated tokens.
    pub(super) tokens: Vec<u32>,
    pub(super) prompt_len: usize,
    pub(super) images: PromptImages,
    /// Number of tokens whose KV is in the pool.
    pub(super) computed: usize,
    pub(super) table: BlockTable,
    /// The recurrent state after the computed tokens, if the model has states and tokens are computed.
    pub(super) state: Option<State>,
    /// The state that the current step makes.
    pub(super) next_state: Option<State>,
    /// The last snapshot that it made while decoding. The next one replaces it.
    snapshot: Option<ChainHash>,
    pub(super) precedence: Precedence,
    scope: ChainHash,
    /// The text is longer than the model's original context: see [`RunnerCapacity::original_context`].
    pub(super) extended: bool,
    /// Hashes of its full blocks, computed on demand.
    chain: Vec<ChainHash>,
    /// Prefix cache hit when it first joined; `None` before that.
    found: Option<PrefixHit>,
    row: RowSampling,
    seed: u64,
    adjustments: Adjustments,
    min_tokens: u32,
    ends: Arc<[u32]>,
    logprobs: Option<Logprobs>,
    /// Number of prompt tokens that need no score any more. At least 1: the first token has no log probability.
    scored: usize,
    pub(super) masked: bool,
    /// The mask for its next token is not known yet.
    pub(super) held: bool,
    /// Proposals of the draft model for the next tokens.
    pub(super) proposed: Vec<u32>,
    /// Number of tokens whose KV the draft model has.
    pub(super) drafted: usize,
}

/// Determines the order of sequences.
#[derive(Debug, Clone, Copy)]
pub(super) struct Precedence {
    /// Priority class; lower is earlier.
    pub(super) class: u8,
    /// Step at which it arrived.
    pub(super) arrived: u64,
    /// Its tenant's share.
    pub(super) share: Share,
    /// While waiting among several tenants: when it is its turn within its rank. Lower is earlier.
    pub(super) turn: u64,
    /// While running: its rank when it joined, and the number of sequences that had joined before.
    pub(super) joined: (u8, u64),
}

/// The result of the prefix cache lookup for a prompt.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PrefixHit {
    /// Prompt tokens found.
    pub tokens: u32,
    /// Further prompt tokens that were inserted for later requests.
    pub inserted: u32,
    /// Whether the first missing block was in the cache before and was evicted.
    pub evicted_before: bool,
}

impl Sequence {
    /// A sequence that arrives at step `since`, with its tenant's share.
    pub(super) fn new(
        id: SequenceId,
        order: SequenceParams,
        (since, share): (u64, Share),
        blocks: &BlockAllocator,
    ) -> Self {
        let SequenceParams {
            prompt,
            images,
            generated,
            sampling,
            priority,
            tenant: _,
            cache_scope,
            logprobs,
            scored_from,
            masked,
        } = order;
        let SamplingParams { row, seed, penalties, min_tokens, ends } = sampling;
        let adjustments = Adjustments::new(penalties, &prompt);
        let mut sequence = Self {
            id,
            prompt_len: prompt.len(),
            tokens: prompt,
            images,
            computed: 0,
            table: blocks.table(),
            state: None,
            next_state: None,
            snapshot: None,
            precedence: Precedence { class: priority as u8, arrived: since, share, turn: 0, joined: (0, 0) },
            scope: blocks.scope(&cache_scope),
            extended: false,
            chain: Vec::new(),
            found: None,
            row,
            seed,
            adjustments,
            min_tokens,
            ends,
            logprobs,
            scored: scored_from.max(1),
            masked,
            held: false,
            proposed: Vec::new(),
            drafted: 0,
        };
        generated.into_iter().for_each(|token| sequence.push(token));
        sequence
    }

    /// Looks up its text in the prefix cache. At least its last token is left to compute. A model with `states` can only
    /// continue from a snapshot, and one that sees `whole_images` not within an image.
    ///
    /// # Errors
    /// When another sequence is computing more of the text.
    pub(super) fn find(
        &mut self,
        blocks: &BlockAllocator,
        states: Option<&StatePool>,
        capacity: &RunnerCapacity,
    ) -> Result<Cached, Pending> {
        let window = capacity.window;
        blocks.extend_chain(&mut self.chain, self.scope, &self.tokens, &self.images);
        let chain = &self.chain[..self.adoptable(blocks)];
        let mut cached = blocks.find(chain, window)?;
        if capacity.whole_images.is_some() {
            cached = blocks.find(&chain[..self.up_to_images(cached.blocks, blocks)], window)?;
        }
        let Some(states) = states else { return Ok(cached) };
        let cached = &chain[..cached.blocks as usize];
        let reach = cached.iter().rposition(|text| states.contains(*text)).map_or(0, |at| at + 1);
        blocks.find(&cached[..reach], window)
    }

    /// Full blocks that it may adopt. The tokens before one to score must be computed, the last of them at least.
    fn adoptable(&self, blocks: &BlockAllocator) -> usize {
        let needed = if self.scores_prompt() { self.scored } else { self.tokens.len() };
        blocks.whole_blocks(needed - 1).min(self.chain.len())
    }

    /// How many of its first `count` blocks it may adopt so that no image is split.
    fn up_to_images(&self, count: u32, blocks: &BlockAllocator) -> usize {
        let mut count = count as usize;
        loop {
            let tokens = blocks.tokens_in(count as u32);
            match self.images.whole_end(0..tokens) {
                end if end == tokens => return count,
                end if end < tokens => count = blocks.whole_blocks(end),
                _ => return 0,
            }
        }
    }

    /// Pending prompt tokens whose successors need no score.
    pub(super) fn pending_unscored(&self) -> usize {
        (self.scored - 1).saturating_sub(self.computed)
    }

    /// Whether prompt tokens remain to be scored.
    pub(super) fn scores_prompt(&self) -> bool {
        self.logprobs.is_some_and(|logprobs| logprobs.prompt) && self.scored < self.prompt_len
    }

    /// Adopts the blocks of its text that [`Self::find`] found, and the state after them.
    pub(super) fn join(
        &mut self,
        blocks: &BlockAllocator,
        states: Option<&StatePool>,
        cached: Cached,
        window: Option<u32>,
    ) {
        let adopted = &self.chain[..cached.blocks as usize];
        self.table.adopt(adopted);
        self.state = states.and_then(|states| states.find(*adopted.last()?));
        self.computed = blocks.tokens_in(cached.blocks);
        self.drafted = self.computed;
        if self.found.is_none() {
            let prompt = blocks.whole_blocks(self.prompt_len - 1).min(self.chain.len());
            let evicted_before =
                blocks.record_lookup(&self.chain[..prompt], self.table.blocks().len().min(prompt));
            let inserted = blocks.tokens_in(prompt as u32).saturating_sub(self.computed) as u32;
            self.found = Some(PrefixHit { tokens: self.computed as u32, inserted, evicted_before });
        }
        if let Some(window) = window {
            self.release_outside_window(window, blocks);
        }
    }

    /// Publishes the hashes of its blocks from index `from` on as pending, so that others can wait for them.
    pub(super) fn publish_blocks(&self, from: usize) {
        self.table.publish(&self.chain, from, false);
    }

    /// Marks `count` more tokens as computed, and their full blocks as ready for others.
    pub(super) fn advance(&mut self, count: usize, blocks: &BlockAllocator) {
        let before = blocks.whole_blocks(self.computed);
        self.computed += count;
        self.scored = self.scored.max((self.computed + 1).min(self.prompt_len));
        let now = blocks.whole_blocks(self.computed);
        if now > before {
            blocks.extend_chain(&mut self.chain, self.scope, &self.tokens[..self.computed], &self.images);
            self.table.publish(&self.chain[..now], before, true);
        }
    }

    /// How many of the next `count` tokens a step computes that splits no image. More than `count` if it begins with one.
    pub(super) fn up_to_image(&self, count: usize) -> usize {
        self.images.whole_end(self.computed..self.computed + count) - self.computed
    }

    /// How many of the next `count` tokens a step of a model with states computes. It ends at a block border where others can
    /// continue, if it reaches one.
    pub(super) fn up_to_border(&self, count: usize, blocks: &BlockAllocator) -> usize {
        let last = blocks.whole_blocks(self.tokens.len() - 1);
        let border = blocks.tokens_in(blocks.whole_blocks(self.computed + count).min(last) as u32);
        if border > self.computed { border - self.computed } else { count }
    }

    /// The states of a step that computes the next `count` tokens.
    pub(super) fn begin_state(
        &mut self,
        count: usize,
        blocks: &BlockAllocator,
        states: &StatePool,
    ) -> RowState {
        let end = self.computed + count;
        let next = states.take();
        let keep = blocks.tokens_in(blocks.whole_blocks(end) as u32) == end;
        let row = RowState { before: self.state.as_ref().map(State::id), after: next.id(), keep };
        self.next_state = Some(next);
        row
    }

    /// Takes over the state that the step made, after its tokens have been counted. At a block border it becomes a snapshot.
    pub(super) fn end_state(&mut self, blocks: &BlockAllocator, states: &StatePool) {
        self.state = self.next_state.take();
        let whole = blocks.whole_blocks(self.computed);
        let text = whole.checked_sub(1).and_then(|last| self.chain.get(last)).copied();
        let (Some(text), Some(state)) = (text, &self.state) else { return };
        if blocks.tokens_in(whole as u32) < self.computed {
            return;
        }
        states.publish(text, state);
        if self.computed > self.prompt_len
            && let Some(before) = self.snapshot.replace(text)
        {
            states.withdraw(before);
        }
    }

    /// Frees blocks outside the attention window of the next token. They stay in the prefix cache for others.
    pub(super) fn release_outside_window(&mut self, window: u32, blocks: &BlockAllocator) {
        self.table.release_first(blocks.blocks_outside_window(window, self.computed));
    }

    /// Frees its blocks; all tokens are pending again.
    pub(super) fn preempted(mut self) -> Self {
        self.table.clear();
        (self.state, self.next_state) = (None, None);
        self.computed = 0;
        self.drafted = 0;
        self.proposed.clear();
        self.held = false;
        self
    }

    /// Marks the text as longer than the model's original context. Its tokens are computed anew.
    pub(super) fn into_extended(self, blocks: &BlockAllocator) -> Self {
        let scope = blocks.extended_scope(self.scope);
        Self { extended: true, scope, chain: Vec::new(), ..self.preempted() }
    }

    /// The prefix cache hit of its prompt.
    pub(super) fn prefix_hit(&self) -> PrefixHit {
        let found = self.found.unwrap_or_default();
        PrefixHit { tokens: found.tokens.min(self.prompt_len as u32), ..found }
    }

    /// Number of generated tokens.
    pub fn generated(&self) -> usize {
        self.tokens.len() - self.prompt_len
    }

    /// Number of tokens, prompt included.
    pub fn length(&self) -> usize {
        self.tokens.len()
    }

    /// Tokens not computed yet: one while decoding, more while prefilling.
    pub(super) fn pending(&self) -> usize {
        self.tokens.len() - self.computed
    }

    /// Sampling parameters of the token `ahead` positions after the next. A pure function of seed and position, independent
    /// of the batch.
    pub(super) fn row_sampling(&self, ahead: usize) -> RowSampling {
        let noise = rng::noise(self.seed, (self.generated() + ahead) as u64);
        RowSampling { noise, ..self.row }
    }

    /// Adjustments of the next token's logits.
    pub(super) fn logit_adjustments(&self) -> Vec<LogitAdjustment> {
        let mut adjust = self.adjustments.current();
        if self.is_below_min_tokens() {
            let never = |token: &u32| LogitAdjustment {
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

    /// Whether end tokens are still forbidden.
    fn is_below_min_tokens(&self) -> bool {
        self.generated() < self.min_tokens as usize
    }

    /// Up to `count` drafts from its own text; none if it cannot use drafts.
    pub(super) fn drafts(&self, count: usize) -> &[u32] {
        if self.can_draft() { drafts::look_up(&self.tokens, count) } else { &[] }
    }

    /// Whether its samples depend on the preceding text only, so that several can be taken in one step.
    pub(super) fn can_draft(&self) -> bool {
        !self.masked && self.logprobs.is_none() && !self.is_below_min_tokens() && self.adjustments.is_empty()
    }

    /// The log probabilities needed from a step that computes the next `count` tokens.
    pub(super) fn score_request(&self, count: usize) -> Option<ScoreRequest> {
        let logprobs = self.logprobs?;
        let end = (self.computed + count + 1).min(self.prompt_len);
        let from = self.scored.max(self.computed + 1);
        let targets =
            if logprobs.prompt && from < end { self.tokens[from..end].to_vec() } else { Vec::new() };
        Some(ScoreRequest { top: usize::from(logprobs.top), first: from - self.computed - 1, targets })
    }

    /// Appends a generated token.
    pub(super) fn push(&mut self, token: u32) {
        self.tokens.push(token);
        self.adjustments.push(token);
    }
}
