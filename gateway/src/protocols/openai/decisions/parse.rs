//! Parses decision requests.

use ipc_proto::generate::{ChatPrompt, Message, Prompt, Role};
use ipc_proto::{Error, Result};
use serde_json::{Value, json};

use super::questions::{ANSWER_PREFIX, ValidQuestion, parse_question};
use super::wire::{Items, Request};
use crate::inference::labels::Labels;
use crate::protocols::common::checks::model_name;
use crate::protocols::common::extensions::Extensions;
use crate::protocols::common::reasoning::ReasoningRequest;
use crate::protocols::common::{body, labels};
use crate::protocols::openai::responses::items;
use crate::protocols::openai::tools::call_forms::CallForms;

const MAX_QUESTIONS: usize = 400;
/// Maximum number of answers to all questions together.
const MAX_ANSWERS: usize = 4096;

/// A parsed request.
#[derive(Debug, Clone, PartialEq)]
pub struct ValidDecision {
    /// The model's name.
    pub model: String,
    /// The input as a conversation.
    pub messages: Vec<Message>,
    /// The questions, at least one.
    pub questions: Vec<ValidQuestion>,
    /// Extensions of every protocol.
    pub extensions: Extensions,
    /// Labels for the audit record.
    pub labels: Labels,
    /// The client's key of requests with a common prefix.
    pub affinity: Option<String>,
}

/// Parses a decision request.
///
/// # Errors
/// Returns an error that names the invalid field.
pub fn parse(request: Request) -> Result<ValidDecision> {
    let count = request.questions.len();
    if !(1..=MAX_QUESTIONS).contains(&count) {
        let text = format!("questions: 1 to {MAX_QUESTIONS}, not {count}");
        return Err(Error::invalid("questions", text));
    }
    let questions = request.questions.into_iter().enumerate();
    let questions = questions
        .map(|(at, question)| parse_question(&format!("questions[{at}]"), question))
        .collect::<Result<Vec<_>>>()?;
    let answers: usize = questions.iter().map(|question| question.kind.answer_texts().len()).sum();
    if answers > MAX_ANSWERS {
        let text = format!("questions: they have {answers} possible answers, at most {MAX_ANSWERS}");
        return Err(Error::invalid("questions", text));
    }
    Ok(ValidDecision {
        model: model_name(request.model)?,
        messages: parse_input(request.input)?,
        questions,
        extensions: request.extensions.parse()?,
        labels: labels::from_body(&None, &request.safety_identifier, None)?,
        affinity: labels::first_label(&[("prompt_cache_key", &request.prompt_cache_key)])?,
    })
}

impl ValidDecision {
    /// The prompt of a question, up to its answer.
    pub fn prompt(&self, question: &ValidQuestion) -> Prompt {
        let mut messages = self.messages.clone();
        match messages.last_mut() {
            Some(last) if last.role == Role::User => {
                last.content.push_text(&format!("\n\n{}", question.text))
            }
            _ => messages.push(Message::text(Role::User, question.text.as_str())),
        }
        messages.push(Message::text(Role::Assistant, ANSWER_PREFIX));
        let without_reasoning = ReasoningRequest { enabled: Some(false), ..ReasoningRequest::default() };
        Prompt::Chat(ChatPrompt {
            messages,
            template_kwargs: without_reasoning.template_kwargs(None),
            continues: true,
            ..ChatPrompt::default()
        })
    }
}

fn parse_input(input: Value) -> Result<Vec<Message>> {
    match input {
        Value::String(text) if text.is_empty() => Err(Error::invalid("input", "input must not be empty")),
        Value::String(text) => Ok(vec![Message::text(Role::User, text)]),
        Value::Array(mut items) => {
            items.iter_mut().for_each(json_parts_to_texts);
            let Items { input } = body::from_json(json!({ "input": items }))?;
            let messages = items::turns(None, &items::paths(&[], &input), &CallForms::default())?;
            if messages.iter().any(|message| message.content.images().next().is_some()) {
                return Err(Error::invalid("input", "input: images are not supported here"));
            }
            Ok(messages)
        }
        _ => Err(Error::invalid("input", "input must be a string or a list of input items")),
    }
}

/// Writes parts of type `input_json` as texts.
fn json_parts_to_texts(item: &mut Value) {
    let parts = item.get_mut("content").and_then(Value::as_array_mut);
    for part in parts.into_iter().flatten() {
        if part["type"] == "input_json"
            && let Some(data) = part.get("data")
        {
            *part = json!({"type": "input_text", "text": data.to_string()});
        }
    }
}

#[cfg(test)]
mod tests;
