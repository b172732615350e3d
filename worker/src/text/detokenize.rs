//! Turns tokens into text as they come, in whole characters only. A pure fold over token ids.
//!
//! A token can end inside a character, and what a token decodes to can depend on the one before it. So a short window of
//! tokens is decoded, and what goes beyond the text already let out is new (vLLM's and Transformers' streamers do the
//! same). The concatenation of all pieces is the decoding of all tokens without special ones, except that a half
//! character at the very end is dropped; and where a tokenizer with byte tokens (SentencePiece's byte fallback) meets
//! bytes that are no UTF-8, characters before them in the same run of byte tokens stay what they were, while decoding
//! everything at once makes U+FFFD of them.

use std::sync::Arc;

use super::tokenizer::Tokenizer;

/// A character has at most four bytes: so many tokens can end inside one. More than these are not going to be one.
const MAX_INSIDE: usize = 3;
const REPLACEMENT: char = '\u{fffd}';

/// The state of one output.
#[derive(Debug)]
pub struct Detokenizer {
    tokenizer: Arc<Tokenizer>,
    /// The last tokens; they begin where a character begins.
    window: Vec<u32>,
    /// Bytes of the window's text that were let out.
    out: usize,
    /// Tokens since text was last let out.
    held: usize,
}

impl Detokenizer {
    /// A detokeniser with nothing in it.
    pub fn new(tokenizer: Arc<Tokenizer>) -> Self {
        Self { tokenizer, window: Vec::new(), out: 0, held: 0 }
    }

    /// Takes the next token; gives the text that is certain now, if any.
    pub fn push(&mut self, token: u32) -> Option<String> {
        if self.tokenizer.is_special(token) {
            return None;
        }
        self.window.push(token);
        self.held += 1;
        let text = self.tokenizer.decode(&self.window);
        let certain = match text.strip_suffix(REPLACEMENT) {
            None => text.len(),
            Some(_) if self.held <= MAX_INSIDE => return None,
            // The window holds bytes that are no character; only the last of them can still become one.
            Some(rest) => rest.len(),
        };
        let fresh = text.get(text.ceil_char_boundary(self.out)..certain).unwrap_or_default().to_owned();
        if fresh.is_empty() {
            // A leading space, say, that its decoder strips: whole, though nothing to show.
            if certain == text.len() {
                self.held = 0;
            }
            return None;
        }
        if certain == text.len() {
            self.lean_on_newest();
        } else {
            self.out = certain;
            self.shorten(&text);
            self.held = self.window.len();
        }
        Some(fresh)
    }

    /// The tokens that were held begin and end with whole characters: they are all that the next ones need.
    fn lean_on_newest(&mut self) {
        self.window.drain(..self.window.len() - self.held);
        self.out = self.tokenizer.decode(&self.window).len();
        self.held = 0;
    }

    /// Amid bytes that are no characters: cuts the window where the halves decode to what the whole does.
    fn shorten(&mut self, text: &str) {
        for cut in (1..self.window.len()).rev().take(2 * MAX_INSIDE) {
            let (before, after) = self.window.split_at(cut);
            let (before, after) = (self.tokenizer.decode(before), self.tokenizer.decode(after));
            if before.len() <= self.out && before.len() + after.len() == text.len() && text.ends_with(&after)
            {
                self.out -= before.len();
                self.window.drain(..cut);
                return;
            }
        }
    }

    /// Takes a special token that is to be seen as it is written; gives the text held back, and its own.
    pub fn push_marker(&mut self, token: u32) -> String {
        self.finish() + &self.tokenizer.token(token).unwrap_or_default()
    }

    /// The text held back, without the half character at its end.
    pub fn finish(&mut self) -> String {
        let text = self.tokenizer.decode(&self.window);
        self.window.clear();
        let out = std::mem::take(&mut self.out);
        self.held = 0;
        text.get(text.ceil_char_boundary(out)..).unwrap_or_default().trim_end_matches(REPLACEMENT).to_owned()
    }
}

#[cfg(test)]
mod tests;
