//! A request's way from tokens to events: detokenise, look for stop texts, count, end. A pure fold over token ids.

use std::collections::HashSet;
use std::sync::Arc;

use ipc_proto::generate::{Event, FinishReason, Usage};

use crate::adapters::detokenize::Detokenizer;
use crate::adapters::stop::StopMatcher;
use crate::adapters::tokenizer::Tokenizer;

/// What ends a request.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Tokens that end it.
    pub eos: Arc<HashSet<u32>>,
    /// Texts that end it.
    pub stop: Vec<String>,
    /// Tokens to generate, at most.
    pub max_tokens: u32,
}

/// The state of one request's output.
#[derive(Debug)]
pub struct Output {
    detokenizer: Detokenizer,
    stop: StopMatcher,
    eos: Arc<HashSet<u32>>,
    max_tokens: u32,
    usage: Usage,
}

impl Output {
    /// The output of a request whose prompt has `prompt_tokens` tokens.
    pub fn new(tokenizer: Arc<Tokenizer>, limits: Limits, prompt_tokens: u32) -> Self {
        Self {
            detokenizer: Detokenizer::new(tokenizer),
            stop: StopMatcher::new(limits.stop),
            eos: limits.eos,
            max_tokens: limits.max_tokens,
            usage: Usage { prompt_tokens, ..Usage::default() },
        }
    }

    /// Tells how many of the prompt's tokens came from the prefix cache.
    pub fn cached(&mut self, tokens: u32) {
        self.usage.cached_tokens = tokens;
    }

    /// Takes the next token; says with `event` what follows from it. True when the request has ended.
    pub fn push(&mut self, token: u32, mut event: impl FnMut(Event)) -> bool {
        let index = self.usage.completion_tokens;
        self.usage.completion_tokens += 1;
        if self.eos.contains(&token) {
            self.finish(index, FinishReason::Stop, event);
            return true;
        }
        let found = match self.detokenizer.push(token) {
            Some(piece) => self.stop.push(&piece),
            None => Default::default(),
        };
        text(index, found.text, &mut event);
        if found.stopped {
            event(Event::Finished { reason: FinishReason::Stop, usage: self.usage });
            return true;
        }
        if self.usage.completion_tokens >= self.max_tokens {
            self.finish(index, FinishReason::Length, event);
            return true;
        }
        false
    }

    /// Lets go of text that was held back, which can itself complete a stop text.
    fn finish(&mut self, index: u32, reason: FinishReason, mut event: impl FnMut(Event)) {
        let found = self.stop.push(&self.detokenizer.finish());
        let reason = if found.stopped { FinishReason::Stop } else { reason };
        let rest = if found.stopped { String::new() } else { self.stop.finish() };
        text(index, found.text + &rest, &mut event);
        event(Event::Finished { reason, usage: self.usage });
    }
}

fn text(index: u32, text: String, event: &mut impl FnMut(Event)) {
    if !text.is_empty() {
        event(Event::Text { index, text });
    }
}
