//! Requests for one or more choices, and the form of their answer.

use ipc_proto::{Error, Result};

use crate::inference::labels::Labels;
use crate::inference::request::InferenceRequest;
use crate::protocols::openai::tools::call_forms::CallForms;

/// Maximum number of choices of one request.
const MAX_CHOICES: usize = 128;

/// A parsed request for one or more choices.
#[derive(Debug, Clone, PartialEq)]
pub struct ChoicesRequest {
    /// The neutral request. Its choices are ordered by prompt.
    pub request: InferenceRequest,
    /// The form of the answer.
    pub form: AnswerForm,
}

/// The settings of an answer that the worker does not need.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnswerForm {
    /// The number of choices generated per prompt.
    pub candidates: usize,
    /// The number of choices returned per prompt: the likeliest.
    pub returned: usize,
    /// Whether calls have the deprecated form, `function_call`.
    pub legacy: bool,
    /// The forms of calls.
    pub calls: CallForms,
    /// The echoed text before the choices of each prompt. Empty if there is none.
    pub echo: Vec<Echo>,
    /// Whether the answer includes log probabilities.
    pub logprobs: bool,
    /// The service tier, if the request names one.
    pub tier: Option<&'static str>,
    /// Whether to omit the reasoning.
    pub hide_reasoning: bool,
    /// The telemetry in a stream's chunks.
    pub telemetry: Telemetry,
    /// The client's id of the request, which becomes a part of the answer's id.
    pub request_id: Option<String>,
}

/// The telemetry in a stream's chunks, besides the last one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Telemetry {
    /// Whether each chunk has the token counts of its choice so far, as in vLLM.
    pub usage: bool,
    /// Whether each chunk has the timings so far, as in llama.cpp.
    pub timings: bool,
    /// Whether chunks report how much of the prompt is computed, as in llama.cpp.
    pub progress: bool,
}

impl Telemetry {
    /// Whether the worker must report the progress of the prompt: the counts of the prompt come with it.
    pub fn needs_progress(self) -> bool {
        self.usage || self.timings || self.progress
    }

    /// Whether the chunks of a text differ in more than the text.
    pub fn is_in_each_chunk(self) -> bool {
        self.usage || self.timings
    }
}

impl AnswerForm {
    /// Returns the echo before the choices of a prompt.
    pub fn echo_of_prompt(&self, prompt: usize) -> &Echo {
        self.echo.get(prompt).unwrap_or(&Echo::None)
    }
}

/// The echoed text before a choice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Echo {
    /// No echo.
    None,
    /// The text of the prompt, or of the last message.
    Text(String),
    /// The text of the prompt's scored tokens, from [`ipc_proto::generate::Event::Prompt`].
    Tokens,
}

impl Default for AnswerForm {
    fn default() -> Self {
        Self {
            candidates: 1,
            returned: 1,
            legacy: false,
            calls: CallForms::default(),
            echo: Vec::new(),
            logprobs: false,
            tier: None,
            hide_reasoning: false,
            telemetry: Telemetry::default(),
            request_id: None,
        }
    }
}

impl ChoicesRequest {
    /// Adds labels, like [`InferenceRequest::with_labels`].
    #[must_use]
    pub fn with_labels(self, labels: Labels) -> Self {
        Self { request: self.request.with_labels(labels), ..self }
    }

    /// Checks the number of choices over all prompts.
    ///
    /// # Errors
    /// Returns an error for more than `MAX_CHOICES` choices.
    pub fn new(request: InferenceRequest, form: AnswerForm) -> Result<Self> {
        let count = request.outputs();
        if count > MAX_CHOICES {
            let text = format!("n: prompts and choices make {count} generations, at most {MAX_CHOICES}");
            return Err(Error::invalid("n", text));
        }
        Ok(Self { request, form })
    }
}

/// Checks the number of choices in the field `name`.
///
/// # Errors
/// Returns an error for 0 or more than `MAX_CHOICES`.
pub fn parse_count(name: &str, value: Option<u32>) -> Result<usize> {
    match value.unwrap_or(1) as usize {
        n @ 1..=MAX_CHOICES => Ok(n),
        n => Err(Error::invalid(name, format!("{name} must lie between 1 and {MAX_CHOICES}, not {n}"))),
    }
}
