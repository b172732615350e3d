//! Drafts from a second, smaller model: the tokens that it computes and proposes. Pure, like the scheduler.
//!
//! The draft model has its own KV pool with the block ids and slots of the served model. Block tables and shared prefixes
//! therefore serve both. After each step it computes the same tokens. For decoding rows it continues token by token, and the next
//! step of the served model verifies its proposals. A gap or error in its cache makes drafts worse and never changes the
//! text.

use super::{Drafts, Scheduler};
use crate::engine::runner::{Batch, Row, RowSampling};

/// The state of a round of proposals.
#[derive(Debug, Default)]
pub(super) struct Round {
    /// Rows that continue, as indices into `running`.
    proposing: Vec<usize>,
    /// Tokens proposed per row so far.
    proposed: usize,
}

impl Scheduler {
    /// Fills `batch` with the first pass of the draft model after a step. Returns false if there is nothing to compute.
    ///
    /// `max_context` is the draft model's limit, in tokens.
    pub fn begin_proposals(&mut self, batch: &mut Batch, max_context: usize) -> bool {
        self.clear(batch);
        self.round = Round::default();
        let Drafts::Model(most) = self.limits.drafts else { return false };
        for at in 0..self.running.len() {
            let sequence = &mut self.running[at];
            sequence.proposed.clear();
            let ahead = sequence.length() + most;
            let decodes = sequence.pending() == 1 && sequence.generated() > 0 && sequence.can_draft();
            let room = ahead < self.max_length.min(max_context);
            // Proposals take free blocks only and never preempt.
            let proposes = decodes && room && sequence.table.grow_to(ahead as u32).is_ok();
            let end = if proposes { sequence.length() } else { sequence.computed.min(max_context) };
            let from = sequence.drafted.min(end);
            if from == end {
                continue;
            }
            sequence.drafted = end;
            self.push_draft_row(batch, at, from..end, proposes);
            if proposes {
                self.round.proposing.push(at);
            }
        }
        !batch.rows.is_empty()
    }

    /// Appends the draft model's `tokens`, one per proposing row, and fills `batch` with the next pass. Returns false at the
    /// end of the round.
    pub fn continue_proposals(&mut self, batch: &mut Batch, tokens: &[u32]) -> bool {
        self.clear(batch);
        let Drafts::Model(most) = self.limits.drafts else { return false };
        let Round { proposing, proposed } = std::mem::take(&mut self.round);
        for (at, token) in proposing.iter().zip(tokens) {
            self.running[*at].proposed.push(*token);
        }
        if proposing.is_empty() || proposed + 1 >= most {
            return false;
        }
        for at in &proposing {
            let position = self.running[*at].drafted;
            self.running[*at].drafted += 1;
            self.push_draft_row(batch, *at, position..position + 1, true);
        }
        self.round = Round { proposing, proposed: proposed + 1 };
        true
    }

    /// Appends a row with the tokens at `range` of sequence `at`, including proposed ones.
    fn push_draft_row(&mut self, batch: &mut Batch, at: usize, range: std::ops::Range<usize>, samples: bool) {
        let mut blocks = self.spare.pop().unwrap_or_default();
        let sequence = &self.running[at];
        let start = batch.tokens.len();
        let text = sequence.tokens.iter().chain(&sequence.proposed);
        batch.tokens.extend(text.skip(range.start).take(range.len()));
        batch.positions.extend(range.clone().map(|position| position as u32));
        batch.slots.extend(range.map(|position| sequence.table.slot(position as u32)));
        blocks.clear();
        blocks.extend_from_slice(sequence.table.blocks());
        let samples = if samples { vec![RowSampling::GREEDY] } else { Vec::new() };
        let extended = sequence.extended;
        batch.rows.push(Row {
            tokens: start..batch.tokens.len(),
            blocks,
            extended,
            samples,
            ..Row::default()
        });
    }

    fn clear(&mut self, batch: &mut Batch) {
        self.spare.extend(batch.rows.drain(..).map(|row| row.blocks));
        batch.clear();
    }
}
