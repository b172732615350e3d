//! Requests for several choices, and the form of the answer.

use ipc_proto::{Error, Result};

use crate::inference::labels::Labels;
use crate::inference::request::InferenceRequest;

/// Choices of one request, at most.
const MAX_CHOICES: usize = 128;

/// A request for one choice or several, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct ChoicesRequest {
    /// The request itself. Its choices are ordered: those of the first prompt, then those of the next.
    pub request: InferenceRequest,
    /// The form of the answer.
    pub form: Form,
}

/// The form of an answer with choices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Form {
    /// Choices generated for each prompt.
    pub candidates: usize,
    /// Those of them that the answer holds: the likeliest.
    pub returned: usize,
    /// Calls have the deprecated form, `function_call`.
    pub legacy: bool,
    /// The texts before the completions, by prompt.
    pub echo: Vec<Echo>,
    /// The answer holds log probabilities.
    pub logprobs: bool,
    /// The service tier, if one was asked for.
    pub tier: Option<&'static str>,
    /// The answer holds no reasoning.
    pub hide_reasoning: bool,
}

/// The text before a completion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Echo {
    /// Nothing.
    None,
    /// The prompt.
    Text(String),
    /// The text of the prompt's scored tokens.
    Tokens,
}

impl Default for Form {
    fn default() -> Self {
        Self {
            candidates: 1,
            returned: 1,
            legacy: false,
            echo: Vec::new(),
            logprobs: false,
            tier: None,
            hide_reasoning: false,
        }
    }
}

impl ChoicesRequest {
    /// As [`InferenceRequest::with_labels`].
    #[must_use]
    pub fn with_labels(self, sender: Labels) -> Self {
        Self { request: self.request.with_labels(sender), ..self }
    }

    /// A request for at most [`MAX_CHOICES`] choices.
    pub fn new(request: InferenceRequest, form: Form) -> Result<Self> {
        let count = request.outputs();
        if count > MAX_CHOICES {
            let text = format!("n: prompts and choices make {count} generations, at most {MAX_CHOICES}");
            return Err(Error::invalid("n", text));
        }
        Ok(Self { request, form })
    }
}

/// The number of choices.
///
/// # Errors
/// When it is 0 or too large.
pub fn count(name: &str, asked: Option<u32>) -> Result<usize> {
    match asked.unwrap_or(1) as usize {
        n @ 1..=MAX_CHOICES => Ok(n),
        n => Err(Error::invalid(name, format!("{name} must lie between 1 and {MAX_CHOICES}, not {n}"))),
    }
}
