//! `POST /v1/chat/completions`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::usage::Usage;

/// The request. Fields of type [`Value`] are such as are looked at only to refuse what is not built.
#[derive(Debug, Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "the names are OpenAI's, and so is their meaning")]
#[schemars(rename = "ChatRequest")]
pub struct Request {
    pub model: String,
    pub messages: Vec<Message>,
    #[serde(default)]
    pub stream: Option<bool>,
    pub stream_options: Option<StreamOptions>,
    pub max_tokens: Option<u32>,
    pub max_completion_tokens: Option<u32>,
    pub temperature: Option<f32>,
    pub top_p: Option<f32>,
    pub top_k: Option<i64>,
    pub min_p: Option<f32>,
    pub seed: Option<i64>,
    pub stop: Option<Stop>,
    pub chat_template_kwargs: Option<Map<String, Value>>,
    pub n: Option<u32>,
    pub tools: Option<Value>,
    pub tool_choice: Option<Value>,
    pub functions: Option<Value>,
    pub function_call: Option<Value>,
    pub response_format: Option<Value>,
    pub min_tokens: Option<u32>,
    pub ignore_eos: Option<bool>,
    pub priority: Option<Priority>,
    pub cache_salt: Option<String>,
    pub timeout: Option<f64>,
    pub logprobs: Option<bool>,
    pub top_logprobs: Option<u8>,
    pub logit_bias: Option<BTreeMap<String, f32>>,
    pub frequency_penalty: Option<f32>,
    pub presence_penalty: Option<f32>,
    pub repetition_penalty: Option<f32>,
    pub modalities: Option<Value>,
    pub audio: Option<Value>,
    pub prediction: Option<Value>,
    pub web_search_options: Option<Value>,
    pub reasoning_effort: Option<Value>,
    pub verbosity: Option<Value>,
    pub store: Option<bool>,
}

/// Who goes first where not all can run; an extension of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the names say it")]
pub enum Priority {
    High,
    Normal,
    Low,
}

/// One turn.
#[derive(Debug, Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "the names are OpenAI's, and so is their meaning")]
#[schemars(rename = "ChatMessage")]
pub struct Message {
    pub role: Role,
    pub content: Option<Content>,
    pub name: Option<String>,
    pub tool_calls: Option<Value>,
    pub function_call: Option<Value>,
}

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the names are OpenAI's, and so is their meaning")]
pub enum Role {
    System,
    Developer,
    User,
    Assistant,
    Tool,
}

/// A turn's text, whole or in parts.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "expected a string or a list of content parts")]
pub enum Content {
    /// Plain text.
    Text(String),
    /// Parts, of which only texts are taken.
    Parts(Vec<Part>),
}

/// A part of a turn.
#[derive(Debug, Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "the names are OpenAI's, and so is their meaning")]
#[schemars(rename = "ChatPart")]
pub struct Part {
    pub r#type: String,
    pub text: Option<String>,
}

/// One stop text or several.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "expected a string or a list of strings")]
pub enum Stop {
    /// One.
    One(String),
    /// Several.
    Many(Vec<String>),
}

/// What a stream carries besides text.
#[derive(Debug, Clone, Copy, Default, Deserialize, JsonSchema)]
pub struct StreamOptions {
    /// Whether a last chunk tells the token counts.
    #[serde(default)]
    pub include_usage: bool,
}

/// The answer when not streaming.
#[derive(Debug, Serialize, JsonSchema)]
#[expect(missing_docs, reason = "the names are OpenAI's, and so is their meaning")]
#[schemars(rename = "ChatResponse")]
pub struct Response<'a> {
    pub id: &'a str,
    pub object: &'static str,
    pub created: u64,
    pub model: &'a str,
    pub choices: [Choice; 1],
    pub usage: Usage,
}

/// The one choice.
#[derive(Debug, Serialize, JsonSchema)]
#[expect(missing_docs, reason = "the names are OpenAI's, and so is their meaning")]
#[schemars(rename = "ChatChoice")]
pub struct Choice {
    pub index: u32,
    pub message: Answer,
    pub logprobs: Option<Logprobs>,
    pub finish_reason: &'static str,
}

/// The model's turn.
#[derive(Debug, Serialize, JsonSchema)]
#[expect(missing_docs, reason = "the names are OpenAI's, and so is their meaning")]
#[schemars(rename = "ChatAnswer")]
pub struct Answer {
    pub role: &'static str,
    pub content: String,
    pub refusal: Option<()>,
}

/// One chunk of a stream; `C` is a choice or nothing.
#[derive(Debug, Serialize, JsonSchema)]
#[expect(missing_docs, reason = "the names are OpenAI's, and so is their meaning")]
#[schemars(rename = "ChatChunk")]
pub struct Chunk<'a, C> {
    pub id: &'a str,
    pub object: &'static str,
    pub created: u64,
    pub model: &'a str,
    pub choices: &'a [C],
    /// Left out, null, or the counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage: Option<Option<Usage>>,
}

/// A chunk's choice.
#[derive(Debug, Serialize, JsonSchema)]
#[expect(missing_docs, reason = "the names are OpenAI's, and so is their meaning")]
pub struct ChunkChoice<'a> {
    pub index: u32,
    pub delta: Delta<'a>,
    pub logprobs: Option<Logprobs>,
    pub finish_reason: Option<&'static str>,
}

/// How likely tokens were.
#[derive(Debug, Serialize, JsonSchema)]
#[expect(missing_docs, reason = "the names are OpenAI's, and so is their meaning")]
pub struct Logprobs {
    pub content: Vec<TokenLogprob>,
    pub refusal: Option<()>,
}

/// One token's part of [`Logprobs`].
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[expect(missing_docs, reason = "the names are OpenAI's, and so is their meaning")]
pub struct TokenLogprob {
    #[serde(flatten)]
    pub token: TokenText,
    pub top_logprobs: Vec<TokenText>,
}

/// A token, its bytes where it is not whole characters, and how likely it was.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[expect(missing_docs, reason = "the names are OpenAI's, and so is their meaning")]
pub struct TokenText {
    pub token: String,
    pub logprob: f32,
    pub bytes: Vec<u8>,
}

/// What a chunk adds.
#[derive(Debug, Default, Serialize, JsonSchema)]
#[expect(missing_docs, reason = "the names are OpenAI's, and so is their meaning")]
#[schemars(rename = "ChatDelta")]
pub struct Delta<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content: Option<&'a str>,
}
