//! A lower bound of the number of tokens in a text.

use serde::{Deserialize, Serialize};

/// How many times the needed bytes are looked at, in each part.
const LOOK: usize = 4;

/// The longest text that one token of a model can stand for. It gives a lower bound of the number of tokens in a text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenBound {
    /// Bytes of text in one token, at most.
    pub bytes: u32,
    /// Bytes without a token: a text may have any number of them.
    pub untokenized: Vec<u8>,
    /// White space may belong to no token, too.
    pub skips_space: bool,
}

impl TokenBound {
    /// Whether texts with these parts certainly have more than `tokens` tokens together. Looks at a few times as much of them as
    /// that needs at most, so that the time does not grow with the texts.
    pub fn is_exceeded<'a>(&self, parts: impl Iterator<Item = &'a str> + Clone, tokens: usize) -> bool {
        let needed = tokens.saturating_add(1).saturating_mul(self.bytes.max(1) as usize);
        if parts.clone().map(str::len).fold(0, usize::saturating_add) < needed {
            return false;
        }
        let mut counts = [true; 256];
        self.untokenized.iter().for_each(|byte| counts[usize::from(*byte)] = false);
        let counted = |text: &str| text.bytes().filter(|byte| counts[usize::from(*byte)]).count();
        let mut found = 0;
        for part in parts {
            let beginning = &part[..part.floor_char_boundary(needed.saturating_mul(LOOK))];
            for word in beginning.split(|char: char| self.skips_space && char.is_whitespace()) {
                found += counted(word);
                if found >= needed {
                    return true;
                }
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bound() -> TokenBound {
        TokenBound { bytes: 4, untokenized: Vec::new(), skips_space: false }
    }

    fn exceeds(bound: &TokenBound, parts: &[&str], tokens: usize) -> bool {
        bound.is_exceeded(parts.iter().copied(), tokens)
    }

    #[test]
    fn text_exceeds_only_numbers_that_its_tokens_must_exceed() {
        assert!(!exceeds(&bound(), &["abcdefg"], 1));
        assert!(exceeds(&bound(), &["abcdefgh"], 1));
        assert!(exceeds(&bound(), &["abcd", "efgh"], 1));
        assert!(!exceeds(&bound(), &["abcd", "efgh"], 2));
        assert!(!exceeds(&bound(), &[], 0));
        assert!(!exceeds(&bound(), &["abcd"], usize::MAX));
    }

    #[test]
    fn bytes_without_tokens_and_skipped_spaces_do_not_count() {
        let silent = TokenBound { untokenized: b"xy".to_vec(), ..bound() };
        assert!(!exceeds(&silent, &["xxabcyyyyyyy"], 0));
        assert!(exceeds(&silent, &["xxabcyyyyyyyd"], 0));
        let skips = TokenBound { skips_space: true, ..bound() };
        assert!(!exceeds(&skips, &["  ab\n \u{3000} c  "], 0));
        assert!(exceeds(&skips, &["  ab\n c  d"], 0));
    }

    /// The part that is looked at may end within a character.
    #[test]
    fn long_text_of_many_byte_characters_is_counted() {
        assert!(exceeds(&bound(), &[&"語".repeat(1000)], 10));
    }
}
