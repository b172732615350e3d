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

/// Penalties, and the tokens that they look at.
#[derive(Debug)]
pub(super) struct Adjustments {
    penalties: Penalties,
    /// How often each token is in the output; 0 for those of the prompt only.
    seen: BTreeMap<u32, u32>,
}

impl Adjustments {
    /// For a sequence that begins with `prompt`.
    pub(super) fn new(penalties: Penalties, prompt: &[u32]) -> Self {
        let counts = penalties.repetition != 1.0;
        let seen = prompt.iter().filter(|_| counts).map(|token| (*token, 0)).collect();
        Self { penalties, seen }
    }

    /// The sequence goes on with `token`.
    pub(super) fn push(&mut self, token: u32) {
        let Penalties { repetition, presence, frequency, .. } = self.penalties;
        if repetition != 1.0 || presence != 0.0 || frequency != 0.0 {
            *self.seen.entry(token).or_default() += 1;
        }
    }

    /// What is to be done to the next token's logits.
    pub(super) fn now(&self) -> Vec<Adjust> {
        let Penalties { repetition, presence, frequency, bias } = &self.penalties;
        let plain = |token| Adjust { token, bias: 0.0, repetition: 1.0, penalty: 0.0 };
        let mut all: BTreeMap<u32, Adjust> = BTreeMap::new();
        for (token, bias) in bias {
            all.entry(*token).or_insert(plain(*token)).bias += bias;
        }
        for (token, count) in &self.seen {
            let adjust = all.entry(*token).or_insert(plain(*token));
            adjust.repetition = *repetition;
            if *count > 0 {
                adjust.penalty = presence + frequency * *count as f32;
            }
        }
        all.into_values().collect()
    }
}

#[cfg(test)]
mod tests;
