//! Decides what each step computes. Pure: sequences and block ids, no tensors, no clock, no I/O.
//!
//! Continuous batching with chunked prefill. A step serves every running sequence. One that decodes gets one token, and
//! one that prefills gets as much of its prompt as the token budget allows. Waiting sequences join while there are blocks
//! for all of their tokens.
//!
//! Order: by priority class, then by arrival. Where several tenants wait, the one that has had the fewest tokens is next
//! within a class. A sequence that waits long enough counts as the next higher class. When blocks run out, the scheduler preempts the sequence of the lowest class that joined last. It frees its blocks, returns
//! to its place in the queue and is recomputed later. A waiting sequence of a higher class preempts running ones of lower
//! classes if there is no room otherwise.
//!
//! The first running sequence is never preempted, so nothing starves. No request fails for lack of blocks: admission
//! refuses those that could not run alone.
//!
//! Blocks in the prefix cache are not recomputed. A sequence whose prefix another one is computing waits for it.

use std::ops::Range;

use ipc_proto::generate::PromptProgress;
use ipc_proto::worker::{DraftStatistics, PrefixStatistics};

use super::block_allocator::BlockAllocator;
use super::fair_share::FairShare;
use super::images::PromptImages;
use super::runner::{Batch, BlockId, Row, RunnerCapacity, StateId};
use super::sequence::{PrefixHit, Sequence, SequenceId, SequenceParams};
use super::state_pool::StatePool;

mod proposals;
mod queue;

use proposals::Round;
use queue::rank;

/// Most prompt tokens scored in one step. Each takes several arrays of the size of the vocabulary.
const SCORED_TOKENS: usize = 64;

/// Bounds of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StepLimits {
    /// Most running sequences; not 0.
    pub max_sequences: usize,
    /// Most prompt tokens in a step; not 0.
    pub prefill_tokens: usize,
    /// Source of drafted tokens.
    pub drafts: Drafts,
}

/// Source and number of drafted tokens per sequence and step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Drafts {
    /// No drafts.
    #[default]
    None,
    /// Up to this many by prompt lookup.
    LookUp(usize),
    /// Up to this many from a draft model; see [`Scheduler::begin_proposals`].
    Model(usize),
}

impl Drafts {
    /// Most drafted tokens of a sequence in a step.
    pub fn most(self) -> u32 {
        match self {
            Self::None => 0,
            Self::LookUp(tokens) | Self::Model(tokens) => u32::try_from(tokens).unwrap_or(u32::MAX),
        }
    }
}

/// A sampled token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sampled {
    /// Its sequence.
    pub id: SequenceId,
    /// Token id.
    pub token: u32,
    /// Prefix cache hit of the prompt.
    pub found: PrefixHit,
}

/// The work of one row of the step.
#[derive(Debug, Clone, Copy)]
struct Scheduled {
    /// Index into `running`.
    at: usize,
    /// Number of pending tokens computed.
    count: usize,
    /// Number of drafted tokens after them.
    drafts: usize,
    /// The row's sample is dropped.
    sits_out: bool,
}

/// The waiting queue and the running sequences.
#[derive(Debug)]
pub struct Scheduler {
    limits: StepLimits,
    allocator: BlockAllocator,
    /// The recurrent states, if the model has any.
    states: Option<StatePool>,
    max_length: usize,
    /// Sizes of the runner.
    capacity: RunnerCapacity,
    /// Most blocks that a sequence holds at once in a windowed model; `None` without a window.
    span: Option<u32>,
    /// Sorted before each admission.
    waiting: Vec<Sequence>,
    /// In order of precedence; sequences that joined in this step are last.
    running: Vec<Sequence>,
    /// What each tenant has had.
    shares: FairShare,
    /// Rows of the last scheduled step.
    scheduled: Vec<Scheduled>,
    /// Steps scheduled so far.
    steps: u64,
    /// Sequences that joined so far.
    joined: u64,
    /// Block lists of the last batch, reused to save allocations.
    spare: Vec<Vec<BlockId>>,
    round: Round,
    drafted: DraftStatistics,
}

impl Scheduler {
    /// A scheduler for a runner with this capacity.
    pub fn new(limits: StepLimits, capacity: RunnerCapacity) -> Self {
        // A recurrent state cannot be taken back to the last draft that is right.
        let drafts = if capacity.blocks_per_state.is_some() { Drafts::None } else { limits.drafts };
        let limits = StepLimits { drafts, ..limits };
        Self {
            limits,
            span: window_span(limits, capacity),
            allocator: BlockAllocator::new(capacity.blocks, capacity.block_size),
            states: capacity
                .blocks_per_state
                .map(|per_state| StatePool::new(most_states(capacity.blocks, per_state))),
            max_length: max_length(limits, capacity),
            capacity,
            waiting: Vec::new(),
            running: Vec::new(),
            shares: FairShare::default(),
            scheduled: Vec::new(),
            steps: 0,
            joined: 0,
            spare: Vec::new(),
            round: Round::default(),
            drafted: DraftStatistics::default(),
        }
    }

    /// Longest prompt plus output, in tokens, under the current limit of the pool.
    pub fn max_length(&self) -> usize {
        max_length(self.limits, RunnerCapacity { blocks: self.allocator.limit(), ..self.capacity })
    }

    /// Most blocks that a sequence of `length` tokens holds at once if it runs alone.
    pub fn max_blocks(&self, length: u32) -> u32 {
        max_blocks(self.limits, self.capacity, length)
    }

    /// Queues a sequence.
    ///
    /// The prompt is not empty; prompt and generated tokens are shorter than [`max_length`]. The caller removes the
    /// sequence before it exceeds that. Ids ascend.
    pub fn add(&mut self, id: SequenceId, order: SequenceParams) {
        debug_assert!(
            !order.prompt.is_empty() && order.prompt.len() + order.generated.len() < self.max_length,
            "checked at admission"
        );
        let share = self.shares.enter(order.tenant);
        self.waiting.push(Sequence::new(id, order, (self.steps, share), &self.allocator));
    }

    /// Removes a waiting or running sequence and frees its blocks. Not allowed between `schedule` and `commit`.
    pub fn remove(&mut self, id: SequenceId) {
        let removed = if let Some(at) = self.running.iter().position(|sequence| sequence.id == id) {
            self.running.remove(at)
        } else if let Some(at) = self.waiting.iter().position(|sequence| sequence.id == id) {
            self.waiting.remove(at)
        } else {
            return;
        };
        self.shares.leave(removed.precedence.share);
    }

    /// Whether no sequence is waiting or running.
    pub fn is_idle(&self) -> bool {
        self.running.is_empty() && self.waiting.is_empty()
    }

    /// Number of running and of waiting sequences.
    pub fn counts(&self) -> (usize, usize) {
        (self.running.len(), self.waiting.len())
    }

    /// Number of running sequences that decode in the next step.
    pub fn decoding(&self) -> usize {
        self.running.iter().filter(|sequence| sequence.pending() == 1 && !sequence.held).count()
    }

    /// Drops the sample of row `row` of the scheduled step, because its mask is not known yet. Its sequence is held: it
    /// is in no step until [`Self::release`], and then computes its last token again.
    pub fn sit_out(&mut self, row: usize) {
        self.scheduled[row].sits_out = true;
    }

    /// Whether sequences are held.
    pub fn holds_rows(&self) -> bool {
        self.running.iter().any(|sequence| sequence.held)
    }

    /// Holds a running sequence, see [`Self::sit_out`].
    pub fn hold(&mut self, id: SequenceId) {
        self.set_held(id, true);
    }

    /// Returns a held sequence to the steps.
    pub fn release(&mut self, id: SequenceId) {
        self.set_held(id, false);
    }

    fn set_held(&mut self, id: SequenceId, held: bool) {
        if let Some(sequence) = self.running.iter_mut().find(|sequence| sequence.id == id) {
            sequence.held = held;
        }
    }

    /// Number of unfinished prompts, running or waiting, for which there are rows.
    pub fn prompts(&self) -> usize {
        let begun = self.running.iter().filter(|sequence| sequence.pending() > 1 && !sequence.held).count();
        let rows = self.limits.max_sequences.saturating_sub(self.running.len());
        begun + self.waiting.len().min(rows)
    }

    /// Blocks in use, and the limit.
    pub fn blocks(&self) -> (u32, u32) {
        (self.allocator.used(), self.allocator.limit())
    }

    /// Limits the pool to `limit` blocks, and the states with it.
    pub fn set_limit(&self, limit: u32) {
        self.allocator.set_limit(limit);
        if let (Some(states), Some(per_state)) = (&self.states, self.capacity.blocks_per_state) {
            states.set_limit(most_states(limit, per_state));
        }
    }

    /// Evicts what no sequence holds: blocks and states.
    pub fn evict_idle(&self) {
        self.allocator.evict_idle();
        self.states.iter().for_each(StatePool::evict_idle);
    }

    /// One past the last block that is held or cached.
    pub fn used_end(&self) -> u32 {
        self.allocator.used_end()
    }

    /// The states that no sequence will read, since the last call.
    pub fn take_dropped_states(&self) -> Vec<StateId> {
        self.states.as_ref().map_or_else(Vec::new, StatePool::take_dropped)
    }

    /// Most running sequences. In a step each holds two states.
    fn most_running(&self) -> usize {
        let most = self.limits.max_sequences;
        self.states.as_ref().map_or(most, |states| most.min(states.limit() / 2))
    }

    /// Prefix cache counts since the start.
    pub fn prefix_statistics(&self) -> PrefixStatistics {
        self.allocator.statistics()
    }

    /// Draft counts since the start.
    pub fn draft_statistics(&self) -> DraftStatistics {
        self.drafted
    }

    /// Fills `batch` with the next step, with at most `prefill_tokens` prompt tokens.
    ///
    /// It is empty only if the scheduler is idle, if all running sequences are held, or if nothing decodes and `prefill_tokens`
    /// is 0.
    pub fn schedule(&mut self, batch: &mut Batch, prefill_tokens: usize) {
        self.spare.extend(batch.rows.drain(..).map(|row| row.blocks));
        batch.clear();
        self.scheduled.clear();
        self.steps += 1;
        self.running.sort_by_key(|sequence| sequence.precedence.joined);
        self.extend_long_texts();
        let beyond = self.running.split_off(self.most_running().min(self.running.len()));
        self.waiting.extend(beyond.into_iter().map(Sequence::preempted));
        self.order_waiting();
        self.preempt_for_waiting();
        let (budget, preempted) = self.schedule_running(batch, prefill_tokens);
        // After a preemption nothing joins in this step; otherwise two sequences would preempt each other in turn.
        if !preempted {
            self.admit(batch, budget);
        }
    }

    /// Marks texts that have grown beyond the model's original context. Running ones wait again: their KV is invalid.
    fn extend_long_texts(&mut self) {
        let Some(original) = self.capacity.original_context else { return };
        let grown = |sequence: &mut Sequence| !sequence.extended && sequence.length() > original as usize;
        let grown: Vec<Sequence> =
            self.running.extract_if(.., grown).chain(self.waiting.extract_if(.., grown)).collect();
        self.waiting.extend(grown.into_iter().map(|sequence| sequence.into_extended(&self.allocator)));
    }

    /// Schedules running sequences in order. Returns the remaining budget and whether any was preempted.
    fn schedule_running(&mut self, batch: &mut Batch, mut budget: usize) -> (usize, bool) {
        let running = self.running.len();
        let mut at = 0;
        while at < self.running.len() {
            if self.running[at].held {
                at += 1;
                continue;
            }
            let most = prefill_limit(&self.running[at], budget);
            let (count, cost) = prefill_share(self.running[at].pending(), most);
            let count = if cost > 0 { self.whole_part(&self.running[at], count) } else { count };
            if count > 0 && self.reserve_blocks(at, count) {
                budget = budget.saturating_sub(if cost > 0 { count } else { 0 });
                self.push_row(batch, at, count);
            }
            at += 1;
        }
        (budget, self.running.len() < running)
    }

    /// Lets waiting sequences join in order; skips those whose prefix another sequence is computing.
    fn admit(&mut self, batch: &mut Batch, mut budget: usize) {
        let mut at = 0;
        while self.running.len() < self.most_running() && budget > 0 && at < self.waiting.len() {
            let next = &mut self.waiting[at];
            let found = next.find(&self.allocator, self.states.as_ref(), &self.capacity);
            let Ok(cached) = found else {
                at += 1;
                continue;
            };
            // Require all its blocks, plus a block of growth per running sequence. Otherwise the newcomer could be
            // preempted before its prefill pays off.
            let more = blocks_to_join(&self.allocator, self.span, next, cached.blocks);
            if self.allocator.free() < more + cached.idle + self.running.len() as u32 {
                return;
            }
            let mut next = self.waiting.remove(at);
            next.join(&self.allocator, self.states.as_ref(), cached, self.capacity.window);
            let length = self.allocator.tokens_in(cached.blocks + more).min(next.length() + 1);
            let reached = next.table.grow_to(length as u32);
            debug_assert!(reached.is_ok(), "there was room");
            next.publish_blocks(0);
            next.precedence.joined = (rank(&next, &self.shares, self.steps), self.joined);
            self.joined += 1;
            self.shares.join(next.precedence.share, self.steps);
            let count = self.whole_part(&next, next.pending().min(prefill_limit(&next, budget)));
            budget = budget.saturating_sub(count);
            self.running.push(next);
            self.push_row(batch, self.running.len() - 1, count);
        }
    }

    /// Gives sequence `at` blocks for `count` more tokens; preempts the last ones if needed. Returns false if it had to
    /// preempt sequence `at` itself.
    fn reserve_blocks(&mut self, at: usize, count: usize) -> bool {
        let length = (self.running[at].computed + count) as u32;
        let before = self.running[at].table.blocks().len();
        while self.running[at].table.grow_to(length).is_err() {
            let Some(victim) = self.running.pop() else { return false };
            self.waiting.push(victim.preempted());
            if self.running.len() == at {
                self.order_waiting();
                return false;
            }
        }
        // In a windowed model a sequence may join without blocks for its whole prompt: publish the new ones.
        self.running[at].publish_blocks(before);
        true
    }

    /// How many of the next `count` tokens one step can compute: up to a block border in a model with states, and no part of an
    /// image in one that sees images as a whole.
    fn whole_part(&self, sequence: &Sequence, count: usize) -> usize {
        if self.states.is_some() {
            sequence.up_to_border(count, &self.allocator)
        } else if self.capacity.whole_images.is_some() {
            sequence.up_to_image(count)
        } else {
            count
        }
    }

    fn push_row(&mut self, batch: &mut Batch, at: usize, count: usize) {
        let drafts = self.take_drafts(at, count);
        let sequence = &mut self.running[at];
        let state = self.states.as_ref().map(|states| sequence.begin_state(count, &self.allocator, states));
        let start = batch.tokens.len();
        let range = sequence.computed..sequence.computed + count;
        batch.tokens.extend_from_slice(&sequence.tokens[range.clone()]);
        batch.tokens.extend_from_slice(&drafts);
        let range = range.start..range.end + drafts.len();
        batch.positions.extend(range.clone().map(|position| position as u32));
        push_axes(batch, &sequence.images, range.clone());
        let images = sequence.images.in_row(&range, start);
        batch.slots.extend(range.map(|position| sequence.table.slot(position as u32)));
        let mut blocks = self.spare.pop().unwrap_or_default();
        blocks.clear();
        blocks.extend_from_slice(sequence.table.blocks());
        let extended = sequence.extended;
        let tokens = start..batch.tokens.len();
        let mut row = Row { tokens, blocks, extended, state, images, ..Row::default() };
        if count == sequence.pending() {
            row.samples.extend((0..=drafts.len()).map(|ahead| sequence.row_sampling(ahead)));
            row.adjust = sequence.logit_adjustments();
            row.masked = sequence.masked;
        }
        row.score = sequence
            .score_request(count)
            .filter(|score| !row.samples.is_empty() || !score.targets.is_empty());
        batch.rows.push(row);
        self.scheduled.push(Scheduled { at, count, drafts: drafts.len(), sits_out: false });
    }

    /// Drafted tokens to verify after the next one, if the sequence decodes and has room.
    fn take_drafts(&mut self, at: usize, count: usize) -> Vec<u32> {
        let sequence = &mut self.running[at];
        let decodes = count == 1 && sequence.pending() == 1 && sequence.generated() > 0;
        let room = self.max_length.saturating_sub(sequence.length() + 1);
        // Drafts beyond the original context would be verified with the rotary factors of short texts.
        let room = match self.capacity.original_context.filter(|_| !sequence.extended) {
            Some(original) => room.min((original as usize).saturating_sub(sequence.length())),
            None => room,
        };
        let drafts = match self.limits.drafts {
            Drafts::LookUp(most) if decodes => sequence.drafts(most.min(room)).to_vec(),
            Drafts::Model(_) if decodes => {
                let mut proposed = std::mem::take(&mut sequence.proposed);
                proposed.truncate(room);
                proposed
            }
            _ => Vec::new(),
        };
        let length = sequence.computed + count + drafts.len();
        // Drafts take free blocks only and never preempt.
        if !drafts.is_empty() && sequence.table.grow_to(length as u32).is_err() {
            return Vec::new();
        }
        drafts
    }

    /// Applies the outcome of a step: the sampled `tokens` of `batch`, in row order.
    ///
    /// Calls `each` with every new token; it returns whether that was the sequence's last.
    pub fn commit(&mut self, batch: &Batch, tokens: &[u32], mut each: impl FnMut(Sampled) -> bool) {
        let mut tokens = tokens;
        for (Scheduled { at, count, drafts, sits_out }, row) in self.scheduled.drain(..).zip(&batch.rows) {
            let sequence = &mut self.running[at];
            let (own, rest) = tokens.split_at(row.samples.len());
            tokens = rest;
            if sits_out {
                // There is no state without the last token: it stays as it was before the step.
                sequence.next_state = None;
                let kept = if self.states.is_some() { 0 } else { count - 1 };
                sequence.advance(kept, &self.allocator);
                sequence.held = true;
                continue;
            }
            let generated = own.len().min(1);
            self.shares.charge(sequence.precedence.share, count - generated, generated);
            sequence.advance(count, &self.allocator);
            if let Some(states) = &self.states {
                sequence.end_state(&self.allocator, states);
            }
            let drafted = &batch.tokens[row.tokens.end - drafts..row.tokens.end];
            self.drafted.proposed += drafts as u64;
            for (ahead, token) in own.iter().enumerate() {
                sequence.push(*token);
                if each(Sampled { id: sequence.id, token: *token, found: sequence.prefix_hit() }) {
                    break;
                }
                // The next sample is valid only if the draft before it was right.
                if drafted.get(ahead) != Some(token) {
                    break;
                }
                self.drafted.accepted += 1;
                self.shares.charge(sequence.precedence.share, 0, 1);
                sequence.advance(1, &self.allocator);
            }
            // The draft model has computed rejected drafts; those entries are invalid.
            sequence.drafted = sequence.drafted.min(sequence.computed);
            if let Some(window) = self.capacity.window {
                sequence.release_outside_window(window, &self.allocator);
            }
        }
    }

    /// How much of each prompt is computed once the last scheduled step has run, without the time. Valid before `commit`.
    pub fn prefilled(&self) -> impl Iterator<Item = (SequenceId, PromptProgress)> {
        self.scheduled.iter().map(|Scheduled { at, count, .. }| {
            let sequence = &self.running[*at];
            let total = sequence.prompt_len as u32;
            let processed = ((sequence.computed + count) as u32).min(total);
            let cached = sequence.prefix_hit().tokens;
            (sequence.id, PromptProgress { total, cached, processed, elapsed_ms: 0 })
        })
    }

    /// The sequences of the last scheduled step, in row order. A failed step loses them.
    pub fn scheduled(&self) -> impl Iterator<Item = SequenceId> {
        self.scheduled.iter().map(|scheduled| self.running[scheduled.at].id)
    }
}

/// Most recurrent states in a pool of `blocks` blocks. One sequence needs two.
fn most_states(blocks: u32, per_state: u32) -> u32 {
    (blocks / per_state.max(1)).max(2)
}

/// Longest prompt plus output, in tokens: the model's context, or the capacity of the whole pool. A windowed model frees blocks
/// behind its window, so its pool holds longer texts.
pub fn max_length(limits: StepLimits, capacity: RunnerCapacity) -> usize {
    if max_blocks(limits, capacity, capacity.max_context) <= capacity.blocks {
        return capacity.max_context as usize;
    }
    let pool = u64::from(capacity.blocks) * u64::from(capacity.block_size);
    pool.min(u64::from(capacity.max_context)) as usize
}

/// Most blocks that a sequence of `length` tokens holds at once if it runs alone.
fn max_blocks(limits: StepLimits, capacity: RunnerCapacity, length: u32) -> u32 {
    let all = length.div_ceil(capacity.block_size);
    // It may adopt a whole window from the prefix cache besides the tokens that it computes.
    let seen = capacity.window.map_or(0, |window| window.div_ceil(capacity.block_size) + 1);
    window_span(limits, capacity).map_or(all, |span| all.min(span.saturating_add(seen)))
}

/// Blocks of a step's tokens and their window, if the first token is not at the start of a block.
fn window_span(limits: StepLimits, capacity: RunnerCapacity) -> Option<u32> {
    let step = (limits.prefill_tokens.min(1 << 30) as u32).max(capacity.whole_images.unwrap_or(0));
    let tokens = |window: u32| window.saturating_add(step);
    capacity.window.map(|window| tokens(window).div_ceil(capacity.block_size) + 1)
}

/// Blocks that a joining sequence needs besides its `cached` ones: for all of its tokens and the next one. In a windowed
/// model at most `span`.
fn blocks_to_join(allocator: &BlockAllocator, span: Option<u32>, sequence: &Sequence, cached: u32) -> u32 {
    let all = allocator.blocks_for(sequence.length() as u32 + 1).saturating_sub(cached);
    span.map_or(all, |span| all.min(span))
}

/// The sequence's share of `budget`, in prompt tokens.
fn prefill_limit(sequence: &Sequence, budget: usize) -> usize {
    if sequence.scores_prompt() { budget.min(sequence.pending_unscored() + SCORED_TOKENS) } else { budget }
}

/// How many of the `pending` tokens this step computes, and their cost. Decoding is free.
fn prefill_share(pending: usize, budget: usize) -> (usize, usize) {
    match pending {
        1 => (1, 0),
        _ => (pending.min(budget), pending.min(budget)),
    }
}

/// Appends the axes of a row's tokens, which are at `range` of their sequence. Once one row of the batch has any, all have.
fn push_axes(batch: &mut Batch, images: &PromptImages, range: Range<usize>) {
    if !images.has_axes() && batch.axes.is_empty() {
        return;
    }
    let rows_before = batch.positions.len() - range.len();
    let missing = batch.axes.len()..rows_before;
    batch.axes.extend(batch.positions[missing].iter().map(|position| [*position; 3]));
    batch.axes.extend(range.map(|index| images.axes(index)));
}

#[cfg(test)]
pub(super) mod tests;
