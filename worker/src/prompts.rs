//! Converts neutral prompts to token ids, and token ids back to text. Pure but for the files of images.

use std::sync::Arc;

use image_input::Prepared;
use ipc_proto::generate::{ChatPrompt, Message, Prompt, Role, Tool};
use ipc_proto::prompt::{RenderedPrompt, TemplateUse, TokenizeRequest, Tokenized};
use ipc_proto::{Error, ErrorKind, Field, Origin, Result};

use crate::engine::images::PromptImages;
use crate::images::Text;
use crate::text::infill::InfillTokens;
use crate::text::model_files::ModelFiles;
use crate::text::output_parser::OutputFormat;
use crate::text::tokenizer::long::{Bounds, EncodeError};

mod truncation;

/// Bytes of a token in a long text, on average, for the length of conversations that are too long to be tokenised.
const TYPICAL_TOKEN: usize = 4;

/// The tokens of a prompt, and the format of the output that follows it.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "the fields are self-evident")]
pub struct TokenizedPrompt {
    pub tokens: Vec<u32>,
    pub images: PromptImages,
    pub output_format: OutputFormat,
}

/// What an image counts as in [`text_bytes`].
const IMAGE_BYTES: usize = 1 << 20;

/// The bytes of a prompt's texts, without those of its tools. An image counts as a long text: its pixels take as much work.
pub fn text_bytes(prompt: &Prompt) -> usize {
    match prompt {
        Prompt::Text(text) => text.len(),
        Prompt::Tokens(_) => 0,
        Prompt::Infill { before, after } => before.len() + after.len(),
        Prompt::Chat(chat) => chat.messages.iter().map(message_bytes).sum(),
    }
}

fn message_bytes(message: &Message) -> usize {
    let texts = message.content.texts();
    let calls = message.tool_calls.iter().map(|call| &call.arguments);
    let text: usize =
        texts.chain(message.reasoning.iter().chain(calls).map(String::as_str)).map(str::len).sum();
    text + IMAGE_BYTES * message.content.images().count()
}

/// The bounds of the work for a prompt.
#[derive(Clone, Copy)]
pub struct Limits<'a> {
    /// The model's context in tokens, output included. `None` for a prompt that is only counted or shown.
    pub max_context: Option<u32>,
    /// Whether the client still waits.
    pub wanted: &'a dyn Fn() -> bool,
}

impl<'a> Limits<'a> {
    /// For tokenisation. A prompt that is up to a quarter too long is tokenised, for the exact number in its error.
    fn bounds(self) -> Bounds<'a> {
        let tokens = self.max_context.map_or(usize::MAX, |max| max as usize + max as usize / 4);
        Bounds { tokens, wanted: self.wanted }
    }

    /// The error for a client whose text has no tokens.
    fn refusal(self, error: EncodeError, field: Field) -> Error {
        match error {
            EncodeError::TooLong => Error::too_long(
                field,
                format_args!("more than {}", self.bounds().tokens),
                self.max_context.unwrap_or(0),
            ),
            EncodeError::Unwanted => {
                Error::new(ErrorKind::Cancelled, Origin::Client, "the request was cancelled")
            }
            EncodeError::Uncut(bytes) => {
                let text =
                    format!("the text has {} KiB in a row that can only be tokenised together", bytes >> 10);
                Error::invalid(field, text)
            }
            EncodeError::Failed(text) => internal(text),
        }
    }
}

/// Whether the chat templates put all of the last user turn into the prompt, except white space.
pub fn keeps_user_turns(files: &ModelFiles) -> bool {
    // Longer than a template keeps if it shortens turns.
    let text: String = (0..10_000).map(|number| format!("{number} ")).collect();
    let turn = |text: &str| Message::text(Role::User, text);
    let chat = ChatPrompt { messages: vec![turn(text.trim_end())], ..ChatPrompt::default() };
    let tool = Tool { name: "probe".into(), ..Tool::default() };
    let with_tools = ChatPrompt { tools: vec![tool], ..chat.clone() };
    // A template that refuses them refuses each such request.
    let rendered = [chat, with_tools].map(|chat| files.templates.choose(&chat)?.1.render(&chat, None));
    rendered.iter().flatten().all(|rendered| rendered.text.contains(text.trim_end()))
}

/// Tokenises a prompt and determines the format of the output that follows it. Leaves out the oldest turns of a conversation that
/// fills the context and allows that.
///
/// # Errors
/// When the model has no chat template, or its template refuses the conversation, and when the prompt is much too long. A prompt
/// that is a little too long is returned.
pub fn encode(files: &ModelFiles, prompt: &Prompt, limits: Limits) -> Result<TokenizedPrompt> {
    let tokens = match prompt {
        Prompt::Text(text) => text_tokens(files, text, true, limits)?,
        Prompt::Tokens(tokens) => tokens.clone(),
        Prompt::Infill { before, after } => infill(files, before, after, limits)?,
        Prompt::Chat(chat) => {
            let EncodedChat { text, tokens, images, .. } = chat_prompt(files, chat, limits)?;
            let output_format = files.formats.output_format(chat, &text);
            return Ok(TokenizedPrompt { tokens, images, output_format });
        }
    };
    Ok(TokenizedPrompt { tokens, images: PromptImages::default(), output_format: OutputFormat::default() })
}

/// Renders a prompt as a model with this context, in tokens, receives it.
///
/// # Errors
/// Those of [`encode`], except that no prompt is too long.
pub fn render(
    files: &ModelFiles,
    prompt: &Prompt,
    max_context: u32,
    wanted: &dyn Fn() -> bool,
) -> Result<RenderedPrompt> {
    let limits = Limits { max_context: None, wanted };
    let Prompt::Chat(chat) = prompt else {
        let tokens = encode(files, prompt, limits)?.tokens;
        let text = match prompt {
            Prompt::Text(text) => text.clone(),
            _ => files.tokenizer.decode_all(&tokens),
        };
        return Ok(RenderedPrompt { text, tokens, max_context, template: None });
    };
    let full = rendered_chat(files, chat, limits)?;
    let EncodedChat { text, tokens, template, .. } = shortened(files, chat, full, max_context, limits)?;
    Ok(RenderedPrompt { text, tokens, max_context, template: Some(template) })
}

/// Tokenises a text or prompt. `max_context` counts tokens, output included.
///
/// # Errors
/// Those of [`render`].
pub fn tokenize(
    files: &ModelFiles,
    request: &TokenizeRequest,
    max_context: u32,
    wanted: &dyn Fn() -> bool,
) -> Result<Tokenized> {
    let limits = Limits { max_context: None, wanted };
    let tokenizer = &files.tokenizer;
    let tokens = match &request.prompt {
        Prompt::Text(text) if request.parse_special => text_tokens(files, text, request.add_special, limits)?,
        Prompt::Text(text) => {
            let everything = 0..text.len();
            let tokens = tokenizer.encode_within(text, std::slice::from_ref(&everything), limits.bounds());
            let tokens = tokens.map_err(|error| limits.refusal(error, Field::Prompt))?;
            if request.add_special { tokenizer.with_special(tokens).map_err(internal)? } else { tokens }
        }
        prompt => encode(files, prompt, limits)?.tokens,
    };
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
    /// Empty if the conversation is much too long.
    tokens: Vec<u32>,
    images: PromptImages,
    /// The number of tokens, or an estimate if it is much too long.
    length: usize,
    template: TemplateUse,
}

/// Renders and tokenises a conversation, without the oldest turns if it is too long and allows that.
fn chat_prompt(files: &ModelFiles, chat: &ChatPrompt, limits: Limits) -> Result<EncodedChat> {
    let full = rendered_chat(files, chat, limits)?;
    let encoded = match limits.max_context {
        Some(max_context) => shortened(files, chat, full, max_context, limits)?,
        None => full,
    };
    if encoded.tokens.len() < encoded.length {
        return Err(limits.refusal(EncodeError::TooLong, Field::Messages));
    }
    Ok(encoded)
}

/// `full`, or the conversation without its oldest turns if it is too long and allows that.
fn shortened(
    files: &ModelFiles,
    chat: &ChatPrompt,
    full: EncodedChat,
    max_context: u32,
    limits: Limits,
) -> Result<EncodedChat> {
    if !chat.truncates || full.length < max_context as usize {
        return Ok(full);
    }
    truncation::shorten(chat, full, max_context as usize, |chat| rendered_chat(files, chat, limits))
}

/// Renders and tokenises a conversation.
fn rendered_chat(files: &ModelFiles, chat: &ChatPrompt, limits: Limits) -> Result<EncodedChat> {
    let invalid = |text: String| Error::invalid(Field::Messages, text);
    let (file, template) = files.templates.choose(chat).map_err(invalid)?;
    let sanitize = chat.sanitize_control_tokens.unwrap_or(files.sanitize_control_tokens);
    let rendered = template.render(chat, sanitize.then_some(&files.control_tokens)).map_err(invalid)?;
    let adaptations = rendered.adaptations.iter().map(ToString::to_string).collect();
    let text = Text { text: rendered.text, sanitized: rendered.sanitized };
    let (text, images) = with_images(files, chat, text)?;
    let Text { text, sanitized } = text;
    let bounds = limits.bounds();
    let tokens = match files.tokenizer.encode_within(&text, &sanitized, bounds) {
        Ok(tokens) => Some(tokens),
        Err(EncodeError::TooLong) => None,
        Err(error) => return Err(limits.refusal(error, Field::Messages)),
    };
    let images = match (&tokens, &files.images) {
        (Some(tokens), Ok(reader)) if !images.is_empty() => reader.locate(tokens, images)?,
        _ => PromptImages::default(),
    };
    let estimate = || (text.len() / TYPICAL_TOKEN).max(bounds.tokens.saturating_add(1));
    let template = TemplateUse {
        name: file.name.clone(),
        file: file.source.path().to_owned(),
        adaptations,
        tool_format: files.formats.format_use.clone(),
        reasoning_format: files.formats.reasoning_use.clone(),
        sanitized: sanitized.len() as u32,
    };
    let length = tokens.as_ref().map_or_else(estimate, Vec::len);
    Ok(EncodedChat { text, tokens: tokens.unwrap_or_default(), images, length, template })
}

/// Reads the images of a conversation, and puts what stands for them in their places.
fn with_images(files: &ModelFiles, chat: &ChatPrompt, text: Text) -> Result<(Text, Vec<Arc<Prepared>>)> {
    if chat.messages.iter().all(|message| message.content.images().next().is_none()) {
        return Ok((text, Vec::new()));
    }
    let reader =
        files.images.as_ref().map_err(|problem| Error::invalid(Field::Messages, problem.as_str()))?;
    let images = reader.prepare_all(chat)?;
    Ok((reader.fill(text, &images)?, images))
}

fn text_tokens(files: &ModelFiles, text: &str, special: bool, limits: Limits) -> Result<Vec<u32>> {
    let tokens = files.tokenizer.encode_within(text, &[], limits.bounds());
    let tokens = tokens.map_err(|error| limits.refusal(error, Field::Prompt))?;
    if special { files.tokenizer.with_special(tokens).map_err(internal) } else { Ok(tokens) }
}

fn infill(files: &ModelFiles, before: &str, after: &str, limits: Limits) -> Result<Vec<u32>> {
    let infill_tokens = InfillTokens::find(&files.tokenizer)
        .ok_or_else(|| Error::invalid(Field::Suffix, "this model has no tokens for filling in the middle"))?;
    let encode = |text: &str| text_tokens(files, text, false, limits);
    Ok(infill_tokens.prompt(&encode(before)?, &encode(after)?))
}

fn internal(text: String) -> Error {
    Error::new(ErrorKind::Internal, Origin::Worker, text)
}

#[cfg(test)]
mod tests;
