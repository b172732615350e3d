//! Checks requests for token ids and prompts. Pure.

use ipc_proto::generate::Prompt;
use ipc_proto::prompt::TokenizeRequest;
use ipc_proto::supervisor::ModelEntry;
use ipc_proto::worker::ModelKind;
use ipc_proto::{Error, Result};

use crate::protocols::common::checks::model;
use crate::protocols::prompts::wire::{Detokenize, Tokenize, TokenizeChat};

/// Token ids of one request, at most: their text fits into one answer of a worker.
const MAX_TOKENS: usize = 1 << 20;
/// Models that an error message lists.
const LISTED: usize = 8;

/// Whose form a request has, which its answer follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// vLLM's.
    Vllm,
    /// llama.cpp's.
    LlamaCpp,
}

/// Checks a text to tokenise. Fields of the other form would do nothing: they are refused.
///
/// # Errors
/// Naming the field that is wrong.
pub fn text(request: Tokenize) -> Result<(Form, TokenizeRequest)> {
    let of_vllm = [
        ("add_special_tokens", request.add_special_tokens),
        ("return_token_strs", request.return_token_strs),
    ];
    let of_llama_cpp = [
        ("add_special", request.add_special),
        ("parse_special", request.parse_special),
        ("with_pieces", request.with_pieces),
    ];
    let value = |field: Option<bool>, default: bool| field.unwrap_or(default);
    match (request.prompt, request.content) {
        (Some(text), None) => {
            none_of(&of_llama_cpp, "content")?;
            let checked = TokenizeRequest {
                prompt: Prompt::Text(text),
                add_special: value(request.add_special_tokens, true),
                parse_special: true,
                pieces: value(request.return_token_strs, false),
            };
            Ok((Form::Vllm, checked))
        }
        (None, Some(text)) => {
            none_of(&of_vllm, "prompt")?;
            let checked = TokenizeRequest {
                prompt: Prompt::Text(text),
                add_special: value(request.add_special, false),
                parse_special: value(request.parse_special, true),
                pieces: value(request.with_pieces, false),
            };
            Ok((Form::LlamaCpp, checked))
        }
        (Some(_), Some(_)) => Err(Error::invalid("content", "content cannot be given together with prompt")),
        (None, None) => Err(Error::invalid("prompt", "prompt, content or messages is missing")),
    }
}

/// Refuses fields that belong to the form whose text is in `wanted`.
fn none_of(fields: &[(&str, Option<bool>)], wanted: &str) -> Result<()> {
    match fields.iter().find(|(_, value)| value.is_some()) {
        Some((name, _)) => Err(Error::invalid(*name, format!("{name} is only allowed with {wanted}"))),
        None => Ok(()),
    }
}

/// Checks what a conversation to tokenise has besides a chat request, which gave `prompt`.
///
/// # Errors
/// Naming the field that is wrong.
pub fn conversation(extra: &TokenizeChat, prompt: Prompt) -> Result<TokenizeRequest> {
    for (name, value) in [("prompt", &extra.prompt), ("content", &extra.content)] {
        if value.as_ref().is_some_and(|value| !value.is_null()) {
            return Err(Error::invalid(name, format!("{name} cannot be given together with messages")));
        }
    }
    if extra.add_special_tokens == Some(true) {
        let text = "add_special_tokens: a chat template writes these tokens itself, so it can only be false";
        return Err(Error::invalid("add_special_tokens", text));
    }
    let pieces = extra.return_token_strs.unwrap_or(false);
    Ok(TokenizeRequest { prompt, add_special: false, parse_special: true, pieces })
}

/// Checks token ids, and takes them out of their request.
///
/// # Errors
/// When they are too many for one answer.
pub fn ids(request: Detokenize) -> Result<Vec<u32>> {
    match request.tokens.len() {
        0..=MAX_TOKENS => Ok(request.tokens),
        count => Err(Error::invalid("tokens", format!("tokens: at most {MAX_TOKENS} ids, not {count}"))),
    }
}

/// The name that a request has, or else the only model of `all` that generates text.
///
/// # Errors
/// When the name is none, or there is not exactly one such model.
pub fn named_or_only(name: Option<String>, all: &[ModelEntry]) -> Result<String> {
    if let Some(name) = name {
        return model(name);
    }
    let generates = |entry: &&ModelEntry| {
        let details = &entry.details;
        details.kind == ModelKind::Generate && !details.unserved && details.problem.is_none()
    };
    let ids: Vec<&str> = all.iter().filter(generates).map(|entry| &*entry.id).collect();
    let text = match &ids[..] {
        [only] => return Ok((*only).to_owned()),
        [] => "model is missing, and no model that generates text is there".to_owned(),
        several => {
            let listed = several[..several.len().min(LISTED)].join(", ");
            let rest = if several.len() > LISTED { ", … (GET /v1/models lists all)" } else { "" };
            format!("model is missing, and there are several: {listed}{rest}")
        }
    };
    Err(Error::invalid("model", text))
}

#[cfg(test)]
mod tests;
