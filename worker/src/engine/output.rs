//! Turns a request's tokens into events: detokenise, separate reasoning and tool calls from the answer, match stop texts in the
//! answer, count, end. A pure fold over token ids.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use ipc_proto::generate::{Alternative, Delta, Event, FinishReason, Part, TokenLogprob, Usage};

use super::runner::TokenScore;
use super::sequence::SequenceParams;
use crate::text::detokenize::Detokenizer;
use crate::text::output_parser::{OutputFormat, OutputParser};
use crate::text::stop::AnswerStops;
use crate::text::tokenizer::Tokenizer;

/// Stop conditions and output format.
#[derive(Debug, Clone)]
pub struct OutputLimits {
    /// Tokens that end the request.
    pub eos: Arc<HashSet<u32>>,
    /// Texts that end the request when they occur in the answer.
    pub stop: Vec<String>,
    /// Maximum number of generated tokens; 0 only scores the prompt.
    pub max_tokens: u32,
    /// How reasoning and tool calls are marked.
    pub output_format: OutputFormat,
    /// Special tokens that mark them; other special tokens produce no text.
    pub markers: Arc<HashSet<u32>>,
}

/// One request's output so far.
#[derive(Debug)]
pub struct Output {
    tokenizer: Arc<Tokenizer>,
    detokenizer: Detokenizer,
    parser: OutputParser,
    stops: AnswerStops,
    markers: Arc<HashSet<u32>>,
    eos: Arc<HashSet<u32>>,
    max_tokens: u32,
    usage: Usage,
    /// Log probabilities of the prompt, if requested; sent before the first token.
    prompt: Option<Vec<TokenLogprob>>,
    /// Index of the last token counted as reasoning.
    last_reasoning_index: Option<u32>,
    /// Tokens since the last event.
    tokens: Vec<u32>,
    /// Log probabilities of `tokens`, if requested.
    logprobs: Vec<TokenLogprob>,
}

impl Output {
    /// Starts the output of a request.
    pub fn new(tokenizer: Arc<Tokenizer>, limits: OutputLimits, params: &SequenceParams) -> Self {
        let first = |token: &u32| {
            let token = Alternative { bytes: tokenizer.bytes(*token), logprob: None };
            TokenLogprob { token, top: Vec::new() }
        };
        let scored = params.logprobs.is_some_and(|logprobs| logprobs.prompt);
        let unscored = params.prompt.first().filter(|_| params.scored_from == 0);
        let prompt = scored.then(|| unscored.map(first).into_iter().collect());
        Self {
            detokenizer: Detokenizer::new(Arc::clone(&tokenizer)),
            parser: OutputParser::new(limits.output_format, call_id_seed(params)),
            stops: AnswerStops::new(limits.stop),
            markers: limits.markers,
            eos: limits.eos,
            max_tokens: limits.max_tokens,
            usage: Usage { prompt_tokens: params.prompt.len() as u32, ..Usage::default() },
            prompt,
            last_reasoning_index: None,
            tokens: Vec::new(),
            logprobs: Vec::new(),
            tokenizer,
        }
    }

    /// Sets how many prompt tokens came from the prefix cache and how many were added to it.
    pub fn set_cached(&mut self, tokens: u32, entered: u32) {
        self.usage.cached_tokens = tokens;
        self.usage.cache_written_tokens = entered;
    }

    /// Reasoning tokens so far, and whether the model is still reasoning.
    pub fn reasoning_state(&self) -> (u32, bool) {
        (self.usage.reasoning_tokens, self.parser.is_reasoning())
    }

    /// Adds the log probabilities of the next prompt tokens.
    pub fn add_prompt_scores(&mut self, scores: &[TokenScore]) {
        let logprobs = scores.iter().map(|scored| self.token_logprob(scored)).collect::<Vec<_>>();
        if let Some(prompt) = &mut self.prompt {
            prompt.extend(logprobs);
        }
    }

    /// Appends a token and emits its events. `complete` means that the constraint allows no further token.
    ///
    /// Returns whether the request has ended.
    pub fn push(
        &mut self,
        token: u32,
        scored: Option<TokenScore>,
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
            return self.finish(index, FinishReason::Stop, event);
        }
        if let Some(scored) = scored {
            let logprob = self.token_logprob(&scored);
            self.logprobs.push(logprob);
        }
        let text = self.decode(token).unwrap_or_default();
        if let Some(which) = self.parse_text(index, &text, false, &mut event) {
            return self.end(FinishReason::StopText(which), event);
        }
        let complete = complete || self.parser.is_over();
        if complete || self.usage.completion_tokens >= self.max_tokens {
            let reason = if complete { FinishReason::Stop } else { FinishReason::Length };
            return self.finish(index, reason, event);
        }
        false
    }

    /// Replays a token whose events a lost worker has already sent. Returns the final event if the token ends the request.
    pub fn resume(&mut self, token: u32, complete: bool) -> Option<Event> {
        let prompt = self.prompt.take();
        let mut last = None;
        let ended = self.push(token, None, complete, |event| last = Some(event));
        self.prompt = prompt;
        self.tokens.clear();
        last.filter(|_| ended)
    }

    fn decode(&mut self, token: u32) -> Option<String> {
        if self.markers.contains(&token) {
            return Some(self.detokenizer.push_marker(token));
        }
        self.detokenizer.push(token)
    }

    /// Flushes text that was held back, which can itself complete a stop text, and ends the output.
    fn finish(&mut self, index: u32, reason: FinishReason, mut event: impl FnMut(Event)) -> bool {
        let rest = self.detokenizer.finish();
        let stopped = self.parse_text(index, &rest, true, &mut event);
        if !self.logprobs.is_empty() {
            self.emit_delta(index, Vec::new(), &mut event);
        }
        self.end(stopped.map_or(reason, FinishReason::StopText), event)
    }

    /// Emits the last event. Calls end the turn only if none of them was cut off.
    fn end(&self, reason: FinishReason, mut event: impl FnMut(Event)) -> bool {
        let reason = match reason {
            FinishReason::Stop | FinishReason::StopText(_) if self.parser.has_whole_calls() => {
                FinishReason::ToolCalls
            }
            reason => reason,
        };
        event(Event::Finished { reason, usage: self.usage });
        true
    }

    /// Parses text into parts and emits those of them that belong to no stop text; counts the token if it was reasoning. `last`
    /// marks the end of the output. Returns the index of the stop text that was found.
    fn parse_text(
        &mut self,
        index: u32,
        text: &str,
        last: bool,
        event: &mut impl FnMut(Event),
    ) -> Option<u8> {
        let was_reasoning = self.parser.is_reasoning();
        let mut parts = self.parser.push(text);
        if was_reasoning || self.parser.is_reasoning() {
            self.count_reasoning_token(index);
        }
        if last {
            parts.extend(self.parser.finish());
        }
        let (mut parts, stopped) = self.stops.push(parts);
        if last && stopped.is_none() {
            parts.extend(self.stops.finish());
        }
        if !parts.is_empty() {
            self.emit_delta(index, parts, event);
        }
        stopped.map(|which| which as u8)
    }

    /// Counts token `index` as reasoning, once.
    fn count_reasoning_token(&mut self, index: u32) {
        if self.last_reasoning_index != Some(index) {
            self.last_reasoning_index = Some(index);
            self.usage.reasoning_tokens += 1;
        }
    }

    fn emit_delta(&mut self, index: u32, parts: Vec<Part>, event: &mut impl FnMut(Event)) {
        let tokens = std::mem::take(&mut self.tokens);
        let logprobs = std::mem::take(&mut self.logprobs);
        event(Event::Delta(Delta { index, tokens, parts, logprobs }));
    }

    fn token_logprob(&self, scored: &TokenScore) -> TokenLogprob {
        let alternative = |token: u32, logprob: f32| Alternative {
            bytes: self.tokenizer.bytes(token),
            logprob: Some(logprob),
        };
        let top = scored.top.iter().map(|(token, logprob)| alternative(*token, *logprob)).collect();
        TokenLogprob { token: alternative(scored.token, scored.logprob), top }
    }
}

/// Seed of the tool call ids; a function of prompt and sampling seed, so that resuming repeats the ids.
fn call_id_seed(params: &SequenceParams) -> u64 {
    let mut hasher = DefaultHasher::new();
    (params.sampling.seed, &params.prompt).hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests;
