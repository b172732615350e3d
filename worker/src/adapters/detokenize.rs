//! Turns tokens into text as they come, in whole characters only.
//!
//! A token can end inside a character, and what a token decodes to can depend on the one before it. So a short window
//! of tokens is decoded with and without the newest ones, and the difference is the new text (the way of vLLM's
//! incremental detokeniser). The concatenation of all pieces is the decoding of all tokens, special tokens left out.

use std::sync::Arc;

use super::tokenizer::Tokenizer;

/// A character has at most four bytes; more tokens than this that end in none are no beginning of a character.
const MAX_HELD_TOKENS: usize = 8;
const REPLACEMENT: char = '\u{fffd}';

/// The state of one output.
#[derive(Debug)]
pub struct Detokenizer {
    tokenizer: Arc<Tokenizer>,
    /// The window: tokens already let out, for context, then those that are not.
    window: Vec<u32>,
    /// How many of the window are let out.
    out: usize,
    /// What those decode to.
    context: String,
}

impl Detokenizer {
    /// A detokeniser with nothing in it.
    pub fn new(tokenizer: Arc<Tokenizer>) -> Self {
        Self { tokenizer, window: Vec::new(), out: 0, context: String::new() }
    }

    /// Takes the next token; gives the text that is certain now, if any.
    pub fn push(&mut self, token: u32) -> Option<String> {
        self.window.push(token);
        let text = self.tokenizer.decode(&self.window);
        let held = self.window.len() - self.out;
        if text.ends_with(REPLACEMENT) && held <= MAX_HELD_TOKENS {
            return None;
        }
        let fresh = text.get(self.context.len()..).unwrap_or_default().to_owned();
        // The tokens that were new are the context of the next ones.
        self.window.drain(..self.out);
        self.out = self.window.len();
        self.context = self.tokenizer.decode(&self.window);
        (!fresh.is_empty()).then_some(fresh)
    }

    /// The text held back, without the half character at its end.
    pub fn finish(&mut self) -> String {
        let text = self.tokenizer.decode(&self.window);
        let fresh =
            text.get(self.context.len()..).unwrap_or_default().trim_end_matches(REPLACEMENT).to_owned();
        self.window.clear();
        self.out = 0;
        self.context.clear();
        fresh
    }
}
