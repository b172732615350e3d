//! How long a model may think: once its tokens are used up the reasoning is closed in the model's own form, and it goes on to
//! answer. Pure: what is forced follows from the tokens before it, so a request that is taken up again goes on alike.

use std::collections::VecDeque;

use super::runner::Mask;

/// What is left of it.
#[derive(Debug, Clone)]
pub struct Budget {
    /// Tokens of reasoning, at most.
    tokens: u32,
    /// What closes it; where it is opened again, the next. The last is used again.
    closings: Vec<Vec<u32>>,
    closed: usize,
    /// Tokens that come next, one after another.
    forced: VecDeque<u32>,
    vocabulary: u32,
}

impl Budget {
    /// So many tokens of a model that has `vocabulary`; `closings` are not empty.
    pub fn new(tokens: u32, closings: Vec<Vec<u32>>, vocabulary: u32) -> Self {
        Self { tokens, closings, closed: 0, forced: VecDeque::new(), vocabulary }
    }

    /// Notes that `token` has come: so many were thought so far, and the model is `thinking` or not.
    pub fn note(&mut self, token: u32, thought: u32, thinking: bool) {
        if self.forced.pop_front() != Some(token) {
            // Something else must come, by a grammar.
            self.forced.clear();
        }
        if self.forced.is_empty() && thinking && thought >= self.tokens {
            let last = self.closings.len().saturating_sub(1);
            self.forced = self.closings.get(self.closed.min(last)).cloned().unwrap_or_default().into();
            self.closed += 1;
        }
    }

    /// A mask that allows every token.
    pub fn open_mask(&self) -> Mask {
        let mut mask = vec![u32::MAX; self.vocabulary.div_ceil(32) as usize];
        if let Some(last) = mask.last_mut().filter(|_| !self.vocabulary.is_multiple_of(32)) {
            *last = (1 << (self.vocabulary % 32)) - 1;
        }
        mask
    }

    /// Leaves what must come next, where that is allowed.
    pub fn narrow(&self, mask: &mut Mask) {
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

    fn only(budget: &Budget) -> Option<u32> {
        let mut mask = budget.open_mask();
        budget.narrow(&mut mask);
        let allowed = |token: u32| mask[token as usize / 32] >> (token % 32) & 1 == 1;
        let mut all = (0..mask.len() as u32 * 32).filter(|token| allowed(*token));
        let first = all.next();
        if all.next().is_some() { None } else { first }
    }

    #[test]
    fn reasoning_is_closed_when_its_tokens_are_used_up() {
        let mut budget = Budget::new(2, vec![vec![7, 8], vec![9]], 40);
        assert_eq!(budget.open_mask().iter().map(|word| word.count_ones()).sum::<u32>(), 40);
        budget.note(1, 1, true);
        assert_eq!(only(&budget), None);
        budget.note(1, 2, true);
        assert_eq!(only(&budget), Some(7));
        budget.note(7, 3, true);
        assert_eq!(only(&budget), Some(8));
        budget.note(8, 4, false);
        budget.note(1, 4, false);
        assert_eq!(only(&budget), None);
        // It thinks again: closed at once, in the other way, each time.
        for _ in 0..2 {
            budget.note(1, 5, true);
            assert_eq!(only(&budget), Some(9));
            budget.note(9, 5, false);
        }
    }

    #[test]
    fn a_grammar_that_wants_something_else_wins() {
        let mut budget = Budget::new(1, vec![vec![7, 8]], 64);
        budget.note(1, 1, true);
        let mut mask = vec![0b110, 0];
        budget.narrow(&mut mask);
        assert_eq!(mask, [0b110, 0]);
        budget.note(2, 1, false);
        assert_eq!(only(&budget), None);
    }
}
