//! Several choices: how many requests a request becomes, and what is told of each.

use ipc_proto::{Error, Result};

use super::ValidRequest;
use super::labels::Labels;

/// Requests that one request may become.
const MAX_CHOICES: usize = 128;

/// A request for one choice or several, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct ValidChoices {
    /// The request itself. Its choices are ordered: those of the first prompt, then those of the next.
    pub request: ValidRequest,
    /// What is told.
    pub form: Form,
}

/// What is told of choices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Form {
    /// Choices generated for each prompt.
    pub candidates: usize,
    /// Those of them that are told: the likeliest.
    pub told: usize,
    /// Calls have the form of old.
    pub legacy: bool,
    /// Told before the text, by prompt.
    pub echo: Vec<Echo>,
    /// Log probabilities are told.
    pub logprobs: bool,
    /// The service tier, where one was asked for.
    pub tier: Option<&'static str>,
    /// What the model thinks is not told.
    pub hide_reasoning: bool,
}

/// What comes before a completion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Echo {
    /// Nothing.
    None,
    /// The prompt.
    Text(String),
    /// What the prompt's tokens spell.
    Tokens,
}

impl Default for Form {
    fn default() -> Self {
        Self {
            candidates: 1,
            told: 1,
            legacy: false,
            echo: Vec::new(),
            logprobs: false,
            tier: None,
            hide_reasoning: false,
        }
    }
}

impl ValidChoices {
    /// As [`ValidRequest::sent_by`].
    #[must_use]
    pub fn sent_by(self, sender: Labels) -> Self {
        Self { request: self.request.sent_by(sender), ..self }
    }

    /// A request for at most [`MAX_CHOICES`] choices.
    pub(super) fn new(request: ValidRequest, form: Form) -> Result<Self> {
        let count = (1 + request.more_prompts.len()) * request.choices as usize;
        if count > MAX_CHOICES {
            let text = format!("n: prompts and choices make {count} generations, at most {MAX_CHOICES}");
            return Err(Error::invalid("n", text));
        }
        Ok(Self { request, form })
    }
}

/// How many choices are asked for.
pub(super) fn count(name: &str, asked: Option<u32>) -> Result<usize> {
    match asked.unwrap_or(1) as usize {
        n @ 1..=MAX_CHOICES => Ok(n),
        n => Err(Error::invalid(name, format!("{name} must lie between 1 and {MAX_CHOICES}, not {n}"))),
    }
}
