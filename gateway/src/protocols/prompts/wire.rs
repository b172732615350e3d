//! Endpoints that show prompts: vLLM's and llama.cpp's `/tokenize` and `/detokenize`, llama.cpp's `/apply-template`, and `render`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::protocols::common::body::Body;

/// A text to tokenise: `prompt` in vLLM's form, `content` in llama.cpp's.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[schemars(rename = "TokenizeRequest")]
#[serde(deny_unknown_fields)]
pub struct Tokenize {
    /// May be left out where one model is served.
    pub model: Option<String>,
    /// vLLM's form.
    pub prompt: Option<String>,
    /// vLLM's form: whether the tokens that the tokenizer puts around texts are added; true by default.
    pub add_special_tokens: Option<bool>,
    /// vLLM's form: whether the answer has each token's text.
    pub return_token_strs: Option<bool>,
    /// llama.cpp's form.
    pub content: Option<String>,
    /// llama.cpp's form of `add_special_tokens`; false by default.
    pub add_special: Option<bool>,
    /// llama.cpp's form: whether control tokens are read as such; true by default.
    pub parse_special: Option<bool>,
    /// llama.cpp's form: whether the answer has each token's text.
    pub with_pieces: Option<bool>,
}

impl Body for Tokenize {}

/// What a conversation to tokenise has besides the fields of a chat request.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[schemars(rename = "TokenizeConversation")]
pub struct TokenizeChat {
    /// Chat templates write these tokens themselves: only false can be had.
    pub add_special_tokens: Option<bool>,
    /// Whether the answer has each token's text.
    pub return_token_strs: Option<bool>,
    /// Looked at only to refuse it.
    pub prompt: Option<Value>,
    /// Looked at only to refuse it.
    pub content: Option<Value>,
}

impl Body for TokenizeChat {}

/// Token ids, in vLLM's form.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Tokens")]
pub struct Tokens {
    /// Their number.
    pub count: usize,
    /// Prompt and output together, in tokens.
    pub max_model_len: u32,
    /// The ids.
    pub tokens: Vec<u32>,
    /// Each token's text, where it was asked for. Bytes that are no character are U+FFFD.
    pub token_strs: Option<Vec<String>>,
}

/// Token ids, in llama.cpp's form.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "TokensOrPieces")]
pub struct PlainTokens {
    /// The ids, with their texts where those were asked for.
    pub tokens: Vec<Token>,
}

/// A token id, alone or with its text.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Token {
    /// Alone.
    Id(u32),
    /// With its text.
    Piece {
        /// The id.
        id: u32,
        /// The text.
        piece: Piece,
    },
}

/// The text of a token.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Piece {
    /// Whole characters.
    Text(String),
    /// Bytes that are not whole characters.
    Bytes(Vec<u8>),
}

/// Token ids to turn into text.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(rename = "DetokenizeRequest")]
#[serde(deny_unknown_fields)]
pub struct Detokenize {
    /// May be left out where one model is served.
    pub model: Option<String>,
    /// The ids.
    pub tokens: Vec<u32>,
}

impl Body for Detokenize {}

/// A text under both names.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "DetokenizedText")]
pub struct Detokenized {
    /// vLLM's name.
    pub prompt: String,
    /// llama.cpp's name.
    pub content: String,
}

/// A conversation's prompt.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "AppliedTemplate")]
pub struct Applied {
    /// Its text.
    pub prompt: String,
}

/// A prompt as the model reads it.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "RenderedPrompt")]
pub struct Rendered {
    /// The model's name as the client gave it.
    pub model: String,
    /// The prompt's text.
    pub prompt: String,
    /// Its token ids.
    pub token_ids: Vec<u32>,
    /// Their number.
    pub token_count: usize,
    /// Prompt and output together, in tokens.
    pub max_model_len: u32,
    /// How a conversation became this prompt; null for plain prompts.
    pub template: Option<Template>,
    /// How calls in the output are read; null for plain prompts.
    pub tool_format: Option<Format>,
    /// How reasoning in the output is read; null for plain prompts.
    pub reasoning_format: Option<Format>,
}

/// Several prompts.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "RenderedPrompts")]
pub struct RenderedList {
    /// Always `list`.
    pub object: &'static str,
    /// In the order of the request.
    pub data: Vec<Rendered>,
}

/// The chat template that was used.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "UsedTemplate")]
pub struct Template {
    /// `default`, `tool_use`, `rag` or another name in the model folder.
    pub name: String,
    /// The file, relative to the model folder.
    pub file: String,
    /// How the conversation was changed so that the template takes it.
    pub adaptations: Vec<String>,
    /// Control tokens in the client's text that are read as text.
    pub sanitized_control_tokens: u32,
}

/// A format of the output.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "UsedFormat")]
pub struct Format {
    /// As the model's settings `tool_format` and `reasoning_format` take it.
    pub name: String,
    /// Why it was chosen.
    pub reason: String,
}
