//! From a neutral prompt to token ids, and back for people who want to see them. Pure.

use ipc_proto::generate::{ChatPrompt, Prompt};
use ipc_proto::prompt::{RenderedPrompt, TemplateUse, TokenizeRequest, Tokenized};
use ipc_proto::{Error, ErrorKind, Result, Source};

use crate::adapters::infill;
use crate::adapters::model_files::ModelFiles;
use crate::adapters::reading::Manner;
use crate::adapters::recent::Read;

/// The token ids of a prompt, and how the output behind it is read.
///
/// # Errors
/// When the model has no chat template, or its template refuses the conversation.
pub fn read(files: &ModelFiles, prompt: &Prompt) -> Result<Read> {
    match prompt {
        Prompt::Text(text) => Ok((files.tokenizer.encode(text, true).map_err(internal)?, Manner::default())),
        Prompt::Tokens(tokens) => Ok((tokens.clone(), Manner::default())),
        Prompt::Infill { before, after } => Ok((infill(files, before, after)?, Manner::default())),
        Prompt::Chat(chat) => {
            let (text, tokens, _) = chat_prompt(files, chat)?;
            let manner = files.dialect.manner(chat, &text);
            Ok((tokens, manner))
        }
    }
}

/// The prompt as the model reads it; `max_context` in tokens, output included.
///
/// # Errors
/// Those of [`read`].
pub fn render(files: &ModelFiles, prompt: &Prompt, max_context: u32) -> Result<RenderedPrompt> {
    let Prompt::Chat(chat) = prompt else {
        let (tokens, _) = read(files, prompt)?;
        let text = match prompt {
            Prompt::Text(text) => text.clone(),
            _ => files.tokenizer.decode_all(&tokens),
        };
        return Ok(RenderedPrompt { text, tokens, max_context, template: None });
    };
    let (text, tokens, template) = chat_prompt(files, chat)?;
    Ok(RenderedPrompt { text, tokens, max_context, template: Some(template) })
}

/// Token ids of a text or prompt; `max_context` in tokens, output included.
///
/// # Errors
/// Those of [`read`].
pub fn tokenize(files: &ModelFiles, request: &TokenizeRequest, max_context: u32) -> Result<Tokenized> {
    let tokenizer = &files.tokenizer;
    let tokens = match &request.prompt {
        Prompt::Text(text) if request.parse_special => tokenizer.encode(text, request.add_special),
        Prompt::Text(text) => tokenizer.encode_as_text(text, request.add_special),
        prompt => Ok(read(files, prompt)?.0),
    };
    let tokens = tokens.map_err(internal)?;
    let pieces = if request.pieces {
        tokens.iter().map(|token| tokenizer.bytes(*token)).collect()
    } else {
        Vec::new()
    };
    Ok(Tokenized { tokens, pieces, max_context })
}

/// The text of token ids, special tokens included.
///
/// # Errors
/// A token id that the model does not have.
pub fn detokenize(files: &ModelFiles, tokens: &[u32]) -> Result<String> {
    if let Some(token) = tokens.iter().find(|token| **token >= files.vocabulary) {
        let text =
            format!("tokens: {token} is not a token id of this model, which lie below {}", files.vocabulary);
        return Err(Error::invalid("tokens", text));
    }
    Ok(files.tokenizer.decode_all(tokens))
}

/// A conversation's text and token ids, and how they came to be.
fn chat_prompt(files: &ModelFiles, chat: &ChatPrompt) -> Result<(String, Vec<u32>, TemplateUse)> {
    let refused = |text: String| Error::invalid("messages", text);
    let (file, template) = files.templates.choose(chat).map_err(refused)?;
    let sanitizes = chat.sanitize_control_tokens.unwrap_or(files.sanitizes);
    let rendered = template.render(chat, sanitizes.then_some(&files.control_tokens)).map_err(refused)?;
    let tokens = files.tokenizer.encode_sanitized(&rendered.text, &rendered.sanitized).map_err(internal)?;
    let template = TemplateUse {
        name: file.name.clone(),
        file: file.source.path().to_owned(),
        adaptations: rendered.adaptations.iter().map(ToString::to_string).collect(),
        tool_format: files.dialect.format_use.clone(),
        reasoning_format: files.dialect.reasoning_use.clone(),
        sanitized: rendered.sanitized.len() as u32,
    };
    Ok((rendered.text, tokens, template))
}

fn infill(files: &ModelFiles, before: &str, after: &str) -> Result<Vec<u32>> {
    let markers = infill::Markers::of(&files.tokenizer).ok_or_else(|| {
        Error::invalid("suffix", "suffix: this model has no tokens for filling in the middle")
    })?;
    let encode = |text: &str| files.tokenizer.encode(text, false).map_err(internal);
    Ok(markers.around(&encode(before)?, &encode(after)?))
}

fn internal(text: String) -> Error {
    Error::new(ErrorKind::Internal, Source::Worker, text)
}

#[cfg(test)]
mod tests;
