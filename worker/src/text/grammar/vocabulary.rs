//! A model's tokens as bytes, in a prefix tree, and the tokenisation of bytes that a grammar forces.

use std::collections::HashSet;
use std::sync::Arc;

use llguidance::toktrie::{INVALID_TOKEN, TokRxInfo, TokTrie, TokenizerEnv};

use crate::text::token_bytes::TokenBytes;
use crate::text::tokenizer::Tokenizer;

/// Bytes of a token, at most. The tree's limit is 1024. Longer tokens, which are runs of spaces, are never allowed.
const MAX_TOKEN_BYTES: usize = 1000;
/// A prefix for tokenizers that add a space at the beginning of a text. Usually no token spans a line break and the text after
/// it; [`Vocabulary::canonical`] detects the exceptions.
const ANCHOR: &str = "\n";

/// The tokens of one model.
pub(super) struct Vocabulary {
    tokenizer: Arc<Tokenizer>,
    trie: TokTrie,
    /// The tokens of [`ANCHOR`].
    anchor: Vec<u32>,
    /// The decoder drops the first space of a text.
    pub(super) drops_space: bool,
}

impl Vocabulary {
    /// The vocabulary of all ids below `tokens`. Those in `eos` end a turn.
    ///
    /// # Errors
    /// A sentence, when the tokenizer's decoder is unknown.
    pub(super) fn new(tokenizer: Arc<Tokenizer>, eos: &HashSet<u32>, tokens: u32) -> Result<Self, String> {
        let token_bytes = TokenBytes::from_decoder(&tokenizer.decoder())?;
        let mut eos: Vec<u32> = eos.iter().copied().filter(|token| *token < tokens).collect();
        eos.sort_unstable();
        // Rows of the weights beyond the tokenizer's tokens have no bytes, so they are never allowed.
        let bytes = |token| trie_bytes(&tokenizer, &token_bytes, token, eos.contains(&token));
        let words: Vec<Vec<u8>> = (0..tokens).map(bytes).collect();
        let first = eos.first().copied().unwrap_or(INVALID_TOKEN);
        let mut trie = TokTrie::from(&TokRxInfo::new(tokens, first), &words);
        if eos.len() > 1 {
            trie = trie.with_eos_tokens(&eos);
        }
        let anchor = tokenizer.encode(ANCHOR, false)?;
        Ok(Self { tokenizer, trie, anchor, drops_space: token_bytes.drops_space })
    }

    /// The usual tokenisation of `text` within a longer text. `None` when the tokenizer normalises the text or reads a part of it
    /// as a special token.
    fn canonical(&self, text: &str) -> Option<Vec<u32>> {
        let decodes_to_text = |tokens: &[u32]| self.trie.decode_raw(tokens) == text.as_bytes();
        let plain = self.tokenizer.encode(text, false).ok()?;
        if decodes_to_text(&plain) {
            return Some(plain);
        }
        let after = self.tokenizer.encode(&format!("{ANCHOR}{text}"), false).ok()?;
        after
            .strip_prefix(self.anchor.as_slice())
            .filter(|tokens| decodes_to_text(tokens))
            .map(<[u32]>::to_vec)
    }
}

impl TokenizerEnv for Vocabulary {
    fn tok_trie(&self) -> &TokTrie {
        &self.trie
    }

    fn tokenize_bytes(&self, bytes: &[u8]) -> Vec<u32> {
        let greedy = |text: &str| self.trie.greedy_tokenize(text.as_bytes());
        let whole = |text: &str| self.canonical(text).unwrap_or_else(|| greedy(text));
        self.trie.tokenize_with_greedy_fallback(bytes, whole)
    }
}

/// A token's bytes, with toktrie's mark for special tokens. Empty for a token that is never allowed.
fn trie_bytes(tokenizer: &Tokenizer, token_bytes: &TokenBytes, token: u32, eos: bool) -> Vec<u8> {
    const MARK: u8 = TokTrie::SPECIAL_TOKEN_MARKER;
    let Some(text) = tokenizer.token(token) else { return Vec::new() };
    // An end token is never text, even if its file does not flag it as special.
    let bytes = if eos || tokenizer.is_special(token) {
        [&[MARK], text.as_bytes()].concat()
    } else {
        // The mark is no valid byte of UTF-8.
        Some(token_bytes.bytes(&text)).filter(|bytes| bytes.first() != Some(&MARK)).unwrap_or_default()
    };
    if bytes.len() > MAX_TOKEN_BYTES { Vec::new() } else { bytes }
}
