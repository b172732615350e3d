//! Fake models for the scheduler tests: a device whose tokens depend on the text in its slots, and a draft model.

use std::collections::{HashMap, HashSet};

use crate::engine::runner::{Batch, RunnerCapacity, StateId};
use crate::engine::scheduler::Scheduler;

/// A fake device.
pub(super) struct Device {
    pub(super) slots: HashMap<u32, Stored>,
    pub(super) computed: usize,
    /// Size of its vocabulary.
    pub(super) words: u32,
    /// Attention window, in tokens.
    pub(super) window: Option<u32>,
    /// See [`RunnerCapacity::original_context`].
    pub(super) original_context: Option<u32>,
    /// The text of each recurrent state.
    pub(super) states: HashMap<StateId, Vec<u32>>,
}

/// The content of a slot.
#[derive(Clone, Copy)]
pub(super) struct Stored {
    position: u32,
    token: u32,
    extended: bool,
}

pub(super) fn device(words: u32) -> Device {
    Device {
        slots: HashMap::new(),
        computed: 0,
        words,
        window: None,
        original_context: None,
        states: HashMap::new(),
    }
}

/// The token that follows `text`.
pub(super) fn next(text: &[u32], window: Option<u32>, words: u32) -> u32 {
    let seen = window.map_or(0, |window| text.len().saturating_sub(window as usize));
    text[seen..].iter().fold(7u32, |sum, token| follow(sum, *token)) % words
}

fn follow(sum: u32, token: u32) -> u32 {
    (sum.wrapping_mul(31).wrapping_add(token)) ^ (sum >> 13)
}

impl Device {
    /// The first position in the window of the token at `position`.
    fn seen(&self, position: u32) -> u32 {
        self.window.map_or(0, |window| (position + 1).saturating_sub(window))
    }

    /// Runs a batch. A row's next token is a function of the whole text before it, read back from the slots.
    pub(super) fn step(&mut self, batch: &Batch, block_size: u32) -> Vec<u32> {
        let unique: HashSet<u32> = batch.slots.iter().copied().collect();
        assert_eq!(unique.len(), batch.slots.len(), "a slot twice");
        let written: HashSet<u32> = batch.slots.iter().map(|slot| slot / block_size).collect();
        for block in written {
            let holders = batch.rows.iter().filter(|row| {
                let seen = self.seen(batch.positions[row.tokens.start]) / block_size;
                row.blocks[seen as usize..].contains(&block)
            });
            let holders = holders.count();
            assert_eq!(holders, 1, "a step writes to a shared block");
        }
        self.computed += batch.tokens.len();
        let mut chosen = Vec::new();
        let mut end = 0;
        for row in &batch.rows {
            assert_eq!(row.tokens.start, end, "rows lie one after another");
            assert!(!row.tokens.is_empty());
            end = row.tokens.end;
            for at in row.tokens.clone() {
                let (position, token, extended) = (batch.positions[at], batch.tokens[at], row.extended);
                self.slots.insert(batch.slots[at], Stored { position, token, extended });
            }
            let first = batch.positions[row.tokens.start];
            let last = batch.positions[row.tokens.end - 1];
            // Every token in the window must still be where the block table says.
            let read = (self.seen(first)..=last).map(|position| {
                let slot = row.blocks[(position / block_size) as usize] * block_size + position % block_size;
                let stored = self.slots[&slot];
                assert_eq!(stored.position, position, "another position's token");
                assert_eq!(stored.extended, row.extended, "KV of a text of another length");
                stored.token
            });
            let texts: Vec<u32> = read.collect();
            if let Some(state) = row.state {
                let before = state.before.map_or(&[][..], |id| &self.states[&id]);
                assert_eq!(before, &texts[..first as usize], "the state of another text");
                let known = self.states.insert(state.after, texts.clone());
                assert!(known.is_none(), "a state is made twice");
            }
            // Each sample follows the text up to its position, drafts included.
            for ahead in (0..row.samples.len()).rev() {
                let length = last + 1 - ahead as u32;
                let extended = self.original_context.is_some_and(|original| length > original);
                assert_eq!(row.extended, extended, "a text of {length} tokens");
                let text = &texts[..texts.len() - ahead];
                chosen.push(next(text, self.window, self.words));
            }
        }
        assert_eq!(end, batch.tokens.len());
        chosen
    }
}

/// The draft model: agrees with the device except at every `wrong`th position. It knows only the tokens that it computed.
pub(super) struct Drafter {
    pub(super) slots: HashMap<u32, u32>,
    pub(super) wrong: u32,
    pub(super) words: u32,
}

impl Drafter {
    /// A whole round of proposals.
    pub(super) fn propose(&mut self, scheduler: &mut Scheduler, capacity: RunnerCapacity) {
        let mut batch = Batch::default();
        let mut more = scheduler.begin_proposals(&mut batch, capacity.max_context as usize);
        while more {
            let tokens = self.step(&batch, capacity.block_size);
            more = scheduler.continue_proposals(&mut batch, &tokens);
        }
    }

    fn step(&mut self, batch: &Batch, block_size: u32) -> Vec<u32> {
        let mut next = Vec::new();
        for row in &batch.rows {
            assert!(!row.tokens.is_empty() && row.samples.len() <= 1);
            for at in row.tokens.clone() {
                assert!(row.blocks.contains(&(batch.slots[at] / block_size)), "a slot of another row");
                self.slots.insert(batch.slots[at], batch.tokens[at]);
            }
            if row.samples.is_empty() {
                continue;
            }
            let last = batch.positions[row.tokens.end - 1];
            let slot = |at: u32| row.blocks[(at / block_size) as usize] * block_size + at % block_size;
            // Tokens that it never computed read as 0.
            let text = (0..=last).map(|at| self.slots.get(&slot(at)).copied().unwrap_or(0));
            let right = text.fold(7u32, follow) % self.words;
            next.push(if last.is_multiple_of(self.wrong) { right ^ 1 } else { right });
        }
        next
    }
}
