//! Checks of single fields that several protocols share.

use ipc_proto::generate::{Constraint, Message, Role, ToolChoice};
use ipc_proto::{Error, Result};
use serde_json::Value;

use crate::protocols::common::token_limit::TokenLimit;

/// Maximum number of stop texts in one request.
pub const MAX_STOPS: usize = 16;
const MAX_STOP_BYTES: usize = 1024;
const MAX_MODEL_BYTES: usize = 512;
/// Maximum number of alternatives per token.
pub const MAX_TOP_LOGPROBS: u8 = 20;

/// Refuses an unsupported field that would change the output, unless its value is null or one of `neutral`.
///
/// # Errors
/// Returns an error that names the field.
pub fn refuse(name: &str, value: &Option<Value>, neutral: &[Value]) -> Result<()> {
    match value {
        Some(value) if !value.is_null() && !neutral.contains(value) => {
            Err(Error::invalid(name, format!("{name} is not supported by this server yet")))
        }
        _ => Ok(()),
    }
}

/// Checks a model's name. [`super::model_choice::fill`] sets it in requests that name none.
///
/// # Errors
/// Returns an error for a missing name, and for one that no model can have.
pub fn model_name(name: Option<String>) -> Result<String> {
    let name = name.ok_or_else(|| Error::invalid("model", "model is missing"))?;
    if name.is_empty() || name.len() > MAX_MODEL_BYTES || name.contains('\0') {
        return Err(Error::invalid("model", "model must be a model's id (GET /v1/models lists them)"));
    }
    Ok(name)
}

/// Returns the limit of tokens in the field `name`. `None` is no limit.
///
/// # Errors
/// Returns an error for 0.
pub fn token_limit(name: &str, limit: Option<TokenLimit>) -> Result<Option<u32>> {
    limit.map_or(Ok(None), |limit| limit.positive(name))
}

/// Returns the form of an answer. An answer that must call a function has no text of its own, so the form does not apply. It is
/// no error: clients send the form with every request of a conversation.
pub fn applicable_format(choice: &ToolChoice, format: Option<Constraint>) -> Option<Constraint> {
    format.filter(|_| !must_call(choice))
}

/// Whether the answer must call a function.
pub fn must_call(choice: &ToolChoice) -> bool {
    matches!(choice, ToolChoice::Required | ToolChoice::Named(_))
}

/// Checks the stop texts of the field `name`.
///
/// # Errors
/// Returns an error for too many texts, or an empty or too long text.
pub fn stop_texts(name: &str, texts: Vec<String>) -> Result<Vec<String>> {
    let invalid = |text: String| Error::invalid(name, format!("{name}: {text}"));
    if texts.len() > MAX_STOPS {
        return Err(invalid(format!("at most {MAX_STOPS} texts, not {}", texts.len())));
    }
    if texts.iter().any(|text| text.is_empty() || text.len() > MAX_STOP_BYTES) {
        return Err(invalid(format!("every text must have between 1 and {MAX_STOP_BYTES} bytes")));
    }
    Ok(texts)
}

/// Checks the number of alternatives per token.
///
/// # Errors
/// Returns an error for more than [`MAX_TOP_LOGPROBS`].
pub fn top_logprobs(name: &str, top: Option<u32>) -> Result<u8> {
    let top = top.unwrap_or(0);
    u8::try_from(top).ok().filter(|top| *top <= MAX_TOP_LOGPROBS).ok_or_else(|| {
        Error::invalid(name, format!("{name} must lie between 0 and {MAX_TOP_LOGPROBS}, not {top}"))
    })
}

/// Checks that the last message can be continued, if `continues` is set.
///
/// # Errors
/// Returns an error unless the last message is the assistant's, with text and without calls.
pub fn check_continuation(field: &str, continues: bool, messages: &[Message]) -> Result<()> {
    let can_continue = |last: &Message| {
        last.role == Role::Assistant && last.tool_calls.is_empty() && !last.content.is_empty()
    };
    if !continues || messages.last().is_some_and(can_continue) {
        return Ok(());
    }
    let text = format!("{field}: to be continued, the last turn must be the assistant's and have text");
    Err(Error::invalid(field, text))
}
