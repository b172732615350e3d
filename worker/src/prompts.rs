//! Converts neutral prompts to token ids, and token ids back to text. Pure.

use ipc_proto::generate::{ChatPrompt, Prompt};
use ipc_proto::prompt::{RenderedPrompt, TemplateUse, TokenizeRequest, Tokenized};
use ipc_proto::{Error, ErrorKind, Field, Origin, Result};

use crate::text::infill::InfillTokens;
use crate::text::model_files::ModelFiles;
use crate::text::output_parser::OutputFormat;

mod truncation;

/// The tokens of a prompt, and the format of the output that follows it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are self-evident")]
pub struct TokenizedPrompt {
    pub tokens: Vec<u32>,
    pub output_format: OutputFormat,
}

/// Tokenises a prompt and determines the format of the output that follows it.
///
/// # Errors
/// When the model has no chat template, or its template refuses the conversation.
pub fn encode(files: &ModelFiles, prompt: &Prompt) -> Result<TokenizedPrompt> {
    let tokens = match prompt {
        Prompt::Text(text) => files.tokenizer.encode(text, true).map_err(internal)?,
        Prompt::Tokens(tokens) => tokens.clone(),
        Prompt::Infill { before, after } => infill(files, before, after)?,
        Prompt::Chat(chat) => {
            let EncodedChat { text, tokens, .. } = chat_prompt(files, chat)?;
            return Ok(TokenizedPrompt { tokens, output_format: files.formats.output_format(chat, &text) });
        }
    };
    Ok(TokenizedPrompt { tokens, output_format: OutputFormat::default() })
}

/// As [`encode`], without the oldest turns of a conversation that fills `max_context` and allows that. `max_context` counts
/// tokens, output included.
///
/// # Errors
/// Those of [`encode`].
pub fn encode_within(files: &ModelFiles, prompt: &Prompt, max_context: u32) -> Result<TokenizedPrompt> {
    let Prompt::Chat(chat) = prompt else { return encode(files, prompt) };
    let EncodedChat { text, tokens, .. } = chat_prompt_within(files, chat, max_context)?;
    Ok(TokenizedPrompt { tokens, output_format: files.formats.output_format(chat, &text) })
}

/// Renders a prompt as the model receives it. `max_context` counts tokens, output included.
///
/// # Errors
/// Those of [`encode`].
pub fn render(files: &ModelFiles, prompt: &Prompt, max_context: u32) -> Result<RenderedPrompt> {
    let Prompt::Chat(chat) = prompt else {
        let tokens = encode(files, prompt)?.tokens;
        let text = match prompt {
            Prompt::Text(text) => text.clone(),
            _ => files.tokenizer.decode_all(&tokens),
        };
        return Ok(RenderedPrompt { text, tokens, max_context, template: None });
    };
    let EncodedChat { text, tokens, template } = chat_prompt_within(files, chat, max_context)?;
    Ok(RenderedPrompt { text, tokens, max_context, template: Some(template) })
}

/// Tokenises a text or prompt. `max_context` counts tokens, output included.
///
/// # Errors
/// Those of [`encode`].
pub fn tokenize(files: &ModelFiles, request: &TokenizeRequest, max_context: u32) -> Result<Tokenized> {
    let tokenizer = &files.tokenizer;
    let tokens = match &request.prompt {
        Prompt::Text(text) if request.parse_special => tokenizer.encode(text, request.add_special),
        Prompt::Text(text) => tokenizer.encode_as_text(text, request.add_special),
        prompt => Ok(encode(files, prompt)?.tokens),
    };
    let tokens = tokens.map_err(internal)?;
    let pieces = if request.pieces {
        tokens.iter().map(|token| tokenizer.bytes(*token)).collect()
    } else {
        Vec::new()
    };
    Ok(Tokenized { tokens, pieces, max_context })
}

/// Converts token ids to text, special tokens included.
///
/// # Errors
/// When the model does not have one of the token ids.
pub fn detokenize(files: &ModelFiles, tokens: &[u32]) -> Result<String> {
    if let Some(token) = tokens.iter().find(|token| **token >= files.vocabulary) {
        let text = format!("{token} is not a token id of this model, which lie below {}", files.vocabulary);
        return Err(Error::invalid(Field::Tokens, text));
    }
    Ok(files.tokenizer.decode_all(tokens))
}

/// A rendered and tokenised conversation.
#[derive(Debug, Default)]
struct EncodedChat {
    text: String,
    tokens: Vec<u32>,
    template: TemplateUse,
}

/// As [`chat_prompt`], without the oldest turns if the conversation is too long and allows that.
fn chat_prompt_within(files: &ModelFiles, chat: &ChatPrompt, max_context: u32) -> Result<EncodedChat> {
    let full = chat_prompt(files, chat)?;
    if !chat.truncates || full.tokens.len() < max_context as usize {
        return Ok(full);
    }
    truncation::shorten(chat, full, max_context as usize, |chat| chat_prompt(files, chat))
}

/// Renders and tokenises a conversation.
fn chat_prompt(files: &ModelFiles, chat: &ChatPrompt) -> Result<EncodedChat> {
    let invalid = |text: String| Error::invalid(Field::Messages, text);
    let (file, template) = files.templates.choose(chat).map_err(invalid)?;
    let sanitize = chat.sanitize_control_tokens.unwrap_or(files.sanitize_control_tokens);
    let rendered = template.render(chat, sanitize.then_some(&files.control_tokens)).map_err(invalid)?;
    let tokens = files.tokenizer.encode_sanitized(&rendered.text, &rendered.sanitized).map_err(internal)?;
    let template = TemplateUse {
        name: file.name.clone(),
        file: file.source.path().to_owned(),
        adaptations: rendered.adaptations.iter().map(ToString::to_string).collect(),
        tool_format: files.formats.format_use.clone(),
        reasoning_format: files.formats.reasoning_use.clone(),
        sanitized: rendered.sanitized.len() as u32,
    };
    Ok(EncodedChat { text: rendered.text, tokens, template })
}

fn infill(files: &ModelFiles, before: &str, after: &str) -> Result<Vec<u32>> {
    let infill_tokens = InfillTokens::find(&files.tokenizer)
        .ok_or_else(|| Error::invalid(Field::Suffix, "this model has no tokens for filling in the middle"))?;
    let encode = |text: &str| files.tokenizer.encode(text, false).map_err(internal);
    Ok(infill_tokens.prompt(&encode(before)?, &encode(after)?))
}

fn internal(text: String) -> Error {
    Error::new(ErrorKind::Internal, Origin::Worker, text)
}

#[cfg(test)]
mod tests;
