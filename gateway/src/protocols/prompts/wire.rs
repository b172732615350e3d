//! Endpoints that show prompts: vLLM's and llama.cpp's `/tokenize` and `/detokenize`, llama.cpp's `/apply-template`,
//! and `render`.

#![expect(missing_docs, reason = "the names and their meaning are vLLM's and llama.cpp's")]

use ipc_proto::worker::ModelKind;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::protocols::common::body::Body;
use crate::protocols::common::model_choice::NamesModel;

/// A text to tokenize: `prompt` in vLLM's form, `content` in llama.cpp's.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[schemars(rename = "TokenizeRequest")]
#[serde(deny_unknown_fields)]
pub struct Tokenize {
    /// Optional if only one model can answer.
    pub model: Option<String>,
    /// vLLM's form.
    pub prompt: Option<String>,
    /// vLLM's form: adds the tokens that the tokenizer puts around a text; true by default.
    pub add_special_tokens: Option<bool>,
    /// vLLM's form: returns the text of each token.
    pub return_token_strs: Option<bool>,
    /// llama.cpp's form.
    pub content: Option<String>,
    /// llama.cpp's form of `add_special_tokens`; false by default.
    pub add_special: Option<bool>,
    /// llama.cpp's form: parses control tokens; true by default.
    pub parse_special: Option<bool>,
    /// llama.cpp's form: returns the text of each token.
    pub with_pieces: Option<bool>,
}

impl Body for Tokenize {}

impl NamesModel for Tokenize {
    const KIND: ModelKind = ModelKind::Generate;

    fn model_mut(&mut self) -> &mut Option<String> {
        &mut self.model
    }
}

/// The fields of a conversation to tokenize besides those of a chat request.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[schemars(rename = "TokenizeConversation")]
pub struct TokenizeChat {
    /// Only false is accepted, because chat templates write these tokens themselves.
    pub add_special_tokens: Option<bool>,
    /// Returns the text of each token.
    pub return_token_strs: Option<bool>,
    /// Refused.
    pub prompt: Option<Value>,
    /// Refused.
    pub content: Option<Value>,
}

impl Body for TokenizeChat {}

/// Token ids, in vLLM's form.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Tokens")]
pub struct Tokens {
    pub count: usize,
    /// The maximum of prompt and output together, in tokens.
    pub max_model_len: u32,
    pub tokens: Vec<u32>,
    /// The text of each token, if requested. Invalid UTF-8 is replaced by U+FFFD.
    pub token_strs: Option<Vec<String>>,
}

/// Token ids, in llama.cpp's form.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "TokensOrPieces")]
pub struct PlainTokens {
    /// The ids, with their texts if requested.
    pub tokens: Vec<Token>,
}

/// A token id, alone or with its text.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Token {
    Id(u32),
    Piece { id: u32, piece: Piece },
}

/// The text of a token.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Piece {
    /// Valid UTF-8.
    Text(String),
    /// Bytes that are not whole characters.
    Bytes(Vec<u8>),
}

/// Token ids to detokenize.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(rename = "DetokenizeRequest")]
#[serde(deny_unknown_fields)]
pub struct Detokenize {
    /// Optional if only one model can answer.
    pub model: Option<String>,
    pub tokens: Vec<u32>,
}

impl Body for Detokenize {}

impl NamesModel for Detokenize {
    const KIND: ModelKind = ModelKind::Generate;

    fn model_mut(&mut self) -> &mut Option<String> {
        &mut self.model
    }
}

/// A text under the names of both servers.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "DetokenizedText")]
pub struct Detokenized {
    /// vLLM's name.
    pub prompt: String,
    /// llama.cpp's name.
    pub content: String,
}

/// The prompt of a conversation.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "AppliedTemplate")]
pub struct Applied {
    pub prompt: String,
}

/// A prompt as the model reads it.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "RenderedPrompt")]
pub struct Rendered {
    /// The model's name as the client gave it.
    pub model: String,
    pub prompt: String,
    pub token_ids: Vec<u32>,
    pub token_count: usize,
    /// The maximum of prompt and output together, in tokens.
    pub max_model_len: u32,
    /// The chat template that rendered the prompt; null for plain prompts.
    pub template: Option<Template>,
    /// The format of calls in the output; null for plain prompts.
    pub tool_format: Option<Format>,
    /// The format of reasoning in the output; null for plain prompts.
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
    /// Changes of the conversation that the template requires.
    pub adaptations: Vec<String>,
    /// The number of control tokens in the client's text that were read as plain text.
    pub sanitized_control_tokens: u32,
}

/// A format of the output.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "UsedFormat")]
pub struct Format {
    /// A value of the model settings `tool_format` and `reasoning_format`.
    pub name: String,
    /// The reason of the choice, in words.
    pub reason: String,
}
