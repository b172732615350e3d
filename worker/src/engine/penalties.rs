//! Penalties and biases of a sequence's logits. A pure fold over token ids.

use std::collections::BTreeMap;

use super::runner::LogitAdjustment;

/// Penalties and biases, resolved and validated.
#[derive(Debug, Clone, PartialEq)]
pub struct Penalties {
    /// Applies to tokens of prompt and output; neutral: 1.
    pub repetition: f32,
    /// Applies to tokens of the output; neutral: 0.
    pub presence: f32,
    /// Applies per occurrence in the output; neutral: 0.
    pub frequency: f32,
    /// Token ids and the biases added to their logits.
    pub bias: Vec<(u32, f32)>,
}

impl Default for Penalties {
    fn default() -> Self {
        Self { repetition: 1.0, presence: 0.0, frequency: 0.0, bias: Vec::new() }
    }
}

/// The adjustments for the next token, updated token by token.
#[derive(Debug)]
pub(super) struct Adjustments {
    penalties: Penalties,
    /// By token id, with the number of occurrences in the output.
    all: BTreeMap<u32, (LogitAdjustment, u32)>,
}

impl Adjustments {
    /// For a sequence with this prompt.
    pub(super) fn new(penalties: Penalties, prompt: &[u32]) -> Self {
        let mut adjustments = Self { penalties, all: BTreeMap::new() };
        for (token, bias) in std::mem::take(&mut adjustments.penalties.bias) {
            adjustments.entry(token).0.bias += bias;
        }
        let repetition = adjustments.penalties.repetition;
        for token in prompt.iter().filter(|_| repetition != 1.0) {
            adjustments.entry(*token).0.repetition = repetition;
        }
        adjustments
    }

    fn entry(&mut self, token: u32) -> &mut (LogitAdjustment, u32) {
        self.all
            .entry(token)
            .or_insert((LogitAdjustment { token, bias: 0.0, repetition: 1.0, penalty: 0.0 }, 0))
    }

    /// Appends a token of the output.
    pub(super) fn push(&mut self, token: u32) {
        let Penalties { repetition, presence, frequency, .. } = self.penalties;
        if repetition != 1.0 || presence != 0.0 || frequency != 0.0 {
            let (adjust, count) = self.entry(token);
            *count += 1;
            adjust.repetition = repetition;
            adjust.penalty = presence + frequency * *count as f32;
        }
    }

    /// Whether no token can ever need an adjustment.
    pub(super) fn is_empty(&self) -> bool {
        let Penalties { repetition, presence, frequency, .. } = self.penalties;
        self.all.is_empty() && repetition == 1.0 && presence == 0.0 && frequency == 0.0
    }

    /// The adjustments for the next token.
    pub(super) fn current(&self) -> Vec<LogitAdjustment> {
        self.all.values().map(|(adjust, _)| *adjust).collect()
    }
}

#[cfg(test)]
mod tests;
