//! Limits reasoning tokens. After the limit, the budget forces the model's own end-of-reasoning tokens, then the answer
//! follows.
//!
//! Pure: the forced tokens depend only on the tokens before them, so a resumed request continues identically.

use std::collections::VecDeque;

use super::runner::TokenMask;

/// The state of one request.
#[derive(Debug, Clone)]
pub struct ReasoningBudget {
    /// Maximum number of reasoning tokens.
    tokens: u32,
    /// Token sequences that end reasoning. Each reopening uses the next one; the last repeats.
    closings: Vec<Vec<u32>>,
    closed: usize,
    /// Tokens that must come next, in order.
    forced: VecDeque<u32>,
    vocabulary: u32,
}

impl ReasoningBudget {
    /// Allows `tokens` reasoning tokens. Neither `closings` nor any of its elements is empty.
    pub fn new(tokens: u32, closings: Vec<Vec<u32>>, vocabulary: u32) -> Self {
        Self { tokens, closings, closed: 0, forced: VecDeque::new(), vocabulary }
    }

    /// Records a sampled token, with the number of reasoning tokens so far and whether the model is still reasoning.
    pub fn record(&mut self, token: u32, reasoning_tokens: u32, is_reasoning: bool) {
        if self.forced.pop_front() != Some(token) {
            // A grammar required another token.
            self.forced.clear();
        }
        if self.forced.is_empty() && is_reasoning && reasoning_tokens >= self.tokens {
            let last = self.closings.len().saturating_sub(1);
            self.forced = self.closings.get(self.closed.min(last)).cloned().unwrap_or_default().into();
            self.closed += 1;
        }
    }

    /// A mask that allows the whole vocabulary.
    pub fn open_mask(&self) -> TokenMask {
        let mut mask = vec![u32::MAX; self.vocabulary.div_ceil(32) as usize];
        if let Some(last) = mask.last_mut().filter(|_| !self.vocabulary.is_multiple_of(32)) {
            *last = (1 << (self.vocabulary % 32)) - 1;
        }
        mask
    }

    /// Restricts `mask` to the forced token, if `mask` allows it.
    pub fn restrict(&self, mask: &mut TokenMask) {
        let Some(token) = self.forced.front() else { return };
        let (word, bit) = (*token as usize / 32, 1 << (token % 32));
        if mask.get(word).is_some_and(|bits| bits & bit != 0) {
            mask.fill(0);
            mask[word] = bit;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn only(budget: &ReasoningBudget) -> Option<u32> {
        let mut mask = budget.open_mask();
        budget.restrict(&mut mask);
        let allowed = |token: u32| mask[token as usize / 32] >> (token % 32) & 1 == 1;
        let mut all = (0..mask.len() as u32 * 32).filter(|token| allowed(*token));
        let first = all.next();
        if all.next().is_some() { None } else { first }
    }

    #[test]
    fn reasoning_past_the_limit_forces_the_closing_tokens() {
        let mut budget = ReasoningBudget::new(2, vec![vec![7, 8], vec![9]], 40);
        assert_eq!(budget.open_mask().iter().map(|word| word.count_ones()).sum::<u32>(), 40);
        budget.record(1, 1, true);
        assert_eq!(only(&budget), None);
        budget.record(1, 2, true);
        assert_eq!(only(&budget), Some(7));
        budget.record(7, 3, true);
        assert_eq!(only(&budget), Some(8));
        budget.record(8, 4, false);
        budget.record(1, 4, false);
        assert_eq!(only(&budget), None);
        // Reopened reasoning closes at once, with the second sequence each time.
        for _ in 0..2 {
            budget.record(1, 5, true);
            assert_eq!(only(&budget), Some(9));
            budget.record(9, 5, false);
        }
    }

    #[test]
    fn grammar_that_excludes_the_forced_token_wins() {
        let mut budget = ReasoningBudget::new(1, vec![vec![7, 8]], 64);
        budget.record(1, 1, true);
        let mut mask = vec![0b110, 0];
        budget.restrict(&mut mask);
        assert_eq!(mask, [0b110, 0]);
        budget.record(2, 1, false);
        assert_eq!(only(&budget), None);
    }
}
