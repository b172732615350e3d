//! The engine's work for constrained rows: masks, rows that sit a step out, requests whose grammar cannot be followed.

use ipc_proto::{Error, ErrorKind, Origin};

use super::masks::Mask;
use super::runner::{Runner, TokenMask};
use super::sequence::SequenceId;
use super::{Engine, Request};

/// The error of a request whose masks take too long.
const TOO_SLOW: &str = "the grammar or schema takes too long to follow: it has too many readings of the same text. Make it less \
                        ambiguous";

impl<R: Runner> Engine<R> {
    /// Returns rows to the schedule whose masks have come. Fails requests whose masks take too long.
    pub(super) fn receive_masks(&mut self) {
        let holds_rows = self.scheduler.holds_rows();
        if !holds_rows && !self.masks.is_busy() {
            return;
        }
        let hopeless = self.masks.update();
        self.fail(&hopeless, &Error::new(ErrorKind::InvalidRequest, Origin::Client, TOO_SLOW));
        if holds_rows {
            for sequence in self.masks.ready() {
                self.scheduler.release(sequence);
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
        self.masks.wait_for(&ids);
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
        let request = self.requests.get_mut(&sequence)?;
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

/// The error of a request whose grammar cannot be followed.
pub(super) fn unusable(problem: &str) -> Error {
    let text = format!("the grammar or schema cannot be used: {problem}");
    Error::new(ErrorKind::InvalidRequest, Origin::Client, text)
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
