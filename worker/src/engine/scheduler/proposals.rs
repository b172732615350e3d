//! Drafts from a second, smaller model: what it has to compute, and what it proposes. Pure, as the scheduler is.
//!
//! The second model keeps its keys and values in a pool of its own under the block numbers and slots of the first, so that a
//! block table, a shared prefix or a fork serves both. After each step it computes what the first one has computed and, for rows
//! that decode, goes on alone, token by token; the next step of the first model computes these tokens along with its own. A
//! hole or an error in its cache makes worse drafts, and never another text.

use super::{Drafts, Scheduler};
use crate::engine::runner::{Batch, Row, RowSampling};

/// A round of proposals under way.
#[derive(Debug, Default)]
pub(super) struct Round {
    /// Rows that go on, as indices into `running`.
    proposing: Vec<usize>,
    /// Tokens proposed for each of them so far.
    proposed: usize,
}

impl Scheduler {
    /// Fills `batch` with what the second model computes first after a step; false where that is nothing. `max_context` is
    /// its own limit, in tokens.
    pub fn begin_proposals(&mut self, batch: &mut Batch, max_context: usize) -> bool {
        self.clear(batch);
        self.round = Round::default();
        let Drafts::Model(most) = self.limits.drafts else { return false };
        for at in 0..self.running.len() {
            let sequence = &mut self.running[at];
            sequence.proposed.clear();
            let ahead = sequence.length() + most;
            let decodes = sequence.pending() == 1 && sequence.generated() > 0 && sequence.may_draft();
            let room = ahead < self.max_length.min(max_context);
            // Proposals are worth nobody's blocks but free ones.
            let proposes = decodes && room && sequence.table.reach(ahead as u32).is_ok();
            let end = if proposes { sequence.length() } else { sequence.computed.min(max_context) };
            let from = sequence.drafted.min(end);
            if from == end {
                continue;
            }
            sequence.drafted = end;
            self.compute(batch, at, from..end, proposes);
            if proposes {
                self.round.proposing.push(at);
            }
        }
        !batch.rows.is_empty()
    }

    /// Takes what the second model said, a token for each row that proposes, and fills `batch` with the next ones; false at the
    /// end of the round.
    pub fn go_on_proposing(&mut self, batch: &mut Batch, tokens: &[u32]) -> bool {
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
            self.compute(batch, *at, position..position + 1, true);
        }
        self.round = Round { proposing, proposed: proposed + 1 };
        true
    }

    /// Appends a row with the tokens at `range` of sequence `at`, proposed ones included.
    fn compute(&mut self, batch: &mut Batch, at: usize, range: std::ops::Range<usize>, samples: bool) {
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
        batch.rows.push(Row { tokens: start..batch.tokens.len(), blocks, samples, ..Row::default() });
    }

    fn clear(&mut self, batch: &mut Batch) {
        self.spare.extend(batch.rows.drain(..).map(|row| row.blocks));
        batch.clear();
    }
}
