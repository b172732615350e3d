//! Converts tokens to text as they come, in whole characters only. A pure fold over token ids.
//!
//! A token can end inside a character, and its text can depend on the token before it. So the detokenizer decodes a short window
//! of tokens and releases the text beyond what it has released before, like vLLM's and Transformers' streamers.
//!
//! The pieces concatenate to the decoding of all tokens without special ones, with two exceptions. An incomplete character at the
//! end is dropped. With byte tokens (SentencePiece's byte fallback), bytes that are no UTF-8 do not change the characters before
//! them in the same run. Decoding all tokens at once turns these characters into U+FFFD.

use std::sync::Arc;

use super::tokenizer::Tokenizer;

/// The most tokens that can end inside one character, which has at most four bytes. A longer run is no character.
const MAX_PARTIAL: usize = 3;
const REPLACEMENT: char = '\u{fffd}';

/// The state of one output.
#[derive(Debug)]
pub struct Detokenizer {
    tokenizer: Arc<Tokenizer>,
    /// The last tokens, from the beginning of a character on.
    window: Vec<u32>,
    /// Bytes of the window's text that were released.
    released: usize,
    /// Tokens since text was last released.
    held: usize,
}

impl Detokenizer {
    /// A detokenizer before the first token.
    pub fn new(tokenizer: Arc<Tokenizer>) -> Self {
        Self { tokenizer, window: Vec::new(), released: 0, held: 0 }
    }

    /// Decodes the next token. Returns the text that is certain now, if any.
    pub fn push(&mut self, token: u32) -> Option<String> {
        if self.tokenizer.is_special(token) {
            return None;
        }
        self.window.push(token);
        self.held += 1;
        let text = self.tokenizer.decode(&self.window);
        let certain = match text.strip_suffix(REPLACEMENT) {
            None => text.len(),
            Some(_) if self.held <= MAX_PARTIAL => return None,
            // The window holds bytes that are no character. Only the last of them can still begin one.
            Some(rest) => rest.len(),
        };
        let fresh = text.get(text.ceil_char_boundary(self.released)..certain).unwrap_or_default().to_owned();
        if fresh.is_empty() {
            // The token is complete without text, like a leading space that the decoder strips.
            if certain == text.len() {
                self.held = 0;
            }
            return None;
        }
        if certain == text.len() {
            self.keep_held_tokens();
        } else {
            self.released = certain;
            self.shrink_window(&text);
            self.held = self.window.len();
        }
        Some(fresh)
    }

    /// Shortens the window to the held tokens. They begin and end with whole characters, so they suffice as context.
    fn keep_held_tokens(&mut self) {
        self.window.drain(..self.window.len() - self.held);
        self.released = self.tokenizer.decode(&self.window).len();
        self.held = 0;
    }

    /// Shortens the window amid bytes that are no characters, where the halves decode to the same text as the whole.
    fn shrink_window(&mut self, text: &str) {
        for cut in (1..self.window.len()).rev().take(2 * MAX_PARTIAL) {
            let (before, after) = self.window.split_at(cut);
            let (before, after) = (self.tokenizer.decode(before), self.tokenizer.decode(after));
            if before.len() <= self.released
                && before.len() + after.len() == text.len()
                && text.ends_with(&after)
            {
                self.released -= before.len();
                self.window.drain(..cut);
                return;
            }
        }
    }

    /// Handles a special token that must stay visible. Returns the text held back, and the token as written.
    pub fn push_marker(&mut self, token: u32) -> String {
        self.finish() + &self.tokenizer.token(token).unwrap_or_default()
    }

    /// Ends the text. Returns the text held back, without an incomplete character at its end.
    pub fn finish(&mut self) -> String {
        let text = self.tokenizer.decode(&self.window);
        self.window.clear();
        let released = std::mem::take(&mut self.released);
        self.held = 0;
        text.get(text.ceil_char_boundary(released)..)
            .unwrap_or_default()
            .trim_end_matches(REPLACEMENT)
            .to_owned()
    }
}

#[cfg(test)]
mod tests;
