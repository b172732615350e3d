//! The state of one output under a grammar: a pure fold over token ids, which can be copied and taken back.

use std::collections::VecDeque;
use std::fmt;

use llguidance::api::StopReason;
use llguidance::toktrie::{TokEnv, TokTrie};
use llguidance::{Matcher as Inner, TokenParser};

/// What a constrained output may go on with. A state after some tokens is also what a fresh one becomes by taking the same
/// tokens again. A clone goes its own way; clones share what they learn of the grammar, and should live on one thread.
#[derive(Clone)]
pub struct Matcher {
    inner: Inner,
    tokens: TokEnv,
    /// Tokens that must come next, as the model was trained to see them; found once for a whole run of them.
    forced: VecDeque<u32>,
    /// A token that ends the turn was taken.
    ended: bool,
    /// Tokens taken, that one not included.
    length: usize,
}

impl Matcher {
    /// Before the first token.
    pub(super) fn new(parser: TokenParser) -> Self {
        let tokens = parser.token_env.clone();
        Self { inner: Inner::new(Ok(parser)), tokens, forced: VecDeque::new(), ended: false, length: 0 }
    }

    /// Finds out what may come first, once.
    pub(super) fn start(&mut self) -> Result<(), String> {
        if self.is_complete() {
            return Ok(());
        }
        self.force()?;
        if self.forced.is_empty() {
            // Its result stays with llguidance.
            self.inner.compute_mask().map_err(|e| plain(&e.to_string()))?;
        }
        Ok(())
    }

    /// Sets the bits of the tokens that may come next, and clears all others: token `t` is bit `t % 32` of word `t / 32`.
    /// Tokens that end the turn are among them exactly where the output may end. All bits are clear only when
    /// [`Self::is_complete`] in a model without such tokens. Takes microseconds, seldom milliseconds.
    ///
    /// # Errors
    /// A sentence, when the grammar has become too costly to follow or leads nowhere; it stays so.
    pub fn mask(&mut self, words: &mut [u32]) -> Result<(), String> {
        words.fill(0);
        if self.is_complete() {
            self.eos().for_each(|token| allow(words, token));
            return Ok(());
        }
        self.force()?;
        if let Some(token) = self.forced.front() {
            allow(words, *token);
            return Ok(());
        }
        let mask = self.inner.compute_mask().map_err(|e| plain(&e.to_string()))?;
        for (word, bits) in words.iter_mut().zip(mask.as_slice()) {
            *word = *bits;
        }
        Ok(())
    }

    /// Words of 32 bits in a mask.
    pub fn words(&self) -> usize {
        self.tokens.tok_trie().vocab_size().div_ceil(32)
    }

    /// Goes on with `token`.
    ///
    /// # Errors
    /// A sentence, when it may not come next. The state is as before.
    pub fn push(&mut self, token: u32) -> Result<(), String> {
        if self.ended {
            return Err(format!("token {token} comes after the output's end"));
        }
        if self.is_eos(token) {
            self.ended = self.may_end_with(token);
            return if self.ended { Ok(()) } else { Err("the output ends before the grammar does".into()) };
        }
        // llguidance would never recover from a token that does not exist.
        if self.is_token(token)
            && self.inner.try_consume_tokens(&[token]).map_err(|e| plain(&e.to_string()))? == 1
        {
            self.length += 1;
            if self.forced.pop_front() != Some(token) {
                self.forced.clear();
            }
            return Ok(());
        }
        Err(match self.inner.get_error() {
            Some(error) => plain(&error),
            None => format!("token {token} is not allowed by the grammar"),
        })
    }

    /// How many of `tokens` may come next, one after another. The state does not change.
    ///
    /// # Errors
    /// A sentence, when the grammar has become too costly to follow; it stays so.
    pub fn valid(&mut self, tokens: &[u32]) -> Result<usize, String> {
        if self.is_complete() {
            return Ok(tokens.iter().take(1).filter(|token| !self.ended && self.is_eos(**token)).count());
        }
        let known = tokens.iter().take_while(|token| self.is_token(**token)).count();
        let end = tokens.iter().position(|token| self.is_eos(*token)).map_or(known, |at| known.min(at + 1));
        self.inner.validate_tokens(&tokens[..end]).map_err(|e| plain(&e.to_string()))
    }

    /// Takes the last `count` tokens back.
    ///
    /// # Errors
    /// A sentence, when there are fewer, or the grammar cannot go back (Lark's `stop`, `suffix` and `max_tokens`): the state
    /// is of no use after that, so a copy made beforehand is the way where it can happen.
    pub fn rollback(&mut self, count: usize) -> Result<(), String> {
        let taken = self.length + usize::from(self.ended);
        if count > taken {
            return Err(format!("{count} tokens cannot be taken back after {taken}"));
        }
        if count > 0 {
            let inner = count - usize::from(std::mem::take(&mut self.ended));
            self.forced.clear();
            self.inner.rollback(inner).map_err(|e| plain(&e.to_string()))?;
            self.length -= inner;
        }
        Ok(())
    }

    /// Whether the output may end here.
    pub fn may_end(&mut self) -> bool {
        self.is_complete() || self.inner.is_accepting().unwrap_or(false)
    }

    /// Whether nothing can follow but a token that ends the turn.
    pub fn is_complete(&self) -> bool {
        self.ended || matches!(self.inner.stop_reason(), StopReason::NoExtension | StopReason::EndOfSentence)
    }

    /// Finds the tokens that must come next, where it is not known.
    fn force(&mut self) -> Result<(), String> {
        if self.forced.is_empty() {
            self.forced = self.inner.compute_ff_tokens().into();
            // What is forced for ever so long exhausts limits, which only taking a token would show.
            if let Some(token) = self.forced.front() {
                self.inner.clone().consume_token(*token).map_err(|e| plain(&e.to_string()))?;
            }
        }
        Ok(())
    }

    fn trie(&self) -> &TokTrie {
        self.tokens.tok_trie()
    }

    fn is_token(&self, token: u32) -> bool {
        (token as usize) < self.trie().vocab_size()
    }

    /// The tokens that end the turn; toktrie has an invalid one where there are none.
    fn eos(&self) -> impl Iterator<Item = u32> {
        self.trie().eos_tokens().iter().copied().filter(|token| self.is_token(*token))
    }

    fn is_eos(&self, token: u32) -> bool {
        self.eos().any(|eos| eos == token)
    }

    /// Whether the turn may end with `token`. A rule of Lark can also demand the turn's end (`stop=""`), which only
    /// trying shows.
    fn may_end_with(&mut self, token: u32) -> bool {
        self.may_end() || self.inner.clone().consume_token(token).is_ok()
    }
}

impl fmt::Debug for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Matcher").field("complete", &self.is_complete()).finish_non_exhaustive()
    }
}

fn allow(words: &mut [u32], token: u32) {
    if let Some(word) = words.get_mut(token as usize / 32) {
        *word |= 1 << (token % 32);
    }
}

/// The first line of what llguidance says.
fn plain(message: &str) -> String {
    let line = message.lines().next().unwrap_or_default();
    format!("the grammar cannot be followed: {line}")
}
