//! Writes completions: texts, with echoed prompts and log probabilities if requested.

use std::collections::BTreeMap;

use ipc_proto::generate::{Alternative, Delta, FinishReason, TokenLogprob};

use crate::dispatch::sse;
use crate::inference::output::CompleteOutput;
use crate::protocols::openai::chat::wire::{PromptProgress, Timings};
use crate::protocols::openai::choices::Echo;
use crate::protocols::openai::completions::wire::{Choice, Logprobs, Response};
use crate::protocols::openai::usage::Usage;
use crate::protocols::openai::write::{AnswerHead, ChunkWriter, FINGERPRINT, clamp_logprob};

impl ChunkWriter {
    pub(in crate::protocols::openai) fn push_completion_opening(
        &mut self,
        buffer: &mut Vec<u8>,
        choice: usize,
    ) {
        let prompt = choice / self.head.form.candidates;
        if let Echo::Text(text) = self.head.form.echo_of_prompt(prompt) {
            let text = text.clone();
            self.push_completion(buffer, choice, &text, &[]);
        }
    }

    pub(in crate::protocols::openai) fn push_echo(
        &mut self,
        buffer: &mut Vec<u8>,
        choice: usize,
        tokens: &[TokenLogprob],
    ) {
        if *self.head.form.echo_of_prompt(choice / self.head.form.candidates) == Echo::Tokens {
            self.push_completion(buffer, choice, &decode_tokens(tokens), tokens);
        }
    }

    pub(in crate::protocols::openai) fn push_completion_delta(
        &mut self,
        buffer: &mut Vec<u8>,
        choice: usize,
        delta: &Delta,
    ) {
        self.push_completion(buffer, choice, &delta.text(), &delta.logprobs);
    }

    pub(in crate::protocols::openai) fn push_completion_end(
        &self,
        buffer: &mut Vec<u8>,
        choice: usize,
        reason: FinishReason,
        timings: Option<Timings>,
    ) {
        let finish_reason = Some(finish_reason_name(reason));
        let choices = [Choice { index: choice as u32, text: "", logprobs: None, finish_reason }];
        let chunk = self.head.completion_chunk(&choices, self.chunk_usage(choice));
        sse::push(buffer, &Response { timings: timings.or(self.chunk_timings()), ..chunk });
    }

    fn push_completion(
        &mut self,
        buffer: &mut Vec<u8>,
        choice: usize,
        text: &str,
        logprobs: &[TokenLogprob],
    ) {
        let offset = &mut self.choices[choice].offset;
        let logprobs =
            (self.head.form.logprobs && !logprobs.is_empty()).then(|| to_logprob_lists(logprobs, *offset));
        *offset += text.chars().count();
        let choices = [Choice { index: choice as u32, text, logprobs, finish_reason: None }];
        let chunk = self.head.completion_chunk(&choices, self.chunk_usage(choice));
        sse::push(buffer, &Response { timings: self.chunk_timings(), ..chunk });
    }

    pub(in crate::protocols::openai) fn push_completion_progress(
        &self,
        buffer: &mut Vec<u8>,
        choice: usize,
        progress: PromptProgress,
    ) {
        let choices = [Choice { index: choice as u32, text: "", logprobs: None, finish_reason: None }];
        let chunk = self.head.completion_chunk(&choices, self.chunk_usage(choice));
        sse::push(buffer, &Response { prompt_progress: Some(progress), ..chunk });
    }
}

impl AnswerHead {
    pub(in crate::protocols::openai) fn completion_usage_chunk(
        &self,
        usage: Option<Option<Usage>>,
    ) -> Response<'_, Choice<'_>> {
        self.completion_chunk(&[], usage)
    }

    fn completion_chunk<'a, C>(&'a self, choices: &'a [C], usage: Option<Option<Usage>>) -> Response<'a, C> {
        Response {
            id: &self.id,
            object: "text_completion",
            created: self.created,
            model: &self.model,
            choices,
            system_fingerprint: FINGERPRINT,
            timings: None,
            prompt_progress: None,
            usage,
        }
    }

    pub(in crate::protocols::openai) fn completion_answer(
        &self,
        all: &[(usize, CompleteOutput)],
        usage: Usage,
        timings: Option<Timings>,
    ) -> serde_json::Value {
        let texts: Vec<(String, Option<Logprobs>, FinishReason)> =
            all.iter().map(|(prompt, whole)| self.choice_text(*prompt, whole)).collect();
        let choice =
            |(index, (text, logprobs, reason)): (usize, (String, Option<Logprobs>, FinishReason))| {
                let finish_reason = Some(finish_reason_name(reason));
                serde_json::json!(Choice { index: index as u32, text: &text, logprobs, finish_reason })
            };
        let choices: Vec<serde_json::Value> = texts.into_iter().enumerate().map(choice).collect();
        serde_json::json!(Response { timings, ..self.completion_chunk(&choices, Some(Some(usage))) })
    }

    /// Returns a choice's text with its echo, its log probabilities and its finish reason.
    fn choice_text(&self, prompt: usize, whole: &CompleteOutput) -> (String, Option<Logprobs>, FinishReason) {
        let before = match self.form.echo_of_prompt(prompt) {
            Echo::None => String::new(),
            Echo::Text(text) => text.clone(),
            Echo::Tokens => decode_tokens(&whole.output.prompt),
        };
        let scored = if *self.form.echo_of_prompt(prompt) == Echo::Tokens {
            whole.output.prompt.clone()
        } else {
            Vec::new()
        };
        let offset = if scored.is_empty() { before.chars().count() } else { 0 };
        let all = [scored, whole.output.logprobs.clone()].concat();
        let logprobs = self.form.logprobs.then(|| to_logprob_lists(&all, offset));
        (before + &whole.output.text(), logprobs, whole.reason)
    }
}

/// Joins the text of tokens.
fn decode_tokens(tokens: &[TokenLogprob]) -> String {
    let bytes: Vec<u8> = tokens.iter().flat_map(|scored| scored.token.bytes.iter().copied()).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Returns a token's text. Invalid UTF-8 is written in OpenAI's form.
fn token_text(token: &Alternative) -> String {
    match std::str::from_utf8(&token.bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => {
            let bytes = token.bytes.iter().map(|byte| format!("\\x{byte:02x}"));
            format!("bytes:{}", bytes.collect::<String>())
        }
    }
}

/// Converts log probabilities to OpenAI's lists. `offset` is the first token's offset in characters.
fn to_logprob_lists(tokens: &[TokenLogprob], mut offset: usize) -> Logprobs {
    let mut lists = Logprobs::default();
    for scored in tokens {
        lists.tokens.push(token_text(&scored.token));
        lists.token_logprobs.push(scored.token.logprob.map(clamp_logprob));
        // The first token of a prompt has no log probability.
        lists.top_logprobs.push(scored.token.logprob.map(|_| likeliest_and_chosen(scored)));
        lists.text_offset.push(offset);
        offset += String::from_utf8_lossy(&scored.token.bytes).chars().count();
    }
    lists
}

/// Returns the likeliest tokens and the chosen one, which OpenAI's API always includes.
fn likeliest_and_chosen(scored: &TokenLogprob) -> BTreeMap<String, f32> {
    let all = scored.top.iter().chain([&scored.token]);
    all.map(|token| (token_text(token), clamp_logprob(token.logprob.unwrap_or(0.0)))).collect()
}

fn finish_reason_name(reason: FinishReason) -> &'static str {
    match reason {
        FinishReason::Stop | FinishReason::StopText(_) | FinishReason::ToolCalls => "stop",
        FinishReason::Length => "length",
        FinishReason::Filtered => "content_filter",
    }
}
