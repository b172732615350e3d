//! Chat and completions: events → JSON or chunks, of one choice or several.

use std::time::Instant;

use ipc_proto::Error;
use ipc_proto::generate::{Event, FinishReason, Usage};
use serde::Serialize;

use crate::dispatch::sse;
use crate::dispatch::writer::Wire;
use crate::inference::output::Whole;
use crate::protocols::common::field_names;
use crate::protocols::openai::chat::wire::Timings;
use crate::protocols::openai::choices::Form;
use crate::protocols::openai::{error, usage};

pub(in crate::protocols::openai) use crate::protocols::openai::chat::write::each_told;

/// What the answers of one build have in common.
pub(in crate::protocols::openai) const FINGERPRINT: &str = concat!("fp_mlxd_", env!("CARGO_PKG_VERSION"));

/// Which of the two endpoints answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endpoint {
    /// `/v1/chat/completions`.
    Chat,
    /// `/v1/completions`.
    Completions,
}

impl Endpoint {
    /// Its path.
    pub fn path(self) -> &'static str {
        match self {
            Self::Chat => "/v1/chat/completions",
            Self::Completions => "/v1/completions",
        }
    }
}

/// What every answer and chunk of one request carries.
#[derive(Debug, Clone)]
pub struct Head {
    /// The endpoint.
    pub endpoint: Endpoint,
    /// The answer's id.
    pub id: String,
    /// Seconds since the epoch.
    pub created: u64,
    /// The model's name as the client gave it.
    pub model: String,
    /// What is told of choices.
    pub form: Form,
}

/// When the request came, and its first token; what it was is told in the end.
#[derive(Debug, Clone, Copy)]
pub struct Timer {
    start: Instant,
    first: Option<Instant>,
}

/// Token counts of all choices: a prompt counts once, however many choices it has.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::protocols::openai) struct Total(Usage);

/// Writes a stream.
#[derive(Debug)]
pub struct Chunks {
    pub(in crate::protocols::openai) head: Head,
    pub(in crate::protocols::openai) include_usage: bool,
    pub(in crate::protocols::openai) choices: Vec<Progress>,
    pub(in crate::protocols::openai) running: usize,
    pub(in crate::protocols::openai) total: Total,
    pub(in crate::protocols::openai) timer: Timer,
}

/// How far a choice is.
#[derive(Debug, Default)]
pub(in crate::protocols::openai) struct Progress {
    /// Something was told.
    pub(in crate::protocols::openai) opened: bool,
    /// Calls so far.
    pub(in crate::protocols::openai) calls: u32,
    /// Characters so far.
    pub(in crate::protocols::openai) offset: usize,
}

impl Timer {
    /// A request came at `start`.
    pub fn new(start: Instant) -> Self {
        Self { start, first: None }
    }

    /// Something has come.
    pub fn note(&mut self) {
        self.first.get_or_insert_with(Instant::now);
    }

    /// What is told at the end.
    fn told(&self, usage: Usage) -> Timings {
        let end = Instant::now();
        let first = self.first.unwrap_or(end);
        let ms = |from: Instant, to: Instant| to.duration_since(from).as_secs_f64() * 1e3;
        let per_second = |count: u32, ms: f64| if ms > 0.0 { f64::from(count) * 1e3 / ms } else { 0.0 };
        let prompt_n = usage.prompt_tokens - usage.cached_tokens.min(usage.prompt_tokens);
        let (prompt_ms, predicted_ms) = (ms(self.start, first), ms(first, end));
        Timings {
            prompt_n,
            cache_n: usage.cached_tokens,
            prompt_ms,
            prompt_per_second: per_second(prompt_n, prompt_ms),
            predicted_n: usage.completion_tokens,
            predicted_ms,
            // The first token came with the prompt.
            predicted_per_second: per_second(usage.completion_tokens.saturating_sub(1), predicted_ms),
        }
    }
}

impl Total {
    fn add(&mut self, form: &Form, choice: usize, usage: Usage) {
        let first = choice.is_multiple_of(form.candidates);
        let prompt = |count| if first { count } else { 0 };
        self.0.prompt_tokens += prompt(usage.prompt_tokens);
        self.0.cached_tokens += prompt(usage.cached_tokens);
        self.0.completion_tokens += usage.completion_tokens;
        self.0.reasoning_tokens += usage.reasoning_tokens;
    }
}

impl Chunks {
    /// A stream of so many choices that nothing has been written to.
    pub fn new(head: Head, choices: usize, include_usage: bool, timer: Timer) -> Self {
        let progress = (0..choices).map(|_| Progress::default()).collect();
        Self { head, include_usage, choices: progress, running: choices, total: Total::default(), timer }
    }

    /// Where the counts were asked for, the chunks without them say null.
    pub(in crate::protocols::openai) fn no_usage(&self) -> Option<Option<usage::Usage>> {
        self.include_usage.then_some(None)
    }

    fn finish(&mut self, buffer: &mut Vec<u8>, choice: usize, reason: FinishReason, usage: Usage) -> bool {
        self.total.add(&self.head.form, choice, usage);
        self.running = self.running.saturating_sub(1);
        let last = self.running == 0;
        // llama.cpp's clients look for it in the chunk that ends the text.
        let timings = last.then(|| self.timer.told(self.total.0));
        match self.head.endpoint {
            Endpoint::Chat => self.chat_end(buffer, choice, reason, timings),
            Endpoint::Completions => self.completion_end(buffer, choice, reason, timings),
        }
        if last {
            if self.include_usage {
                let usage = Some(Some(counts(self.total.0)));
                match self.head.endpoint {
                    Endpoint::Chat => sse::push(buffer, &self.head.chat_counts(usage)),
                    Endpoint::Completions => sse::push(buffer, &self.head.completion_counts(usage)),
                }
            }
            sse::push_done(buffer);
        }
        last
    }
}

impl Wire for Chunks {
    const EAGER: bool = false;

    fn open(&mut self, _: &mut Vec<u8>, _: u32) {}

    fn push(&mut self, buffer: &mut Vec<u8>, choice: usize, event: &Event) -> bool {
        if let Event::Failed(failure) = event {
            self.fail(buffer, failure);
            return true;
        }
        self.timer.note();
        let chat = self.head.endpoint == Endpoint::Chat;
        if !std::mem::replace(&mut self.choices[choice].opened, true) {
            if chat { self.chat_opening(buffer, choice) } else { self.completion_opening(buffer, choice) }
        }
        match event {
            Event::Prompt { tokens } if !chat => self.echo(buffer, choice, tokens),
            Event::Prompt { .. } | Event::Failed(_) => {}
            Event::Delta(delta) if chat => self.chat_delta(buffer, choice, delta),
            Event::Delta(delta) => self.completion_delta(buffer, choice, delta),
            Event::Finished { reason, usage } => return self.finish(buffer, choice, *reason, *usage),
        }
        false
    }

    /// No `[DONE]` follows: the SDKs raise at the error, and a client that does not know it must not take the text so far
    /// for the whole.
    fn fail(&mut self, buffer: &mut Vec<u8>, failure: &Error) {
        sse::push(buffer, &error::Body::new(failure, field_names::chat));
    }

    fn keep_alive(&mut self, buffer: &mut Vec<u8>) {
        buffer.extend_from_slice(sse::KEEP_ALIVE);
    }
}

impl Head {
    /// The whole answer as JSON, of all choices that were generated.
    ///
    /// # Errors
    /// When it cannot be written as JSON.
    pub fn answer(&self, all: Vec<Whole>, timer: Timer) -> serde_json::Result<Vec<u8>> {
        let mut total = Total::default();
        all.iter().enumerate().for_each(|(choice, whole)| total.add(&self.form, choice, whole.usage));
        let timings = Some(timer.told(total.0));
        let best = self.best(all);
        match self.endpoint {
            Endpoint::Chat => json(&self.chat_answer(best, counts(total.0), timings)),
            Endpoint::Completions => json(&self.completion_answer(&best, counts(total.0), timings)),
        }
    }

    /// The choices that are told, with their prompt's number: of each prompt, the likeliest, the likeliest first.
    fn best(&self, all: Vec<Whole>) -> Vec<(usize, Whole)> {
        let Form { candidates, returned, .. } = self.form;
        let mut numbered = all.into_iter().enumerate().map(|(at, whole)| (at / candidates, whole));
        if returned == candidates {
            return numbered.collect();
        }
        let mut best = Vec::new();
        loop {
            let mut group: Vec<(usize, Whole)> = numbered.by_ref().take(candidates).collect();
            if group.is_empty() {
                return best;
            }
            group.sort_by(|a, b| likelihood(&b.1).total_cmp(&likelihood(&a.1)));
            best.extend(group.into_iter().take(returned));
        }
    }
}

/// The mean of a choice's log probabilities.
fn likelihood(whole: &Whole) -> f64 {
    let told = &whole.output.logprobs;
    let sum: f64 = told.iter().map(|told| f64::from(told.token.logprob.unwrap_or(0.0))).sum();
    if told.is_empty() { 0.0 } else { sum / told.len() as f64 }
}

fn json(answer: &impl Serialize) -> serde_json::Result<Vec<u8>> {
    serde_json::to_vec(answer)
}

fn counts(usage: Usage) -> usage::Usage {
    usage::Usage {
        prompt_tokens: usage.prompt_tokens,
        completion_tokens: usage.completion_tokens,
        total_tokens: usage.prompt_tokens + usage.completion_tokens,
        prompt_tokens_details: usage::PromptDetails { cached_tokens: usage.cached_tokens },
        completion_tokens_details: usage::CompletionDetails { reasoning_tokens: usage.reasoning_tokens },
    }
}

/// JSON has no infinity; OpenAI says this of what cannot be.
pub(in crate::protocols::openai) fn finite(logprob: f32) -> f32 {
    logprob.max(-9999.0)
}

#[cfg(test)]
mod tests;
