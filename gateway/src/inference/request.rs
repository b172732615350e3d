//! Requests after parsing, whatever protocol they came by.

use ipc_proto::generate::{Generation, Prompt};
use ipc_proto::supervisor::KeepAlive;

use super::labels::Labels;

/// A request to generate. Its values are checked.
#[derive(Debug, Clone, PartialEq)]
pub struct InferenceRequest {
    /// The model's name as the client gave it.
    pub model: String,
    /// What to generate.
    pub generation: Generation,
    /// Further prompts, for each of which the same is generated.
    pub more_prompts: Vec<Prompt>,
    /// Outputs to generate for each prompt; at least 1.
    pub choices: u32,
    /// The client's part of the scope in which cached text is shared.
    pub cache_salt: String,
    /// Set if the answer is streamed.
    pub stream: Option<Streaming>,
    /// How long the model stays when it falls idle, if the request says.
    pub keep_alive: Option<KeepAlive>,
    /// The sender and purpose, for the audit log.
    pub labels: Labels,
    /// Requests of one name go to the same worker, whose cache knows their beginning.
    pub affinity: Option<String>,
}

/// How to stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Streaming {
    /// Whether a last chunk holds the token counts.
    pub include_usage: bool,
}

/// Prompts that are counted or shown, not continued.
#[derive(Debug, Clone, PartialEq)]
pub struct PromptRequest {
    /// The model's name as the client gave it.
    pub model: String,
    /// The prompts, at least one.
    pub prompts: Vec<Prompt>,
    /// How long the model stays when it falls idle, if the request says.
    pub keep_alive: Option<KeepAlive>,
    /// Milliseconds from its arrival after which it fails.
    pub time_limit_ms: Option<u32>,
}

impl InferenceRequest {
    /// The number of outputs, of all prompts together.
    pub fn outputs(&self) -> usize {
        (1 + self.more_prompts.len()) * self.choices as usize
    }

    /// The same with labels from the request's headers; the body's labels win. Requests of one conversation go to the same
    /// worker.
    #[must_use]
    pub fn with_labels(mut self, from_headers: Labels) -> Self {
        self.labels = self.labels.or(from_headers);
        self.affinity = self.affinity.or_else(|| self.labels.session.clone());
        self
    }
}

impl From<InferenceRequest> for PromptRequest {
    /// Each prompt once, however many choices it has.
    fn from(request: InferenceRequest) -> Self {
        let InferenceRequest { model, generation, more_prompts, keep_alive, .. } = request;
        let time_limit_ms = generation.time_limit_ms;
        let prompts = std::iter::once(generation.prompt).chain(more_prompts).collect();
        Self { model, keep_alive, time_limit_ms, prompts }
    }
}
