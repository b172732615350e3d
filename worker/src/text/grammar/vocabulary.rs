//! A model's tokens as bytes, in a prefix tree, and the tokenisation of bytes that a grammar forces.

use std::collections::HashSet;
use std::sync::Arc;

use llguidance::toktrie::{INVALID_TOKEN, TokRxInfo, TokTrie, TokenizerEnv};

use crate::adapters::spelling::Spelling;
use crate::adapters::tokenizer::Tokenizer;

/// Bytes of a token, at most; the tree holds 1024. Longer ones, runs of spaces, are never allowed.
const MAX_TOKEN_BYTES: usize = 1000;
/// What texts are put after for a tokenizer that adds a space to where a text begins: no token spans a line's end and
/// what follows it, and where one does, it is noticed.
const ANCHOR: &str = "\n";

/// The tokens of one model.
pub(super) struct Vocabulary {
    tokenizer: Arc<Tokenizer>,
    trie: TokTrie,
    /// The tokens of [`ANCHOR`].
    anchor: Vec<u32>,
    /// The decoder drops a text's first space.
    pub(super) drops_space: bool,
}

impl Vocabulary {
    /// The tokens below `tokens`, of which `eos` end a turn.
    ///
    /// # Errors
    /// A sentence when it is not known what bytes this tokenizer's tokens stand for.
    pub(super) fn new(tokenizer: Arc<Tokenizer>, eos: &HashSet<u32>, tokens: u32) -> Result<Self, String> {
        let spelling = Spelling::of(&tokenizer.decoder())?;
        let mut eos: Vec<u32> = eos.iter().copied().filter(|token| *token < tokens).collect();
        eos.sort_unstable();
        // Rows of the weights beyond the tokenizer's tokens have no bytes, so they are never allowed.
        let bytes = |token| bytes(&tokenizer, &spelling, token, eos.contains(&token));
        let words: Vec<Vec<u8>> = (0..tokens).map(bytes).collect();
        let first = eos.first().copied().unwrap_or(INVALID_TOKEN);
        let mut trie = TokTrie::from(&TokRxInfo::new(tokens, first), &words);
        if eos.len() > 1 {
            trie = trie.with_eos_tokens(&eos);
        }
        let anchor = tokenizer.encode(ANCHOR, false)?;
        Ok(Self { tokenizer, trie, anchor, drops_space: spelling.drops_space })
    }

    /// The tokens that the model was trained to see for `text` inside a longer one; `None` when the tokenizer changes
    /// the text, for it normalises, or takes it for a special token.
    fn canonical(&self, text: &str) -> Option<Vec<u32>> {
        let spells = |tokens: &[u32]| self.trie.decode_raw(tokens) == text.as_bytes();
        let plain = self.tokenizer.encode(text, false).ok()?;
        if spells(&plain) {
            return Some(plain);
        }
        let after = self.tokenizer.encode(&format!("{ANCHOR}{text}"), false).ok()?;
        after.strip_prefix(self.anchor.as_slice()).filter(|tokens| spells(tokens)).map(<[u32]>::to_vec)
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

/// A token's bytes; special tokens are marked as toktrie wants. Empty for one that can never be allowed.
fn bytes(tokenizer: &Tokenizer, spelling: &Spelling, token: u32, eos: bool) -> Vec<u8> {
    const MARK: u8 = TokTrie::SPECIAL_TOKEN_MARKER;
    let Some(text) = tokenizer.token(token) else { return Vec::new() };
    // A token that ends the turn is never text, whatever its file says.
    let bytes = if eos || tokenizer.is_special(token) {
        [&[MARK], text.as_bytes()].concat()
    } else {
        // The byte of the mark is in no UTF-8 text.
        Some(spelling.bytes(&text)).filter(|bytes| bytes.first() != Some(&MARK)).unwrap_or_default()
    };
    if bytes.len() > MAX_TOKEN_BYTES { Vec::new() } else { bytes }
}
