//! Chat and completions: events → JSON or chunks.

use ipc_proto::Error;
use ipc_proto::generate::{Alternative, Event, FinishReason, TokenLogprob, Usage};

use super::sse;
use super::wire::Wire;
use crate::api::openai::chat::{self, ChunkChoice, Delta};
use crate::api::openai::{completions, error, usage};

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
}

/// Writes a stream.
#[derive(Debug)]
pub struct Chunks {
    head: Head,
    include_usage: bool,
    opened: bool,
}

impl Chunks {
    /// A stream that nothing has been written to.
    pub fn new(head: Head, include_usage: bool) -> Self {
        Self { head, include_usage, opened: false }
    }
}

impl Wire for Chunks {
    const EAGER: bool = false;

    fn open(&mut self, _: &mut Vec<u8>, _: u32) {}

    fn push(&mut self, buffer: &mut Vec<u8>, event: &Event) -> bool {
        if let Event::Failed(failure) = event {
            self.fail(buffer, failure);
            return true;
        }
        if !self.opened && self.head.endpoint == Endpoint::Chat {
            self.chat(buffer, Delta { role: Some("assistant"), content: Some("") }, None);
        }
        self.opened = true;
        match event {
            // Nobody asks for it yet.
            Event::Prompt { .. } => {}
            Event::Delta(delta) => self.text(buffer, &delta.text(), &delta.logprobs),
            Event::Finished { reason, usage } => {
                self.finish(buffer, *reason, *usage);
                return true;
            }
            Event::Failed(_) => {}
        }
        false
    }

    /// No `[DONE]` follows: the SDKs raise at the error, and a client that does not know it must not take the text so far
    /// for the whole.
    fn fail(&mut self, buffer: &mut Vec<u8>, failure: &Error) {
        sse::push(buffer, &error::Body::of(failure));
    }

    fn keep_alive(&mut self, buffer: &mut Vec<u8>) {
        buffer.extend_from_slice(sse::KEEP_ALIVE);
    }
}

impl Chunks {
    fn text(&self, buffer: &mut Vec<u8>, text: &str, logprobs: &[TokenLogprob]) {
        match self.head.endpoint {
            Endpoint::Chat => {
                let delta = Delta { role: None, content: Some(text) };
                let choice = ChunkChoice { index: 0, delta, logprobs: told(logprobs), finish_reason: None };
                sse::push(buffer, &self.chat_chunk(&[choice], self.no_usage()));
            }
            Endpoint::Completions => self.completion(buffer, text, None),
        }
    }

    fn finish(&self, buffer: &mut Vec<u8>, reason: FinishReason, usage: Usage) {
        match self.head.endpoint {
            Endpoint::Chat => self.chat(buffer, Delta::default(), Some(name(reason))),
            Endpoint::Completions => self.completion(buffer, "", Some(name(reason))),
        }
        if self.include_usage {
            let usage = Some(Some(counts(usage)));
            match self.head.endpoint {
                Endpoint::Chat => sse::push(buffer, &self.chat_chunk::<ChunkChoice>(&[], usage)),
                Endpoint::Completions => {
                    sse::push(buffer, &self.head.completion::<completions::Choice>(&[], usage));
                }
            }
        }
        sse::push_done(buffer);
    }

    fn chat(&self, buffer: &mut Vec<u8>, delta: Delta, finish_reason: Option<&'static str>) {
        let choice = ChunkChoice { index: 0, delta, logprobs: None, finish_reason };
        sse::push(buffer, &self.chat_chunk(&[choice], self.no_usage()));
    }

    fn completion(&self, buffer: &mut Vec<u8>, text: &str, finish_reason: Option<&'static str>) {
        let choice = completions::Choice { index: 0, text, logprobs: None, finish_reason };
        sse::push(buffer, &self.head.completion(&[choice], self.no_usage()));
    }

    /// Where the counts were asked for, the chunks without them say null.
    fn no_usage(&self) -> Option<Option<usage::Usage>> {
        self.include_usage.then_some(None)
    }

    fn chat_chunk<'a, C>(
        &'a self,
        choices: &'a [C],
        usage: Option<Option<usage::Usage>>,
    ) -> chat::Chunk<'a, C> {
        let Head { id, created, model, .. } = &self.head;
        chat::Chunk { id, object: "chat.completion.chunk", created: *created, model, choices, usage }
    }
}

impl Head {
    /// The whole answer as JSON.
    ///
    /// # Errors
    /// When it cannot be written as JSON.
    pub fn answer(
        &self,
        text: String,
        logprobs: &[TokenLogprob],
        reason: FinishReason,
        usage: Usage,
    ) -> serde_json::Result<Vec<u8>> {
        let finish_reason = name(reason);
        let usage = counts(usage);
        match self.endpoint {
            Endpoint::Chat => {
                let message = chat::Answer { role: "assistant", content: text, refusal: None };
                let logprobs = told(logprobs);
                let choices = [chat::Choice { index: 0, message, logprobs, finish_reason }];
                let Self { id, created, model, .. } = self;
                let object = "chat.completion";
                serde_json::to_vec(&chat::Response { id, object, created: *created, model, choices, usage })
            }
            Endpoint::Completions => {
                let finish_reason = Some(finish_reason);
                let choice = completions::Choice { index: 0, text: &text, logprobs: None, finish_reason };
                serde_json::to_vec(&self.completion(&[choice], Some(Some(usage))))
            }
        }
    }

    fn completion<'a, C>(
        &'a self,
        choices: &'a [C],
        usage: Option<Option<usage::Usage>>,
    ) -> completions::Response<'a, C> {
        let Self { id, created, model, .. } = self;
        completions::Response { id, object: "text_completion", created: *created, model, choices, usage }
    }
}

/// `None` where none were asked for.
fn told(logprobs: &[TokenLogprob]) -> Option<chat::Logprobs> {
    let content = each_told(logprobs);
    if content.is_empty() { None } else { Some(chat::Logprobs { content, refusal: None }) }
}

/// Log probabilities in OpenAI's form.
pub(super) fn each_told(logprobs: &[TokenLogprob]) -> Vec<chat::TokenLogprob> {
    let one = |told: &Alternative| chat::TokenText {
        token: String::from_utf8_lossy(&told.bytes).into_owned(),
        // JSON has no infinity; OpenAI says this of what cannot be.
        logprob: told.logprob.unwrap_or(0.0).max(-9999.0),
        bytes: told.bytes.clone(),
    };
    let all = logprobs.iter().map(|told| chat::TokenLogprob {
        token: one(&told.token),
        top_logprobs: told.top.iter().map(one).collect(),
    });
    all.collect()
}

fn name(reason: FinishReason) -> &'static str {
    match reason {
        FinishReason::Stop | FinishReason::StopText(_) => "stop",
        FinishReason::ToolCalls => "tool_calls",
        FinishReason::Length => "length",
    }
}

fn counts(usage: Usage) -> usage::Usage {
    usage::Usage {
        prompt_tokens: usage.prompt_tokens,
        completion_tokens: usage.completion_tokens,
        total_tokens: usage.prompt_tokens + usage.completion_tokens,
        prompt_tokens_details: usage::PromptDetails { cached_tokens: usage.cached_tokens },
    }
}

#[cfg(test)]
mod tests;
