//! The engine's work for constrained rows: masks, rows that sit a step out, requests whose grammar cannot be followed.

use ipc_proto::{Error, ErrorKind, Origin};

use super::masks::{Mask, unusable};
use super::runner::{Runner, TokenMask, TokenScore};
use super::scheduler::Sampled;
use super::sequence::SequenceId;
use super::{Engine, Request};

/// The error of a request whose grammar takes too long.
const TOO_SLOW: &str = "the grammar or schema takes too long to follow: it has too many readings of the same text. Make it less \
                        ambiguous";

/// A sampled token that the grammar has not consumed yet. Its events wait for that.
#[derive(Debug)]
pub(super) struct Unread {
    pub(super) sampled: Sampled,
    pub(super) score: Option<TokenScore>,
}

impl<R: Runner> Engine<R> {
    /// Sends the events of tokens that have been consumed. Returns rows to the schedule whose masks have come. Fails requests
    /// whose grammar takes too long.
    pub(super) fn receive_masks(&mut self) {
        self.masks.begin_step();
        let holds_rows = self.scheduler.holds_rows();
        if !holds_rows && !self.masks.is_busy() {
            return self.push_consumed();
        }
        let hopeless = self.masks.update();
        self.push_consumed();
        self.fail(&hopeless, &Error::new(ErrorKind::InvalidRequest, Origin::Client, TOO_SLOW));
        if holds_rows {
            for sequence in self.masks.ready() {
                self.scheduler.release(sequence);
            }
        }
    }

    /// Waits briefly until the tokens that `rows` sampled are consumed. Holds a row whose token is late, or its mask will be;
    /// `rows` says of each whether a step may wait for it.
    pub(super) fn read_tokens(&mut self, rows: &[(SequenceId, bool)]) {
        if rows.is_empty() {
            return;
        }
        let trusted: Vec<SequenceId> =
            rows.iter().filter(|(_, is_trusted)| *is_trusted).map(|(row, _)| *row).collect();
        self.masks.wait_for_tokens(&trusted);
        self.push_consumed();
        for (sequence, is_trusted) in rows {
            let is_unread = |request: &Request| request.unread.is_some();
            if !is_trusted || self.requests.get(sequence).is_some_and(is_unread) {
                self.scheduler.hold(*sequence);
            }
        }
    }

    /// Sends the events of tokens that have been consumed. Not allowed between `schedule` and `commit`, since requests end.
    fn push_consumed(&mut self) {
        for (sequence, outcome) in self.masks.take_consumed() {
            let Some(request) = self.requests.get_mut(&sequence) else { continue };
            let Some(Unread { sampled, score }) = request.unread.take() else { continue };
            if request.push(sampled, score, outcome, &mut self.streams) {
                self.end(sequence);
            }
        }
    }

    /// One mask per masked row, in row order. A row without a mask gets an empty one and sits the step out.
    pub(super) fn take_masks(&mut self) -> Vec<TokenMask> {
        if !self.batch.rows.iter().any(|row| row.masked) {
            return Vec::new();
        }
        let rows = self.scheduler.scheduled().enumerate().zip(&self.batch.rows);
        let (rows, ids): (Vec<usize>, Vec<SequenceId>) =
            rows.filter(|(_, row)| row.masked).map(|(row, _)| row).unzip();
        self.masks.wait_for_masks(&ids);
        let mut masks = Vec::with_capacity(rows.len());
        for (row, sequence) in rows.into_iter().zip(ids) {
            let mask = self.take_mask(sequence);
            if mask.is_none() {
                self.scheduler.sit_out(row);
            }
            masks.push(mask.unwrap_or_default());
        }
        masks
    }

    /// `None` if there is no mask for this step.
    fn take_mask(&mut self, sequence: SequenceId) -> Option<TokenMask> {
        // A preempted row may be back before its token is consumed.
        let request = self.requests.get_mut(&sequence).filter(|request| request.unread.is_none())?;
        let mask = match self.masks.take(sequence) {
            Mask::None => None,
            Mask::Late => return None,
            Mask::Ready(matcher, Ok(mask)) => {
                request.constraint = Some(matcher);
                Some(mask)
            }
            Mask::Ready(_, Err(text)) => {
                self.broken.push((sequence, text));
                return None;
            }
        };
        request.restrict(mask)
    }

    /// Fails requests whose grammar cannot be followed.
    pub(super) fn fail_broken(&mut self) {
        for (sequence, text) in std::mem::take(&mut self.broken) {
            self.fail(&[sequence], &unusable(&text));
        }
    }
}

impl Request {
    /// Applies the reasoning budget to the grammar's mask.
    fn restrict(&self, mask: Option<TokenMask>) -> Option<TokenMask> {
        let Some(budget) = &self.budget else { return mask };
        let mut mask = mask.unwrap_or_else(|| budget.open_mask());
        budget.restrict(&mut mask);
        Some(mask)
    }
}
