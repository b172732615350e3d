//! Writes chat completions and completions as JSON or as a stream of chunks, with one or more choices.

use std::time::Instant;

use ipc_proto::Error;
use ipc_proto::generate::{Event, FinishReason, PromptProgress, Usage};
use serde::Serialize;

use crate::dispatch::sse;
use crate::dispatch::writer::ResponseWriter;
use crate::inference::output::CompleteOutput;
use crate::protocols::common::field_names;
use crate::protocols::openai::chat::wire as chat;
use crate::protocols::openai::chat::wire::Timings;
use crate::protocols::openai::choices::AnswerForm;
use crate::protocols::openai::tools::text_input::TextInput;
use crate::protocols::openai::{error, usage};

mod text_chunk;

pub(in crate::protocols::openai) use self::text_chunk::TextChunk;
pub(in crate::protocols::openai) use crate::protocols::openai::chat::write::to_logprobs;

/// `system_fingerprint`: identifies the build of the server.
pub(in crate::protocols::openai) const FINGERPRINT: &str = concat!("fp_mlxd_", env!("CARGO_PKG_VERSION"));

/// The endpoint of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endpoint {
    /// `/v1/chat/completions`.
    Chat,
    /// `/v1/completions`.
    Completions,
}

impl Endpoint {
    /// Returns the path of the endpoint.
    pub fn path(self) -> &'static str {
        match self {
            Self::Chat => "/v1/chat/completions",
            Self::Completions => "/v1/completions",
        }
    }
}

/// The common fields of an answer and its chunks.
#[derive(Debug, Clone)]
pub struct AnswerHead {
    /// The endpoint, which determines the form of the answer.
    pub endpoint: Endpoint,
    /// The answer's id, `chatcmpl-…` or `cmpl-…`.
    pub id: String,
    /// Seconds since the Unix epoch.
    pub created: u64,
    /// The model's name as the client gave it.
    pub model: String,
    /// The settings of the choices.
    pub form: AnswerForm,
}

/// The times of a request's arrival and first token.
#[derive(Debug, Clone, Copy)]
pub struct Timer {
    start: Instant,
    first: Option<Instant>,
}

/// Token counts of all choices. A prompt counts once, independent of its number of choices.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::protocols::openai) struct Total(Usage);

/// Writes a stream of chunks.
#[derive(Debug)]
pub struct ChunkWriter {
    pub(in crate::protocols::openai) head: AnswerHead,
    pub(in crate::protocols::openai) include_usage: bool,
    /// Whether the opening chunks were written.
    opened: bool,
    pub(in crate::protocols::openai) choices: Vec<ChoiceProgress>,
    pub(in crate::protocols::openai) running: usize,
    pub(in crate::protocols::openai) total: Total,
    pub(in crate::protocols::openai) timer: Timer,
}

/// The progress of a choice.
#[derive(Debug, Default)]
pub(in crate::protocols::openai) struct ChoiceProgress {
    /// Token counts so far. Those of the prompt are known if the worker reports its progress.
    usage: Usage,
    /// Whether the counts are final.
    finished: bool,
    /// The number of calls so far.
    pub(in crate::protocols::openai) calls: u32,
    /// The text of the last call, if it is one of a custom tool.
    pub(in crate::protocols::openai) input: Option<TextInput>,
    /// The number of characters so far.
    pub(in crate::protocols::openai) offset: usize,
    /// The chunks of text, after the first one.
    pub(in crate::protocols::openai) text_chunk: Option<TextChunk>,
}

impl Timer {
    /// Creates the timer of a request that arrived at `start`.
    pub fn new(start: Instant) -> Self {
        Self { start, first: None }
    }

    /// Records the time of the first token.
    pub fn mark_token(&mut self) {
        self.first.get_or_insert_with(Instant::now);
    }

    /// Returns the timings of a request that ends now.
    fn timings(&self, usage: Usage) -> Timings {
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
            // The first token is part of the prompt's time.
            predicted_per_second: per_second(usage.completion_tokens.saturating_sub(1), predicted_ms),
        }
    }
}

impl Total {
    fn add(&mut self, form: &AnswerForm, choice: usize, usage: Usage) {
        let first = choice.is_multiple_of(form.candidates);
        let prompt = |count| if first { count } else { 0 };
        self.0.prompt_tokens += prompt(usage.prompt_tokens);
        self.0.cached_tokens += prompt(usage.cached_tokens);
        self.0.completion_tokens += usage.completion_tokens;
        self.0.reasoning_tokens += usage.reasoning_tokens;
    }
}

impl ChunkWriter {
    /// Creates the writer of a stream with this number of choices.
    pub fn new(head: AnswerHead, choices: usize, include_usage: bool, timer: Timer) -> Self {
        let progress = (0..choices).map(|_| ChoiceProgress::default()).collect();
        let (total, running) = (Total::default(), choices);
        let include_usage = include_usage || head.form.telemetry.usage;
        Self { head, include_usage, opened: false, choices: progress, running, total, timer }
    }

    /// Returns the usage of a chunk before the last one. It is absent, null if the client requested the usage, or the counts of the
    /// choice so far if it requested them in each chunk.
    pub(in crate::protocols::openai) fn chunk_usage(&self, choice: usize) -> Option<Option<usage::Usage>> {
        let ChoiceProgress { usage, finished, .. } = &self.choices[choice];
        let counts = || {
            let so_far = usage::Usage { completion_tokens_details: None, ..to_usage(*usage) };
            if *finished { to_usage(*usage) } else { so_far }
        };
        self.include_usage.then(|| self.head.form.telemetry.usage.then(counts))
    }

    /// Returns the timings of a chunk before the last one, if the client requested them.
    pub(in crate::protocols::openai) fn chunk_timings(&self) -> Option<Timings> {
        if !self.head.form.telemetry.timings {
            return None;
        }
        let mut total = Total::default();
        for (at, choice) in self.choices.iter().enumerate() {
            total.add(&self.head.form, at, choice.usage);
        }
        Some(self.timer.timings(total.0))
    }

    fn push_progress(&mut self, buffer: &mut Vec<u8>, choice: usize, progress: PromptProgress) {
        let PromptProgress { total, cached, processed, elapsed_ms } = progress;
        let usage = &mut self.choices[choice].usage;
        (usage.prompt_tokens, usage.cached_tokens) = (total, cached);
        if !self.head.form.telemetry.progress {
            return;
        }
        self.ensure_opened(buffer);
        let progress = chat::PromptProgress { total, cache: cached, processed, time_ms: elapsed_ms };
        match self.head.endpoint {
            Endpoint::Chat => self.push_chat_progress(buffer, choice, progress),
            Endpoint::Completions => self.push_completion_progress(buffer, choice, progress),
        }
    }

    /// Opens all choices in order before the first chunk of any. OpenAI's Python library appends a choice that it sees for the
    /// first time to its list, and looks choices up by their index.
    fn ensure_opened(&mut self, buffer: &mut Vec<u8>) {
        if std::mem::replace(&mut self.opened, true) {
            return;
        }
        for choice in 0..self.choices.len() {
            match self.head.endpoint {
                Endpoint::Chat => self.push_chat_opening(buffer, choice),
                Endpoint::Completions => self.push_completion_opening(buffer, choice),
            }
        }
        if self.head.endpoint == Endpoint::Chat {
            (0..self.choices.len()).for_each(|choice| self.push_chat_echo(buffer, choice));
        }
    }

    fn finish(&mut self, buffer: &mut Vec<u8>, choice: usize, reason: FinishReason, usage: Usage) -> bool {
        self.total.add(&self.head.form, choice, usage);
        self.choices[choice].usage = usage;
        self.choices[choice].finished = true;
        self.running = self.running.saturating_sub(1);
        let last = self.running == 0;
        // llama.cpp's clients read the timings from the chunk that ends the text.
        let timings = last.then(|| self.timer.timings(self.total.0));
        match self.head.endpoint {
            Endpoint::Chat => self.push_chat_end(buffer, choice, reason, timings),
            Endpoint::Completions => self.push_completion_end(buffer, choice, reason, timings),
        }
        if last {
            if self.include_usage {
                let usage = Some(Some(to_usage(self.total.0)));
                match self.head.endpoint {
                    Endpoint::Chat => sse::push(buffer, &self.head.chat_usage_chunk(usage)),
                    Endpoint::Completions => sse::push(buffer, &self.head.completion_usage_chunk(usage)),
                }
            }
            sse::push_done(buffer);
        }
        last
    }
}

impl ResponseWriter for ChunkWriter {
    const EAGER: bool = false;

    fn set_model(&mut self, model: &str) {
        model.clone_into(&mut self.head.model);
    }

    fn open(&mut self, _: &mut Vec<u8>, _: u32) {}

    fn push(&mut self, buffer: &mut Vec<u8>, choice: usize, event: &Event) -> bool {
        if let Event::Failed(failure) = event {
            self.fail(buffer, failure);
            return true;
        }
        if let Event::Progress(progress) = event {
            self.push_progress(buffer, choice, *progress);
            return false;
        }
        self.timer.mark_token();
        if let Event::Delta(delta) = event {
            self.choices[choice].usage.completion_tokens = delta.index + 1;
        }
        self.ensure_opened(buffer);
        let chat = self.head.endpoint == Endpoint::Chat;
        match event {
            Event::Prompt { tokens } if !chat => self.push_echo(buffer, choice, tokens),
            Event::Progress(_) | Event::Prompt { .. } | Event::Failed(_) => {}
            Event::Delta(delta) if chat => self.push_chat_delta(buffer, choice, delta),
            Event::Delta(delta) => self.push_completion_delta(buffer, choice, delta),
            Event::Finished { reason, usage } => return self.finish(buffer, choice, *reason, *usage),
        }
        false
    }

    /// No `[DONE]` follows. SDKs raise an exception at the error, and other clients must not mistake the partial text for a
    /// complete answer.
    fn fail(&mut self, buffer: &mut Vec<u8>, failure: &Error) {
        sse::push(buffer, &error::Body::new(failure, field_names::chat));
    }

    fn keep_alive(&mut self, buffer: &mut Vec<u8>) {
        buffer.extend_from_slice(sse::KEEP_ALIVE);
    }
}

impl AnswerHead {
    /// Writes the answer of all generated choices as JSON.
    ///
    /// # Errors
    /// Returns an error if JSON serialization fails.
    pub fn answer(&self, all: Vec<CompleteOutput>, timer: Timer) -> serde_json::Result<Vec<u8>> {
        let mut total = Total::default();
        all.iter().enumerate().for_each(|(choice, whole)| total.add(&self.form, choice, whole.usage));
        let timings = Some(timer.timings(total.0));
        let best = self.select_best(all);
        match self.endpoint {
            Endpoint::Chat => json(&self.chat_answer(best, to_usage(total.0), timings)),
            Endpoint::Completions => json(&self.completion_answer(&best, to_usage(total.0), timings)),
        }
    }

    /// Selects the likeliest choices of each prompt, in order of likelihood, with the index of their prompt.
    fn select_best(&self, all: Vec<CompleteOutput>) -> Vec<(usize, CompleteOutput)> {
        let AnswerForm { candidates, returned, .. } = self.form;
        let mut numbered = all.into_iter().enumerate().map(|(at, whole)| (at / candidates, whole));
        if returned == candidates {
            return numbered.collect();
        }
        let mut best = Vec::new();
        loop {
            let mut group: Vec<(usize, CompleteOutput)> = numbered.by_ref().take(candidates).collect();
            if group.is_empty() {
                return best;
            }
            group.sort_by(|a, b| mean_logprob(&b.1).total_cmp(&mean_logprob(&a.1)));
            best.extend(group.into_iter().take(returned));
        }
    }
}

/// Returns the mean of a choice's log probabilities.
fn mean_logprob(output: &CompleteOutput) -> f64 {
    let logprobs = &output.output.logprobs;
    let sum: f64 = logprobs.iter().map(|scored| f64::from(scored.token.logprob.unwrap_or(0.0))).sum();
    if logprobs.is_empty() { 0.0 } else { sum / logprobs.len() as f64 }
}

fn json(answer: &impl Serialize) -> serde_json::Result<Vec<u8>> {
    serde_json::to_vec(answer)
}

fn to_usage(usage: Usage) -> usage::Usage {
    usage::Usage {
        prompt_tokens: usage.prompt_tokens,
        completion_tokens: usage.completion_tokens,
        total_tokens: usage.prompt_tokens + usage.completion_tokens,
        prompt_tokens_details: usage::PromptDetails { cached_tokens: usage.cached_tokens },
        completion_tokens_details: Some(usage::CompletionDetails {
            reasoning_tokens: usage.reasoning_tokens,
        }),
    }
}

/// Replaces negative infinity, which JSON cannot represent, by OpenAI's value for impossible tokens.
pub(in crate::protocols::openai) fn clamp_logprob(logprob: f32) -> f32 {
    logprob.max(-9999.0)
}

#[cfg(test)]
mod tests;
