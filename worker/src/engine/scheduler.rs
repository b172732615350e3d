//! Decides what each step computes. Pure: sequences and block ids, no tensors, no clock, no I/O.
//!
//! Continuous batching with chunked prefill: a step serves every running sequence, one token each for those that decode
//! and as much of a prompt as the token budget allows for those that prefill; waiting sequences join while there is room for
//! all of their tokens. Classes go first to last, and within a class in order of arrival; who waits long enough goes like
//! the class before. When blocks run out, the sequence of the lowest class that joined last gives its blocks back and waits
//! at its old place; it is computed again later. The first always goes on, so nothing waits for ever, and no request fails
//! for want of blocks: one that could not run alone is refused before it gets here. A sequence of a higher class takes
//! the place of lower ones where there is no room beside them.
//!
//! What the prefix cache has of a sequence is not computed again, and a sequence whose beginning is being computed for
//! another waits for that.

use ipc_proto::worker::{DraftStatistics, PrefixStatistics};

use super::block_allocator::BlockAllocator;
use super::runner::{Batch, BlockId, Capacity, Row};
use super::sequence::{FoundInCache, Order, Sequence, SequenceId};

mod proposals;

use proposals::Round;

/// Steps of waiting after which a sequence goes like the class before its own.
const AGEING_STEPS: u64 = 256;

/// Tokens of a prompt whose log probabilities are told in one step, at most: each takes a row of logits, as long as the
/// vocabulary, and several like it.
const SCORED_TOKENS: usize = 64;

/// What bounds a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Sequences that run at once; not 0.
    pub max_sequences: usize,
    /// Prompt tokens that a step computes besides decoding, at most; not 0.
    pub prefill_tokens: usize,
    /// Tokens drafted for a sequence that decodes.
    pub drafts: Drafts,
}

/// Where drafts come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Drafts {
    /// There are none.
    #[default]
    None,
    /// So many from the text itself, where its end has occurred before.
    LookUp(usize),
    /// So many from a second model; see [`Scheduler::begin_proposals`].
    Model(usize),
}

/// One sequence's next token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sampled {
    /// Whose it is.
    pub id: SequenceId,
    /// The token.
    pub token: u32,
    /// What the prefix cache had of the prompt.
    pub found: FoundInCache,
}

/// What a row of the step computes.
#[derive(Debug, Clone, Copy)]
struct Scheduled {
    /// Index into `running`.
    at: usize,
    /// Tokens of the sequence.
    count: usize,
    /// Drafted tokens behind them.
    drafts: usize,
}

/// The queue and the running sequences.
#[derive(Debug)]
pub struct Scheduler {
    limits: Limits,
    allocator: BlockAllocator,
    max_length: usize,
    /// What it was made for.
    capacity: Capacity,
    /// Blocks that no sequence needs more of at once; `None`: as many as its text takes.
    span: Option<u32>,
    /// Sorted when anybody can join.
    waiting: Vec<Sequence>,
    /// Who goes first, first; who has joined since the step began, last.
    running: Vec<Sequence>,
    /// What the last step runs.
    scheduled: Vec<Scheduled>,
    /// Steps scheduled so far.
    steps: u64,
    /// Sequences that joined so far.
    joined: u64,
    /// Lists of the last batch, kept for their memory.
    spare: Vec<Vec<BlockId>>,
    round: Round,
    drafted: DraftStatistics,
}

impl Scheduler {
    /// A scheduler for a runner of this capacity.
    pub fn new(limits: Limits, capacity: Capacity) -> Self {
        Self {
            limits,
            span: span(limits, capacity),
            allocator: BlockAllocator::new(capacity.blocks, capacity.block_size),
            max_length: max_length(limits, capacity),
            capacity,
            waiting: Vec::new(),
            running: Vec::new(),
            scheduled: Vec::new(),
            steps: 0,
            joined: 0,
            spare: Vec::new(),
            round: Round::default(),
            drafted: DraftStatistics::default(),
        }
    }

    /// Prompt and output of one request together, as far as the pool allows it now.
    pub fn longest(&self) -> usize {
        max_length(self.limits, Capacity { blocks: self.allocator.limit(), ..self.capacity })
    }

    /// Blocks that a text of `length` tokens takes at a time, at most, if it has the pool for itself.
    pub fn alone(&self, length: u32) -> u32 {
        alone(self.limits, self.capacity, length)
    }

    /// Queues a sequence whose prompt is not empty and with what was generated of it not as long as [`max_length`]; it must be taken out before it grows
    /// longer than that. Its id is higher than any before.
    pub fn add(&mut self, id: SequenceId, order: Order) {
        debug_assert!(
            !order.prompt.is_empty() && order.prompt.len() + order.generated.len() < self.max_length,
            "checked at admission"
        );
        self.waiting.push(Sequence::new(id, order, self.steps, &self.allocator));
    }

    /// Takes a sequence out, wherever it is; its blocks are free at once. Not between `schedule` and `commit`.
    pub fn remove(&mut self, id: SequenceId) {
        if let Some(at) = self.running.iter().position(|sequence| sequence.id == id) {
            self.running.remove(at);
        } else if let Some(at) = self.waiting.iter().position(|sequence| sequence.id == id) {
            self.waiting.remove(at);
        }
    }

    /// Whether there is nothing to do.
    pub fn is_idle(&self) -> bool {
        self.running.is_empty() && self.waiting.is_empty()
    }

    /// Sequences running and waiting.
    pub fn counts(&self) -> (usize, usize) {
        (self.running.len(), self.waiting.len())
    }

    /// Running sequences that decode.
    pub fn decoding(&self) -> usize {
        self.running.iter().filter(|sequence| sequence.pending() == 1).count()
    }

    /// Sequences whose prompts are not computed to their end, as far as there are rows for them.
    pub fn prompts(&self) -> usize {
        let begun = self.running.len() - self.decoding();
        let rows = self.limits.max_sequences.saturating_sub(self.running.len());
        begun + self.waiting.len().min(rows)
    }

    /// Blocks in use, and that may be.
    pub fn blocks(&self) -> (u32, u32) {
        (self.allocator.used(), self.allocator.limit())
    }

    /// The KV blocks, for whoever sets their limit.
    pub fn allocator(&self) -> &BlockAllocator {
        &self.allocator
    }

    /// What the prefix cache did since the start.
    pub fn prefix_statistics(&self) -> PrefixStatistics {
        self.allocator.statistics()
    }

    /// What became of drafts since the start.
    pub fn draft_statistics(&self) -> DraftStatistics {
        self.drafted
    }

    /// Fills `batch` with the next step, with at most `prefill_tokens` tokens of prompts. It is empty only when idle, or
    /// when no prompt token was allowed and nothing decodes.
    pub fn schedule(&mut self, batch: &mut Batch, prefill_tokens: usize) {
        self.spare.extend(batch.rows.drain(..).map(|row| row.blocks));
        batch.clear();
        self.scheduled.clear();
        self.steps += 1;
        self.running.sort_by_key(|sequence| sequence.turn.joined);
        self.order_waiting();
        self.make_way();
        let (budget, preempted) = self.go_on(batch, prefill_tokens);
        // Whoever was pre-empted waits for a step without shortage; else two sequences would take turns at recomputing.
        if !preempted {
            self.admit(batch, budget);
        }
    }

    /// Who has waited longest goes first within a class, and like a higher class in time.
    fn order_waiting(&mut self) {
        let now = self.steps;
        self.waiting.sort_by_key(|sequence| (rank(sequence, now), sequence.id));
    }

    /// Where the first who waits is of a higher class than the last who run and has no room beside them, those wait.
    fn make_way(&mut self) {
        let Some(first) = self.waiting.first_mut() else { return };
        let (class, now) = (first.turn.class, self.steps);
        let first_rank = rank(first, now);
        let lower = |running: &Sequence| running.turn.class > class && running.turn.joined.0 > first_rank;
        if !self.running.last().is_some_and(lower) {
            return;
        }
        let Ok(cached) = first.find(&self.allocator, self.capacity.window) else { return };
        let needed = at_once(&self.allocator, self.span, first, cached.blocks) + cached.idle;
        let room = |running: usize, free: u32| {
            running < self.limits.max_sequences && free >= needed + running as u32
        };
        let (mut running, mut free) = (self.running.len(), self.allocator.free());
        for last in self.running.iter().rev().take_while(|running| lower(running)) {
            if room(running, free) {
                break;
            }
            running -= 1;
            free += self.allocator.held_alone(&last.table);
        }
        // Nobody is sent away in vain.
        if room(running, free) {
            let away = self.running.split_off(running);
            self.waiting.extend(away.into_iter().map(Sequence::preempted));
            self.order_waiting();
        }
    }

    /// Schedules what runs, the first first; returns the budget left and whether anything was pre-empted.
    fn go_on(&mut self, batch: &mut Batch, mut budget: usize) -> (usize, bool) {
        let running = self.running.len();
        let mut at = 0;
        while at < self.running.len() {
            let most = within(&self.running[at], budget);
            let (count, cost) = share(self.running[at].pending(), most);
            if count > 0 && self.make_room(at, count) {
                budget -= cost;
                self.push(batch, at, count);
            }
            at += 1;
        }
        (budget, self.running.len() < running)
    }

    /// Lets waiting sequences join, in their order but for those whose beginning another one is computing.
    fn admit(&mut self, batch: &mut Batch, mut budget: usize) {
        let mut at = 0;
        while self.running.len() < self.limits.max_sequences && budget > 0 && at < self.waiting.len() {
            let next = &mut self.waiting[at];
            let Ok(cached) = next.find(&self.allocator, self.capacity.window) else {
                at += 1;
                continue;
            };
            // All that it needs at once, and a block of growth for each that runs: else the newcomer would be pre-empted
            // before its prefill has paid.
            let more = at_once(&self.allocator, self.span, next, cached.blocks);
            if self.allocator.free() < more + cached.idle + self.running.len() as u32 {
                return;
            }
            let mut next = self.waiting.remove(at);
            next.join(&self.allocator, self.capacity.window);
            let length = self.allocator.tokens_in(cached.blocks + more).min(next.length() + 1);
            let reached = next.table.reach(length as u32);
            debug_assert!(reached.is_ok(), "there was room");
            next.announce(0);
            next.turn.joined = (rank(&next, self.steps), self.joined);
            self.joined += 1;
            let count = next.pending().min(within(&next, budget));
            budget -= count;
            self.running.push(next);
            self.push(batch, self.running.len() - 1, count);
        }
    }

    /// Gives sequence `at` blocks for `count` more tokens, taking from the last where needed. False if it was the
    /// last itself and gave up its own.
    fn make_room(&mut self, at: usize, count: usize) -> bool {
        let length = (self.running[at].computed + count) as u32;
        let before = self.running[at].table.blocks().len();
        while self.running[at].table.reach(length).is_err() {
            let Some(victim) = self.running.pop() else { return false };
            self.waiting.push(victim.preempted());
            if self.running.len() == at {
                self.order_waiting();
                return false;
            }
        }
        // Who joined without room for all of its prompt computes more of it: others may wait for that too.
        self.running[at].announce(before);
        true
    }

    fn push(&mut self, batch: &mut Batch, at: usize, count: usize) {
        let drafts = self.draft(at, count);
        let sequence = &self.running[at];
        let start = batch.tokens.len();
        let range = sequence.computed..sequence.computed + count;
        batch.tokens.extend_from_slice(&sequence.tokens[range.clone()]);
        batch.tokens.extend_from_slice(&drafts);
        let range = range.start..range.end + drafts.len();
        batch.positions.extend(range.clone().map(|position| position as u32));
        batch.slots.extend(range.map(|position| sequence.table.slot(position as u32)));
        let mut blocks = self.spare.pop().unwrap_or_default();
        blocks.clear();
        blocks.extend_from_slice(sequence.table.blocks());
        let mut row = Row { tokens: start..batch.tokens.len(), blocks, ..Row::default() };
        if count == sequence.pending() {
            row.samples.extend((0..=drafts.len()).map(|ahead| sequence.row_sampling(ahead)));
            row.adjust = sequence.adjust();
            row.masked = sequence.masked;
        }
        row.score =
            sequence.score(count).filter(|score| !row.samples.is_empty() || !score.targets.is_empty());
        batch.rows.push(row);
        self.scheduled.push(Scheduled { at, count, drafts: drafts.len() });
    }

    /// Tokens to try behind the next one of a sequence that decodes, where there is room for them.
    fn draft(&mut self, at: usize, count: usize) -> Vec<u32> {
        let sequence = &mut self.running[at];
        let decodes = count == 1 && sequence.pending() == 1 && sequence.generated() > 0;
        let room = self.max_length.saturating_sub(sequence.length() + 1);
        let drafts = match self.limits.drafts {
            Drafts::LookUp(most) if decodes => sequence.drafts(most.min(room)).to_vec(),
            Drafts::Model(_) if decodes && room > 0 => std::mem::take(&mut sequence.proposed),
            _ => Vec::new(),
        };
        let length = sequence.computed + count + drafts.len();
        // Drafts are worth nobody's blocks but free ones.
        match drafts.is_empty() || sequence.table.reach(length as u32).is_ok() {
            true => drafts,
            false => Vec::new(),
        }
    }

    /// Takes the step's outcome: `tokens` for the rows of `batch` that sampled, in order. Calls `each` with every new
    /// token; it says whether that was the sequence's last.
    pub fn commit(&mut self, batch: &Batch, tokens: &[u32], mut each: impl FnMut(Sampled) -> bool) {
        let mut tokens = tokens;
        for (Scheduled { at, count, drafts }, row) in self.scheduled.drain(..).zip(&batch.rows) {
            let sequence = &mut self.running[at];
            sequence.advance(count, &self.allocator);
            let (own, rest) = tokens.split_at(row.samples.len());
            tokens = rest;
            let drafted = &batch.tokens[row.tokens.end - drafts..row.tokens.end];
            self.drafted.proposed += drafts as u64;
            for (ahead, token) in own.iter().enumerate() {
                sequence.push(*token);
                if each(Sampled { id: sequence.id, token: *token, found: sequence.found() }) {
                    break;
                }
                // The next choice holds only if it was made after this one.
                if drafted.get(ahead) != Some(token) {
                    break;
                }
                self.drafted.accepted += 1;
                sequence.advance(1, &self.allocator);
            }
            // What the second model computed of drafts that did not hold is worth nothing.
            sequence.drafted = sequence.drafted.min(sequence.computed);
            if let Some(window) = self.capacity.window {
                sequence.forget(window, &self.allocator);
            }
        }
    }

    /// The sequences of the step that was scheduled last, row by row; they are what a failed step loses.
    pub fn scheduled(&self) -> impl Iterator<Item = SequenceId> {
        self.scheduled.iter().map(|scheduled| self.running[scheduled.at].id)
    }
}

/// A waiting sequence's class at step `now`: its own, or a higher one in time.
fn rank(sequence: &Sequence, now: u64) -> u8 {
    let aged = (now - sequence.turn.since) / AGEING_STEPS;
    sequence.turn.class.saturating_sub(aged.min(u64::from(u8::MAX)) as u8)
}

/// Prompt and output together, at most: the model's context or what the whole pool holds, which is more where blocks are given
/// back behind a window.
pub fn max_length(limits: Limits, capacity: Capacity) -> usize {
    if alone(limits, capacity, capacity.max_context) <= capacity.blocks {
        return capacity.max_context as usize;
    }
    let pool = u64::from(capacity.blocks) * u64::from(capacity.block_size);
    pool.min(u64::from(capacity.max_context)) as usize
}

/// Blocks that a text of `length` tokens takes at a time, at most, if it has the pool for itself.
fn alone(limits: Limits, capacity: Capacity, length: u32) -> u32 {
    let all = length.div_ceil(capacity.block_size);
    // What it takes over from the prefix cache may be as much as it sees, besides what it computes.
    let seen = capacity.window.map_or(0, |window| window.div_ceil(capacity.block_size) + 1);
    span(limits, capacity).map_or(all, |span| all.min(span.saturating_add(seen)))
}

/// Blocks of a step's tokens and of those that they see, where the first begins within a block.
fn span(limits: Limits, capacity: Capacity) -> Option<u32> {
    let tokens = |window: u32| window.saturating_add(limits.prefill_tokens.min(1 << 30) as u32);
    capacity.window.map(|window| tokens(window).div_ceil(capacity.block_size) + 1)
}

/// Blocks that a sequence that joins needs besides the `cached` ones of its own: for all of its tokens and the one that follows.
/// Where blocks are given back behind a window, not more than the `span` that it holds at a time.
fn at_once(allocator: &BlockAllocator, span: Option<u32>, sequence: &Sequence, cached: u32) -> u32 {
    let all = allocator.blocks_for(sequence.length() as u32 + 1).saturating_sub(cached);
    span.map_or(all, |span| all.min(span))
}

/// What of `budget` a sequence may take.
fn within(sequence: &Sequence, budget: usize) -> usize {
    if sequence.scores_prompt() { budget.min(SCORED_TOKENS) } else { budget }
}

/// Of `pending` tokens, how many this step computes, and what of the budget that takes: decoding is free.
fn share(pending: usize, budget: usize) -> (usize, usize) {
    match pending {
        1 => (1, 0),
        _ => (pending.min(budget), pending.min(budget)),
    }
}

#[cfg(test)]
pub(super) mod tests;
