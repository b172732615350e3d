//! Requests after parsing, independent of the protocol.

use std::sync::Arc;

use ipc_proto::generate::{Generation, Prompt};
use ipc_proto::supervisor::KeepAlive;

use super::labels::Labels;
use super::original::Original;

/// A request to generate. Its values are checked.
#[derive(Debug, Clone, PartialEq)]
pub struct InferenceRequest {
    /// The model's name as the client gave it.
    pub model: String,
    /// The prompt and the parameters of its outputs.
    pub generation: Generation,
    /// Further prompts, with the same parameters.
    pub more_prompts: Vec<Prompt>,
    /// Outputs to generate for each prompt; at least 1.
    pub choices: u32,
    /// The client's part of the scope in which cached text is shared.
    pub cache_salt: String,
    /// Set if the answer is streamed.
    pub stream: Option<Streaming>,
    /// How long the model stays loaded when it is idle; `None` if the request does not set it.
    pub keep_alive: Option<KeepAlive>,
    /// The sender and purpose, for the audit log.
    pub labels: Labels,
    /// Requests with the same value go to the same worker, whose prefix cache holds their beginning.
    pub affinity: Option<String>,
    /// The request as the client sent it, if a provider of the same protocol may answer it.
    pub original: Option<Arc<Original>>,
    /// Whether the client said nothing of reasoning, and the prompt assumes that it wants none. A provider's model then has its own
    /// default: many refuse to be told.
    pub assumes_no_thinking: bool,
}

/// How to stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Streaming {
    /// Whether the last chunk holds the token counts.
    pub include_usage: bool,
}

/// A request that counts or renders prompts and generates nothing.
#[derive(Debug, Clone, PartialEq)]
pub struct PromptRequest {
    /// The model's name as the client gave it.
    pub model: String,
    /// The prompts, at least one.
    pub prompts: Vec<Prompt>,
    /// How long the model stays loaded when it is idle; `None` if the request does not set it.
    pub keep_alive: Option<KeepAlive>,
    /// Milliseconds after which the request fails, counted from its arrival.
    pub time_limit_ms: Option<u32>,
}

impl InferenceRequest {
    /// The total number of outputs for all prompts.
    pub fn outputs(&self) -> usize {
        (1 + self.more_prompts.len()) * self.choices as usize
    }

    /// All prompts.
    pub fn prompts(&self) -> impl Iterator<Item = &Prompt> {
        std::iter::once(&self.generation.prompt).chain(&self.more_prompts)
    }

    /// Adds labels from the request's headers. Labels in the body have precedence. Requests of one session go to the same worker.
    #[must_use]
    pub fn with_labels(mut self, from_headers: Labels) -> Self {
        self.labels = self.labels.or(from_headers);
        self.affinity = self.affinity.or_else(|| self.labels.session.clone());
        self
    }
}

impl From<InferenceRequest> for PromptRequest {
    /// Holds each prompt once, whatever the number of choices.
    fn from(request: InferenceRequest) -> Self {
        let InferenceRequest { model, generation, more_prompts, keep_alive, .. } = request;
        let time_limit_ms = generation.time_limit_ms;
        let prompts = std::iter::once(generation.prompt).chain(more_prompts).collect();
        Self { model, keep_alive, time_limit_ms, prompts }
    }
}
