//! A request's way from tokens to events: detokenise, look for stop texts, tell reasoning and calls from
//! the answer, count, end. A pure fold over token ids.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use ipc_proto::generate::{Alternative, Delta, Event, FinishReason, Part, TokenLogprob, Usage};

use super::runner::Scored;
use super::sequence::Order;
use crate::adapters::detokenize::Detokenizer;
use crate::adapters::reading::{Manner, Reading};
use crate::adapters::stop::StopMatcher;
use crate::adapters::tokenizer::Tokenizer;

/// What ends a request.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Tokens that end it.
    pub eos: Arc<HashSet<u32>>,
    /// Texts that end it.
    pub stop: Vec<String>,
    /// Tokens to generate, at most; 0 where only the prompt is scored.
    pub max_tokens: u32,
    /// How reasoning and calls are told from the answer.
    pub manner: Manner,
    /// Special tokens that mark them, which are no text otherwise.
    pub markers: Arc<HashSet<u32>>,
}

/// The state of one request's output.
#[derive(Debug)]
pub struct Output {
    tokenizer: Arc<Tokenizer>,
    detokenizer: Detokenizer,
    stop: StopMatcher,
    reading: Reading,
    markers: Arc<HashSet<u32>>,
    eos: Arc<HashSet<u32>>,
    max_tokens: u32,
    usage: Usage,
    /// What is told of the prompt before the first token, where it is asked for.
    prompt: Option<Vec<TokenLogprob>>,
    /// The last token that was counted as reasoning.
    last_thought: Option<u32>,
    /// The tokens since the last event.
    tokens: Vec<u32>,
    /// What is told of them.
    logprobs: Vec<TokenLogprob>,
}

impl Output {
    /// The output of a request.
    pub fn new(tokenizer: Arc<Tokenizer>, limits: Limits, order: &Order) -> Self {
        let first = |token: &u32| {
            let token = Alternative { bytes: tokenizer.bytes(*token), logprob: None };
            TokenLogprob { token, top: Vec::new() }
        };
        let scored = order.logprobs.is_some_and(|logprobs| logprobs.prompt);
        let prompt = scored.then(|| order.prompt.first().map(first).into_iter().collect());
        Self {
            detokenizer: Detokenizer::new(Arc::clone(&tokenizer)),
            stop: StopMatcher::new(limits.stop),
            reading: Reading::new(limits.manner, key(order)),
            markers: limits.markers,
            eos: limits.eos,
            max_tokens: limits.max_tokens,
            usage: Usage { prompt_tokens: order.prompt.len() as u32, ..Usage::default() },
            prompt,
            last_thought: None,
            tokens: Vec::new(),
            logprobs: Vec::new(),
            tokenizer,
        }
    }

    /// Tells how many of the prompt's tokens came from the prefix cache, and how many were entered into it.
    pub fn cached(&mut self, tokens: u32, entered: u32) {
        self.usage.cached_tokens = tokens;
        self.usage.cache_written_tokens = entered;
    }

    /// Tokens that were thought so far, and whether the model thinks.
    pub fn thinking(&self) -> (u32, bool) {
        (self.usage.reasoning_tokens, self.reading.is_reasoning())
    }

    /// Takes what is to be told of the next tokens of the prompt.
    pub fn score_prompt(&mut self, scores: &[Scored]) {
        let told = scores.iter().map(|scored| self.told(scored)).collect::<Vec<_>>();
        if let Some(prompt) = &mut self.prompt {
            prompt.extend(told);
        }
    }

    /// Takes the next token, which was the last if it is `complete`; says with `event` what follows from it. True when the
    /// request has ended.
    pub fn push(
        &mut self,
        token: u32,
        scored: Option<Scored>,
        complete: bool,
        mut event: impl FnMut(Event),
    ) -> bool {
        if let Some(tokens) = self.prompt.take() {
            event(Event::Prompt { tokens });
        }
        let index = self.usage.completion_tokens;
        if self.max_tokens == 0 {
            event(Event::Finished { reason: FinishReason::Length, usage: self.usage });
            return true;
        }
        self.usage.completion_tokens += 1;
        self.tokens.push(token);
        if self.eos.contains(&token) {
            self.finish(index, FinishReason::Stop, event);
            return true;
        }
        if let Some(scored) = scored {
            let told = self.told(&scored);
            self.logprobs.push(told);
        }
        let found = match self.piece(token) {
            Some(piece) => self.stop.push(&piece),
            None => Default::default(),
        };
        self.read(index, &found.text, found.stopped.is_some(), &mut event);
        if let Some(which) = found.stopped {
            event(Event::Finished { reason: FinishReason::StopText(which as u8), usage: self.usage });
            return true;
        }
        let complete = complete || self.reading.is_over();
        if complete || self.usage.completion_tokens >= self.max_tokens {
            let reason = if complete { FinishReason::Stop } else { FinishReason::Length };
            self.finish(index, reason, event);
            return true;
        }
        false
    }

    /// Takes a token that a worker that is gone has generated and told already. The event that ends the request, where that
    /// was its last.
    pub fn resume(&mut self, token: u32, complete: bool) -> Option<Event> {
        let prompt = self.prompt.take();
        let mut last = None;
        let ended = self.push(token, None, complete, |event| last = Some(event));
        self.prompt = prompt;
        self.tokens.clear();
        last.filter(|_| ended)
    }

    fn piece(&mut self, token: u32) -> Option<String> {
        if self.markers.contains(&token) {
            return Some(self.detokenizer.push_marker(token));
        }
        self.detokenizer.push(token)
    }

    /// Lets go of text that was held back, which can itself complete a stop text.
    fn finish(&mut self, index: u32, reason: FinishReason, mut event: impl FnMut(Event)) {
        let found = self.stop.push(&self.detokenizer.finish());
        let (reason, rest) = match found.stopped {
            Some(which) => (FinishReason::StopText(which as u8), String::new()),
            None => (reason, self.stop.finish()),
        };
        self.read(index, &(found.text + &rest), true, &mut event);
        if !self.logprobs.is_empty() {
            self.tell(index, Vec::new(), &mut event);
        }
        let reason = match reason {
            FinishReason::Stop if self.reading.has_called() => FinishReason::ToolCalls,
            reason => reason,
        };
        event(Event::Finished { reason, usage: self.usage });
    }

    /// Tells the parts of more text, which is the rest of it if it is the `last`; counts the token where it was thought.
    fn read(&mut self, index: u32, text: &str, last: bool, event: &mut impl FnMut(Event)) {
        let thought = self.reading.is_reasoning();
        let mut parts = self.reading.push(text);
        if thought || self.reading.is_reasoning() {
            self.thought(index);
        }
        if last {
            parts.extend(self.reading.finish());
        }
        if !parts.is_empty() {
            self.tell(index, parts, event);
        }
    }

    /// Counts a token that was thought, once.
    fn thought(&mut self, index: u32) {
        if self.last_thought != Some(index) {
            self.last_thought = Some(index);
            self.usage.reasoning_tokens += 1;
        }
    }

    fn tell(&mut self, index: u32, parts: Vec<Part>, event: &mut impl FnMut(Event)) {
        let tokens = std::mem::take(&mut self.tokens);
        let logprobs = std::mem::take(&mut self.logprobs);
        event(Event::Delta(Delta { index, tokens, parts, logprobs }));
    }

    fn told(&self, scored: &Scored) -> TokenLogprob {
        let told = |token: u32, logprob: f32| Alternative {
            bytes: self.tokenizer.bytes(token),
            logprob: Some(logprob),
        };
        let top = scored.top.iter().map(|(token, logprob)| told(*token, *logprob)).collect();
        TokenLogprob { token: told(scored.token, scored.logprob), top }
    }
}

/// What the ids of calls follow from: another prompt or another seed gives others.
fn key(order: &Order) -> u64 {
    let mut hasher = DefaultHasher::new();
    (order.sampling.seed, &order.prompt).hash(&mut hasher);
    hasher.finish()
}
