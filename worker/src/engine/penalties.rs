//! What a sequence's own text and wishes do to its logits. A pure fold over token ids.

use std::collections::BTreeMap;

use super::runner::Adjust;

/// Penalties and biases, resolved and checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Penalties {
    /// For tokens of prompt and output; neutral 1.
    pub repetition: f32,
    /// For tokens of the output; neutral 0.
    pub presence: f32,
    /// For each time a token is in the output; neutral 0.
    pub frequency: f32,
    /// Added to these tokens.
    pub bias: Vec<(u32, f32)>,
}

impl Default for Penalties {
    fn default() -> Self {
        Self { repetition: 1.0, presence: 0.0, frequency: 0.0, bias: Vec::new() }
    }
}

/// What is to be done to the next token's logits, kept up to date token by token.
#[derive(Debug)]
pub(super) struct Adjustments {
    penalties: Penalties,
    /// With how often each token is in the output.
    all: BTreeMap<u32, (Adjust, u32)>,
}

impl Adjustments {
    /// For a sequence that begins with `prompt`.
    pub(super) fn new(penalties: Penalties, prompt: &[u32]) -> Self {
        let mut adjustments = Self { penalties, all: BTreeMap::new() };
        for (token, bias) in std::mem::take(&mut adjustments.penalties.bias) {
            adjustments.of(token).0.bias += bias;
        }
        let repetition = adjustments.penalties.repetition;
        for token in prompt.iter().filter(|_| repetition != 1.0) {
            adjustments.of(*token).0.repetition = repetition;
        }
        adjustments
    }

    fn of(&mut self, token: u32) -> &mut (Adjust, u32) {
        self.all.entry(token).or_insert((Adjust { token, bias: 0.0, repetition: 1.0, penalty: 0.0 }, 0))
    }

    /// The sequence goes on with `token`.
    pub(super) fn push(&mut self, token: u32) {
        let Penalties { repetition, presence, frequency, .. } = self.penalties;
        if repetition != 1.0 || presence != 0.0 || frequency != 0.0 {
            let (adjust, count) = self.of(token);
            *count += 1;
            adjust.repetition = repetition;
            adjust.penalty = presence + frequency * *count as f32;
        }
    }

    /// Whether nothing is ever to be done.
    pub(super) fn is_empty(&self) -> bool {
        let Penalties { repetition, presence, frequency, .. } = self.penalties;
        self.all.is_empty() && repetition == 1.0 && presence == 0.0 && frequency == 0.0
    }

    /// What is to be done now.
    pub(super) fn now(&self) -> Vec<Adjust> {
        self.all.values().map(|(adjust, _)| *adjust).collect()
    }
}

#[cfg(test)]
mod tests;
