//! Decides what each step computes. Pure: sequences and block ids, no tensors, no clock, no I/O.
//!
//! Continuous batching with chunked prefill: a step serves every running sequence, one token each for those that decode
//! and as much of a prompt as the token budget allows for those that prefill; waiting sequences join in order of arrival
//! while there is room for all of their tokens. When blocks run out the sequence that joined last gives its blocks
//! back and waits at its old place in the queue; it is computed again later. The first always goes on, so nothing waits for
//! ever, and no request fails for want of blocks: one that could not run alone is refused before it gets here.
//!
//! What the prefix cache has of a sequence is not computed again, and a sequence whose beginning is being computed for
//! another waits for that.

use std::collections::VecDeque;

use super::block_allocator::BlockAllocator;
use super::runner::{Batch, BlockId, Capacity, Row};
use super::sequence::{SamplingParams, Sequence, SequenceId};

/// What bounds a step. Neither is 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Sequences that run at once.
    pub max_sequences: usize,
    /// Prompt tokens that a step computes besides decoding.
    pub prefill_tokens: usize,
}

/// One sequence's next token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sampled {
    /// Whose it is.
    pub id: SequenceId,
    /// The token.
    pub token: u32,
    /// Tokens of the sequence's prompt that the prefix cache had.
    pub cached: u32,
}

/// The queue and the running sequences.
#[derive(Debug)]
pub struct Scheduler {
    limits: Limits,
    allocator: BlockAllocator,
    max_length: usize,
    /// In order of arrival.
    waiting: VecDeque<Sequence>,
    /// In order of joining.
    running: Vec<Sequence>,
    /// What the last step runs: index into `running`, tokens computed.
    scheduled: Vec<(usize, usize)>,
    /// Lists of the last batch, kept for their memory.
    spare: Vec<Vec<BlockId>>,
}

impl Scheduler {
    /// A scheduler for a runner of this capacity.
    pub fn new(limits: Limits, capacity: Capacity) -> Self {
        Self {
            limits,
            allocator: BlockAllocator::new(capacity.blocks, capacity.block_size),
            max_length: max_length(capacity),
            waiting: VecDeque::new(),
            running: Vec::new(),
            scheduled: Vec::new(),
            spare: Vec::new(),
        }
    }

    /// Queues a prompt, which is neither empty nor as long as [`max_length`]; the sequence must be taken out before
    /// it grows longer than that. Its id is higher than any before.
    pub fn add(&mut self, id: SequenceId, prompt: Vec<u32>, sampling: SamplingParams) {
        debug_assert!(!prompt.is_empty() && prompt.len() < self.max_length, "checked at admission");
        self.waiting.push_back(Sequence::new(id, prompt, sampling, self.allocator.table()));
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

    /// Blocks in use, and in all.
    pub fn blocks(&self) -> (u32, u32) {
        (self.allocator.used(), self.allocator.total())
    }

    /// Fills `batch` with the next step; it is empty only when idle.
    pub fn schedule(&mut self, batch: &mut Batch) {
        self.spare.extend(batch.rows.drain(..).map(|row| row.blocks));
        batch.clear();
        self.scheduled.clear();
        let budget = self.limits.prefill_tokens;
        let (budget, preempted) = self.go_on(batch, budget);
        // Whoever was pre-empted waits for a step without shortage; else two sequences would take turns at recomputing.
        if !preempted {
            self.admit(batch, budget);
        }
    }

    /// Schedules what runs, the first first; returns the budget left and whether anything was pre-empted.
    fn go_on(&mut self, batch: &mut Batch, mut budget: usize) -> (usize, bool) {
        let running = self.running.len();
        let mut at = 0;
        while at < self.running.len() {
            let (count, cost) = share(self.running[at].pending(), budget);
            if count > 0 && self.make_room(at, count) {
                budget -= cost;
                self.push(batch, at, count);
            }
            at += 1;
        }
        (budget, self.running.len() < running)
    }

    /// Lets waiting sequences join, in order of arrival but for those whose beginning another one is computing.
    fn admit(&mut self, batch: &mut Batch, mut budget: usize) {
        let mut at = 0;
        while self.running.len() < self.limits.max_sequences && budget > 0 && at < self.waiting.len() {
            let next = &mut self.waiting[at];
            if next.adopt(&self.allocator).is_err() {
                at += 1;
                continue;
            }
            // All of its tokens and the one that follows, and a block of growth for each that runs: else the newcomer
            // would be pre-empted before its prefill has paid.
            let length = next.length() as u32 + 1;
            let more = self.allocator.blocks_for(length) - next.table.blocks().len() as u32;
            let room = self.allocator.free() >= more + self.running.len() as u32;
            if !room || next.table.reach(length).is_err() {
                return next.preempt();
            }
            let Some(mut next) = self.waiting.remove(at) else { return };
            next.started();
            let count = next.pending().min(budget);
            budget -= count;
            self.running.push(next);
            self.push(batch, self.running.len() - 1, count);
        }
    }

    /// Gives sequence `at` blocks for `count` more tokens, taking from the last where needed. False if it was the
    /// last itself and gave up its own.
    fn make_room(&mut self, at: usize, count: usize) -> bool {
        let length = (self.running[at].computed + count) as u32;
        while self.running[at].table.reach(length).is_err() {
            let Some(mut victim) = self.running.pop() else { return false };
            victim.preempt();
            let place = self.waiting.partition_point(|waiting| waiting.id < victim.id);
            self.waiting.insert(place, victim);
            if self.running.len() == at {
                return false;
            }
        }
        true
    }

    fn push(&mut self, batch: &mut Batch, at: usize, count: usize) {
        let sequence = &self.running[at];
        let start = batch.tokens.len();
        let range = sequence.computed..sequence.computed + count;
        batch.tokens.extend_from_slice(&sequence.tokens[range.clone()]);
        batch.positions.extend(range.clone().map(|position| position as u32));
        batch.slots.extend(range.map(|position| sequence.table.slot(position as u32)));
        let samples = count == sequence.pending();
        let sample = samples.then(|| sequence.row_sampling());
        let adjust = if samples { sequence.adjust() } else { Vec::new() };
        let mut blocks = self.spare.pop().unwrap_or_default();
        blocks.clear();
        blocks.extend_from_slice(sequence.table.blocks());
        batch.rows.push(Row { tokens: start..start + count, blocks, sample, adjust });
        self.scheduled.push((at, count));
    }

    /// Takes the step's outcome: `tokens` for the rows that sampled, in order. Calls `each` with every new token.
    pub fn commit(&mut self, tokens: &[u32], mut each: impl FnMut(Sampled)) {
        let mut tokens = tokens.iter();
        for (at, count) in self.scheduled.drain(..) {
            let sequence = &mut self.running[at];
            sequence.advance(count, &self.allocator);
            if sequence.pending() == 0
                && let Some(token) = tokens.next()
            {
                sequence.push(*token);
                each(Sampled { id: sequence.id, token: *token, cached: sequence.cached() });
            }
        }
    }

    /// The sequences of the step that was scheduled last; they are what a failed step loses.
    pub fn scheduled(&self) -> impl Iterator<Item = SequenceId> {
        self.scheduled.iter().map(|(at, _)| self.running[*at].id)
    }
}

/// Prompt and output together, at most: the model's context or what the whole pool holds.
pub fn max_length(capacity: Capacity) -> usize {
    let pool = u64::from(capacity.blocks) * u64::from(capacity.block_size);
    pool.min(u64::from(capacity.max_context)) as usize
}

/// Of `pending` tokens, how many this step computes, and what of the budget that takes: decoding is free.
fn share(pending: usize, budget: usize) -> (usize, usize) {
    match pending {
        1 => (1, 0),
        _ => (pending.min(budget), pending.min(budget)),
    }
}

#[cfg(test)]
mod tests;
