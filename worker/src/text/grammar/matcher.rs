//! The state of one output under a grammar: a pure fold over token ids that supports cloning and rollback.

use std::collections::VecDeque;
use std::fmt;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use llguidance::api::StopReason;
use llguidance::toktrie::{TokEnv, TokTrie};
use llguidance::{CancellationHandle, Matcher as Inner, TokenParser};

use crate::priority;

/// llguidance's error of a cancelled mask.
const CANCELLED: &str = "operation cancelled";
const TOO_SLOW: &str = "it has too many readings of the same text, so that it takes too long to follow";
/// Time of watched work after which its thread gets a low priority.
const LATE: Duration = Duration::from_millis(20);
/// Processor time of watched work. A grammar that needs more is refused.
const WATCHED: Duration = Duration::from_secs(5);
/// How many times that may pass where other programs keep the processor busy.
const STRETCH: u32 = 6;

/// Ends the work of a [`Matcher`] on another thread. The matcher is unusable afterwards.
#[derive(Debug, Clone)]
pub struct Cancel(Option<CancellationHandle>);

impl Cancel {
    /// Ends the work soon.
    pub fn cancel(&self) {
        self.0.iter().for_each(CancellationHandle::cancel);
    }
}

/// Computes the tokens that may come next. The state depends only on the tokens so far, so pushing the same tokens rebuilds it.
pub struct Matcher {
    /// Boxed, since a matcher moves between threads for each token.
    inner: Box<Inner>,
    tokens: TokEnv,
    /// The tokens that must come next, in the model's usual tokenisation. Computed once for each run of them.
    forced: VecDeque<u32>,
    /// The last token ended the turn.
    ended: bool,
    /// The number of tokens so far, without the end token.
    length: usize,
    /// Each token takes this time at least, and each mask.
    #[cfg(feature = "test-doubles")]
    delays: (Duration, Duration),
}

impl Matcher {
    /// A matcher before the first token.
    pub(super) fn new(parser: TokenParser) -> Self {
        let tokens = parser.token_env.clone();
        let inner = Box::new(Inner::new(Ok(parser)).into_cancellable());
        Self {
            inner,
            tokens,
            forced: VecDeque::new(),
            ended: false,
            length: 0,
            #[cfg(feature = "test-doubles")]
            delays: (Duration::ZERO, Duration::ZERO),
        }
    }

    /// Makes each token and each mask take these times, as those of a grammar with many readings do.
    #[cfg(feature = "test-doubles")]
    #[must_use]
    pub fn with_delays(self, token: Duration, mask: Duration) -> Self {
        Self { delays: (token, mask), ..self }
    }

    #[cfg(feature = "test-doubles")]
    fn wait(&self, delay: Duration) {
        let start = Instant::now();
        while start.elapsed() < delay && !self.inner.is_cancelled() {
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Ends this matcher's work from another thread.
    pub fn cancel(&self) -> Cancel {
        Cancel(self.inner.cancellation_handle())
    }

    /// Computes the first mask, which llguidance caches. Refuses a grammar for which that takes too long.
    pub(super) fn prepare(&mut self) -> Result<(), String> {
        if self.is_complete() { Ok(()) } else { self.watched(Self::prepare_first) }
    }

    /// Does work that may take long, on this thread: with a low priority soon, and cancelled after five seconds of work.
    pub fn watched<T>(&mut self, work: impl FnOnce(&mut Self) -> T) -> T {
        self.watched_for(WATCHED, work)
    }

    fn watched_for<T>(&mut self, limit: Duration, work: impl FnOnce(&mut Self) -> T) -> T {
        let (cancel, this) = (self.cancel(), priority::this_thread());
        let (start, before) = (Instant::now(), priority::cpu_time(this));
        // Time that passes says little of a thread with a low priority.
        let worked = move || {
            let used = priority::cpu_time(this).zip(before).map(|(now, before)| now.saturating_sub(before));
            used.filter(|_| start.elapsed() < limit * STRETCH).unwrap_or_else(|| start.elapsed())
        };
        thread::scope(|scope| {
            let (done, ended) = channel::<()>();
            scope.spawn(move || {
                let runs = |time| ended.recv_timeout(time) == Err(RecvTimeoutError::Timeout);
                if !runs(LATE.min(limit)) {
                    return;
                }
                priority::lower(this);
                let mut left = limit.saturating_sub(LATE);
                while runs(left) {
                    left = limit.saturating_sub(worked());
                    if left.is_zero() {
                        return cancel.cancel();
                    }
                }
            });
            let outcome = work(self);
            drop(done);
            outcome
        })
    }

    fn prepare_first(&mut self) -> Result<(), String> {
        self.compute_forced()?;
        if self.forced.is_empty() {
            self.inner.compute_mask().map_err(|e| describe(&e.to_string()))?;
        }
        Ok(())
    }

    /// Sets the bits of the tokens that may come next and clears all others: token `t` is bit `t % 32` of word `t / 32`.
    /// Includes the end tokens exactly when the output may end. All bits are clear only when [`Self::is_complete`] in a model
    /// without end tokens. Takes microseconds, rarely milliseconds.
    ///
    /// # Errors
    /// A sentence, when the grammar exceeds llguidance's limits or leads to a dead end. The error is permanent.
    pub fn mask(&mut self, words: &mut [u32]) -> Result<(), String> {
        words.fill(0);
        #[cfg(feature = "test-doubles")]
        self.wait(self.delays.1);
        if self.is_complete() {
            self.eos().for_each(|token| allow(words, token));
            return Ok(());
        }
        self.compute_forced()?;
        if let Some(token) = self.forced.front() {
            allow(words, *token);
            return Ok(());
        }
        let mask = self.inner.compute_mask().map_err(|e| describe(&e.to_string()))?;
        for (word, bits) in words.iter_mut().zip(mask.as_slice()) {
            *word = *bits;
        }
        Ok(())
    }

    /// The number of 32-bit words in a mask.
    pub fn words(&self) -> usize {
        self.tokens.tok_trie().vocab_size().div_ceil(32)
    }

    /// Advances by `token`.
    ///
    /// # Errors
    /// A sentence, when the token may not come next. The state does not change.
    pub fn push(&mut self, token: u32) -> Result<(), String> {
        #[cfg(feature = "test-doubles")]
        self.wait(self.delays.0);
        if self.ended {
            return Err(format!("token {token} comes after the output's end"));
        }
        if self.is_eos(token) {
            self.ended = self.may_end_with(token);
            return if self.ended { Ok(()) } else { Err("the output ends before the grammar does".into()) };
        }
        // A token that does not exist would put llguidance into a permanent error.
        if self.is_token(token)
            && self.inner.try_consume_tokens(&[token]).map_err(|e| describe(&e.to_string()))? == 1
        {
            self.length += 1;
            if self.forced.pop_front() != Some(token) {
                self.forced.clear();
            }
            return Ok(());
        }
        Err(match self.inner.get_error() {
            Some(error) => describe(&error),
            None => format!("token {token} is not allowed by the grammar"),
        })
    }

    /// Whether the grammar exceeds llguidance's limits. That is permanent.
    pub fn is_broken(&self) -> bool {
        self.inner.get_error().is_some()
    }

    /// The number of leading `tokens` that may come next. The state does not change.
    ///
    /// # Errors
    /// A sentence, when the grammar exceeds llguidance's limits. The error is permanent.
    pub fn valid(&mut self, tokens: &[u32]) -> Result<usize, String> {
        if self.is_complete() {
            return Ok(tokens.iter().take(1).filter(|token| !self.ended && self.is_eos(**token)).count());
        }
        let known = tokens.iter().take_while(|token| self.is_token(**token)).count();
        let end = tokens.iter().position(|token| self.is_eos(*token)).map_or(known, |at| known.min(at + 1));
        self.inner.validate_tokens(&tokens[..end]).map_err(|e| describe(&e.to_string()))
    }

    /// Removes the last `count` tokens.
    ///
    /// # Errors
    /// A sentence, when there are fewer tokens, or the grammar cannot roll back (Lark's `stop`, `suffix` and `max_tokens`). The
    /// matcher is unusable after such an error. If an error is possible, clone the matcher beforehand.
    pub fn rollback(&mut self, count: usize) -> Result<(), String> {
        let taken = self.length + usize::from(self.ended);
        if count > taken {
            return Err(format!("{count} tokens cannot be taken back after {taken}"));
        }
        if count > 0 {
            let inner = count - usize::from(std::mem::take(&mut self.ended));
            self.forced.clear();
            self.inner.rollback(inner).map_err(|e| describe(&e.to_string()))?;
            self.length -= inner;
        }
        Ok(())
    }

    /// Whether the output may end here.
    pub fn may_end(&mut self) -> bool {
        self.is_complete() || self.inner.is_accepting().unwrap_or(false)
    }

    /// Whether only an end token may follow.
    pub fn is_complete(&self) -> bool {
        self.ended || matches!(self.inner.stop_reason(), StopReason::NoExtension | StopReason::EndOfSentence)
    }

    /// Computes the forced tokens, unless some are known.
    fn compute_forced(&mut self) -> Result<(), String> {
        if self.forced.is_empty() {
            self.forced = self.inner.compute_ff_tokens().into();
            // An endless forced text exceeds llguidance's limits, which only consuming a token reveals.
            if let Some(token) = self.forced.front() {
                self.inner.clone().consume_token(*token).map_err(|e| describe(&e.to_string()))?;
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

    /// The end tokens. toktrie reports an invalid one if there are none.
    fn eos(&self) -> impl Iterator<Item = u32> {
        self.trie().eos_tokens().iter().copied().filter(|token| self.is_token(*token))
    }

    fn is_eos(&self, token: u32) -> bool {
        self.eos().any(|eos| eos == token)
    }

    /// Whether the turn may end with `token`. A Lark rule can also demand the end (`stop=""`), which only a trial reveals.
    fn may_end_with(&mut self, token: u32) -> bool {
        self.may_end() || self.inner.clone().consume_token(token).is_ok()
    }
}

/// Clones advance independently, also on other threads: each has its own cache of the grammar.
impl Clone for Matcher {
    fn clone(&self) -> Self {
        let Self { inner, tokens, forced, ended, length, .. } = self;
        Self {
            inner: Box::new(inner.deep_clone()),
            tokens: tokens.clone(),
            forced: forced.clone(),
            ended: *ended,
            length: *length,
            #[cfg(feature = "test-doubles")]
            delays: self.delays,
        }
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

/// llguidance's error as a sentence, in words that its client can act on where it is a usual one.
fn describe(message: &str) -> String {
    let line = message.lines().next().unwrap_or_default();
    // Some come with the part of the library before them.
    let line = line.strip_prefix("Parser Error: ").unwrap_or(line);
    if line == CANCELLED {
        return TOO_SLOW.to_owned();
    }
    if line.contains("NoExtensionBias") {
        return "it refers to itself without an end, so that no text matches it".into();
    }
    if let Some(rest) = line.strip_prefix("Current row has ") {
        let number = |text: &str| text.chars().take_while(char::is_ascii_digit).collect::<String>();
        let most = rest.split_once("max is ").map_or_else(String::new, |(_, most)| number(most));
        return format!(
            "it allows too many things in one place, such as optional properties: {} of at most {most}",
            number(rest)
        );
    }
    if line.starts_with("Too many items") {
        return "it has too many readings of the same text: make it less ambiguous".into();
    }
    format!("it cannot be followed: {line}")
}
