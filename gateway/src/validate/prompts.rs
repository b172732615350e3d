//! Checks requests for token ids and prompts.

use ipc_proto::generate::Prompt;
use ipc_proto::prompt::TokenizeRequest;
use ipc_proto::{Error, Result};

use super::choices::ValidChoices;
use super::{ValidPrompt, ValidRequest};
use crate::api::prompts::{Tokenize, TokenizeChat};

/// Whose form a request has, which its answer follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// vLLM's.
    Vllm,
    /// llama.cpp's.
    LlamaCpp,
}

/// Checks a text to tokenise.
///
/// # Errors
/// Naming the field that is wrong.
pub fn text(request: Tokenize) -> Result<(Form, TokenizeRequest)> {
    match (request.prompt, request.content) {
        (Some(text), None) => {
            let add_special = request.add_special_tokens.unwrap_or(true);
            let pieces = request.return_token_strs.unwrap_or(false);
            let prompt = Prompt::Text(text);
            Ok((Form::Vllm, TokenizeRequest { prompt, add_special, parse_special: true, pieces }))
        }
        (None, Some(text)) => {
            let add_special = request.add_special.unwrap_or(false);
            let parse_special = request.parse_special.unwrap_or(true);
            let pieces = request.with_pieces.unwrap_or(false);
            let prompt = Prompt::Text(text);
            Ok((Form::LlamaCpp, TokenizeRequest { prompt, add_special, parse_special, pieces }))
        }
        (Some(_), Some(_)) => Err(Error::invalid("content", "content cannot be given together with prompt")),
        (None, None) => Err(Error::invalid("prompt", "prompt, content or messages is missing")),
    }
}

/// Checks a conversation to tokenise, whose chat request was checked already.
///
/// # Errors
/// Naming the field that is wrong.
pub fn chat(extra: &TokenizeChat, prompt: Prompt) -> Result<TokenizeRequest> {
    if extra.add_special_tokens == Some(true) {
        let text = "add_special_tokens: a chat template writes these tokens itself, so it can only be false";
        return Err(Error::invalid("add_special_tokens", text));
    }
    let pieces = extra.return_token_strs.unwrap_or(false);
    Ok(TokenizeRequest { prompt, add_special: false, parse_special: true, pieces })
}

impl ValidPrompt {
    /// The prompt of a request that is not to be generated.
    pub fn of_request(request: ValidRequest) -> Self {
        Self {
            model: request.model,
            prompt: request.generate.prompt,
            keep_alive: request.keep_alive,
            time_limit_ms: request.generate.time_limit_ms,
        }
    }

    /// The prompts of a request for several answers, each once.
    pub fn all_of(valid: ValidChoices) -> Vec<Self> {
        let ValidChoices { request, more, .. } = valid;
        let first = Self::of_request(request);
        let mut all = vec![first];
        for generate in more {
            if all.last().is_some_and(|last| last.prompt != generate.prompt) {
                let last = &all[all.len() - 1];
                all.push(Self { prompt: generate.prompt, model: last.model.clone(), ..*last });
            }
        }
        all
    }
}
