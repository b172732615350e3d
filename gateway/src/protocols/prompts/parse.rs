//! Parses requests for token ids and prompts. Pure.

use ipc_proto::generate::Prompt;
use ipc_proto::prompt::TokenizeRequest;
use ipc_proto::{Error, Result};

use crate::protocols::prompts::wire::{Detokenize, Tokenize, TokenizeChat};

/// Maximum number of token ids in one request, so that their text fits into one answer of a worker.
const MAX_TOKENS: usize = 1 << 20;

/// The form of a request, which its answer follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenizeApi {
    /// vLLM's.
    Vllm,
    /// llama.cpp's.
    LlamaCpp,
}

/// Parses a request to tokenize a text. Fields of the other form would have no effect, so they are refused.
///
/// # Errors
/// Returns an error that names the invalid field.
pub fn parse_text(request: Tokenize) -> Result<(TokenizeApi, TokenizeRequest)> {
    let vllm_fields = [
        ("add_special_tokens", request.add_special_tokens),
        ("return_token_strs", request.return_token_strs),
    ];
    let llama_cpp_fields = [
        ("add_special", request.add_special),
        ("parse_special", request.parse_special),
        ("with_pieces", request.with_pieces),
    ];
    let value = |field: Option<bool>, default: bool| field.unwrap_or(default);
    match (request.prompt, request.content) {
        (Some(text), None) => {
            refuse_fields(&llama_cpp_fields, "content")?;
            let checked = TokenizeRequest {
                prompt: Prompt::Text(text),
                add_special: value(request.add_special_tokens, true),
                parse_special: true,
                pieces: value(request.return_token_strs, false),
            };
            Ok((TokenizeApi::Vllm, checked))
        }
        (None, Some(text)) => {
            refuse_fields(&vllm_fields, "prompt")?;
            let checked = TokenizeRequest {
                prompt: Prompt::Text(text),
                add_special: value(request.add_special, false),
                parse_special: value(request.parse_special, true),
                pieces: value(request.with_pieces, false),
            };
            Ok((TokenizeApi::LlamaCpp, checked))
        }
        (Some(_), Some(_)) => Err(Error::invalid("content", "content cannot be given together with prompt")),
        (None, None) => Err(Error::invalid("prompt", "prompt, content or messages is missing")),
    }
}

/// Refuses fields that are only valid with the field `wanted`.
fn refuse_fields(fields: &[(&str, Option<bool>)], wanted: &str) -> Result<()> {
    match fields.iter().find(|(_, value)| value.is_some()) {
        Some((name, _)) => Err(Error::invalid(*name, format!("{name} is only allowed with {wanted}"))),
        None => Ok(()),
    }
}

/// Parses a request to tokenize a conversation, whose chat request became `prompt`.
///
/// # Errors
/// Returns an error that names the invalid field.
pub fn parse_conversation(extra: &TokenizeChat, prompt: Prompt) -> Result<TokenizeRequest> {
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

/// Checks the number of token ids.
///
/// # Errors
/// Returns an error for more than `MAX_TOKENS` ids.
pub fn parse_ids(request: Detokenize) -> Result<Vec<u32>> {
    match request.tokens.len() {
        0..=MAX_TOKENS => Ok(request.tokens),
        count => Err(Error::invalid("tokens", format!("tokens: at most {MAX_TOKENS} ids, not {count}"))),
    }
}

#[cfg(test)]
mod tests;
