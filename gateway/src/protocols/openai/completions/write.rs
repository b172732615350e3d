//! Completions: texts, with their prompts and log probabilities where those were asked for.

use ipc_proto::generate::{Alternative, Delta, FinishReason, TokenLogprob};

use crate::dispatch::sse;
use crate::inference::output::Whole;
use crate::protocols::openai::chat::wire::Timings;
use crate::protocols::openai::choices::{Echo, Form};
use crate::protocols::openai::completions::wire::{Choice, Logprobs, Response};
use crate::protocols::openai::usage::Usage;
use crate::protocols::openai::write::{Chunks, FINGERPRINT, Head, finite};

impl Form {
    /// What comes before the completions of a prompt.
    fn before(&self, prompt: usize) -> &Echo {
        self.echo.get(prompt).unwrap_or(&Echo::None)
    }
}

impl Chunks {
    pub(in crate::protocols::openai) fn completion_opening(&mut self, buffer: &mut Vec<u8>, choice: usize) {
        let prompt = choice / self.head.form.candidates;
        if let Echo::Text(text) = self.head.form.before(prompt) {
            let text = text.clone();
            self.completion(buffer, choice, &text, &[]);
        }
    }

    pub(in crate::protocols::openai) fn echo(
        &mut self,
        buffer: &mut Vec<u8>,
        choice: usize,
        tokens: &[TokenLogprob],
    ) {
        if *self.head.form.before(choice / self.head.form.candidates) == Echo::Tokens {
            self.completion(buffer, choice, &spelled(tokens), tokens);
        }
    }

    pub(in crate::protocols::openai) fn completion_delta(
        &mut self,
        buffer: &mut Vec<u8>,
        choice: usize,
        delta: &Delta,
    ) {
        self.completion(buffer, choice, &delta.text(), &delta.logprobs);
    }

    pub(in crate::protocols::openai) fn completion_end(
        &self,
        buffer: &mut Vec<u8>,
        choice: usize,
        reason: FinishReason,
        timings: Option<Timings>,
    ) {
        let finish_reason = Some(name(reason));
        let choice = Choice { index: choice as u32, text: "", logprobs: None, finish_reason };
        sse::push(buffer, &Response { timings, ..self.head.completion(&[choice], self.no_usage()) });
    }

    fn completion(&mut self, buffer: &mut Vec<u8>, choice: usize, text: &str, logprobs: &[TokenLogprob]) {
        let offset = &mut self.choices[choice].offset;
        let logprobs = (self.head.form.logprobs && !logprobs.is_empty()).then(|| told(logprobs, *offset));
        *offset += text.chars().count();
        let choice = Choice { index: choice as u32, text, logprobs, finish_reason: None };
        sse::push(buffer, &self.head.completion(&[choice], self.no_usage()));
    }
}

impl Head {
    pub(in crate::protocols::openai) fn completion_counts(
        &self,
        usage: Option<Option<Usage>>,
    ) -> Response<'_, Choice<'_>> {
        self.completion(&[], usage)
    }

    fn completion<'a, C>(&'a self, choices: &'a [C], usage: Option<Option<Usage>>) -> Response<'a, C> {
        Response {
            id: &self.id,
            object: "text_completion",
            created: self.created,
            model: &self.model,
            choices,
            system_fingerprint: FINGERPRINT,
            timings: None,
            usage,
        }
    }

    pub(in crate::protocols::openai) fn completion_answer(
        &self,
        all: &[(usize, Whole)],
        usage: Usage,
        timings: Option<Timings>,
    ) -> serde_json::Value {
        let texts: Vec<(String, Option<Logprobs>, FinishReason)> =
            all.iter().map(|(prompt, whole)| self.text(*prompt, whole)).collect();
        let choice =
            |(index, (text, logprobs, reason)): (usize, (String, Option<Logprobs>, FinishReason))| {
                let finish_reason = Some(name(reason));
                serde_json::json!(Choice { index: index as u32, text: &text, logprobs, finish_reason })
            };
        let choices: Vec<serde_json::Value> = texts.into_iter().enumerate().map(choice).collect();
        serde_json::json!(Response { timings, ..self.completion(&choices, Some(Some(usage))) })
    }

    /// A choice's text, what stands before it included.
    fn text(&self, prompt: usize, whole: &Whole) -> (String, Option<Logprobs>, FinishReason) {
        let before = match self.form.before(prompt) {
            Echo::None => String::new(),
            Echo::Text(text) => text.clone(),
            Echo::Tokens => spelled(&whole.output.prompt),
        };
        let scored =
            if *self.form.before(prompt) == Echo::Tokens { whole.output.prompt.clone() } else { Vec::new() };
        let offset = if scored.is_empty() { before.chars().count() } else { 0 };
        let all = [scored, whole.output.logprobs.clone()].concat();
        let logprobs = self.form.logprobs.then(|| told(&all, offset));
        (before + &whole.output.text(), logprobs, whole.reason)
    }
}

/// The text of tokens.
fn spelled(tokens: &[TokenLogprob]) -> String {
    let bytes: Vec<u8> = tokens.iter().flat_map(|told| told.token.bytes.iter().copied()).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A token's text; bytes that are no characters as OpenAI writes them.
fn token_text(token: &Alternative) -> String {
    match std::str::from_utf8(&token.bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => {
            let bytes = token.bytes.iter().map(|byte| format!("\\x{byte:02x}"));
            format!("bytes:{}", bytes.collect::<String>())
        }
    }
}

/// The lists, from `offset` on.
fn told(tokens: &[TokenLogprob], mut offset: usize) -> Logprobs {
    let mut lists = Logprobs::default();
    for told in tokens {
        lists.tokens.push(token_text(&told.token));
        lists.token_logprobs.push(told.token.logprob.map(finite));
        // The first token of a prompt has none.
        let top = told.token.logprob.map(|_| {
            let one = |token: &Alternative| (token_text(token), finite(token.logprob.unwrap_or(0.0)));
            told.top.iter().map(one).collect()
        });
        lists.top_logprobs.push(top);
        lists.text_offset.push(offset);
        offset += String::from_utf8_lossy(&told.token.bytes).chars().count();
    }
    lists
}

fn name(reason: FinishReason) -> &'static str {
    match reason {
        FinishReason::Stop | FinishReason::StopText(_) | FinishReason::ToolCalls => "stop",
        FinishReason::Length => "length",
    }
}
