//! The wire types of `/api/chat`, `/api/generate`, `/api/embed` and `/api/embeddings`.

#![expect(missing_docs, reason = "the names and their meaning are Ollama's")]

use ipc_proto::worker::ModelKind;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::protocols::common::body::{Body, Check, check_part};
use crate::protocols::common::keep_alive::KeepAlive;
use crate::protocols::common::model_choice::NamesModel;
use crate::protocols::common::sampling::SamplingFields;
use crate::protocols::common::unsupported::{Everywhere, Refused};
use crate::protocols::openai::chat::wire::{TokenLogprob, Tool};
use crate::protocols::openai::fields::Stop;

/// The request of `/api/chat`. Without messages the model is loaded, or unloaded if `keep_alive` is 0.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(rename = "OllamaChatRequest")]
pub struct ChatRequest {
    /// Optional if only one model can answer.
    pub model: Option<String>,
    pub messages: Option<Vec<Message>>,
    pub tools: Option<Vec<Tool>>,
    #[serde(flatten)]
    pub shared: SharedFields,
}

/// The request of `/api/generate`. Without a prompt the model is loaded, or unloaded if `keep_alive` is 0.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(rename = "OllamaGenerateRequest")]
pub struct GenerateRequest {
    /// Optional if only one model can answer.
    pub model: Option<String>,
    pub prompt: Option<String>,
    /// The text after the gap, for models that were trained to fill it.
    pub suffix: Option<String>,
    pub system: Option<String>,
    /// The prompt goes to the model as it is, without the chat template.
    pub raw: Option<bool>,
    /// Files in Base64.
    pub images: Option<Vec<String>>,
    /// Refused.
    pub template: Option<String>,
    /// Refused.
    pub context: Option<Vec<Value>>,
    #[serde(flatten)]
    pub shared: SharedFields,
}

/// The fields that both requests share.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[schemars(rename = "OllamaSharedFields")]
pub struct SharedFields {
    /// By default true.
    pub stream: Option<bool>,
    /// `json`, or a JSON schema.
    pub format: Option<Value>,
    #[schemars(with = "Option<Options>")]
    pub options: Option<Map<String, Value>>,
    pub think: Option<Think>,
    pub keep_alive: Option<KeepAlive>,
    pub logprobs: Option<bool>,
    pub top_logprobs: Option<u32>,
    /// Only `false` is accepted: a prompt that is too long is an error.
    pub truncate: Option<bool>,
    /// Only `false` is accepted: a full context ends the answer.
    pub shift: Option<bool>,
}

/// Whether the model reasons, and how much.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[schemars(rename = "OllamaThink")]
#[serde(untagged, expecting = "expected a boolean, or an effort such as \"high\"")]
pub enum Think {
    On(bool),
    Effort(String),
}

/// The options of a generation. Options that decide how a model is loaded have no effect, because the model's settings decide that.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[schemars(rename = "OllamaOptions")]
pub struct Options {
    #[serde(flatten)]
    pub sampling: SamplingFields,
    /// The maximum number of tokens; no limit if it is not positive.
    pub num_predict: Option<i64>,
    pub stop: Option<Stop>,
    pub penalize_newline: Option<bool>,
    #[serde(flatten)]
    pub unsupported: Refused<Everywhere>,
}

impl Body for Options {
    const PARTS: &'static [Check] = &[check_part::<SamplingFields>];
}

impl Body for ChatRequest {
    const PARTS: &'static [Check] = &[check_part::<SharedFields>];
}

impl Body for GenerateRequest {
    const PARTS: &'static [Check] = &[check_part::<SharedFields>];
}

impl NamesModel for ChatRequest {
    const KIND: ModelKind = ModelKind::Generate;

    fn model_mut(&mut self) -> &mut Option<String> {
        &mut self.model
    }
}

impl NamesModel for GenerateRequest {
    const KIND: ModelKind = ModelKind::Generate;

    fn model_mut(&mut self) -> &mut Option<String> {
        &mut self.model
    }
}

/// One message of the conversation.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(rename = "OllamaMessage")]
pub struct Message {
    pub role: Role,
    #[serde(default)]
    pub content: Option<String>,
    pub thinking: Option<String>,
    /// Files in Base64.
    pub images: Option<Vec<String>>,
    pub tool_calls: Option<Vec<CalledTool>>,
    /// The function that a tool's result comes from.
    #[serde(alias = "name")]
    pub tool_name: Option<String>,
    pub tool_call_id: Option<String>,
}

/// The author of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[schemars(rename = "OllamaRole")]
#[serde(rename_all = "lowercase")]
pub enum Role {
    System,
    User,
    Assistant,
    Tool,
}

/// A call of an earlier assistant message.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(rename = "OllamaCalledTool")]
pub struct CalledTool {
    pub id: Option<String>,
    pub function: Called,
}

/// The name and arguments of a call in a request.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(rename = "OllamaCalled")]
pub struct Called {
    pub name: String,
    #[serde(default)]
    pub arguments: Map<String, Value>,
}

/// The answer of `/api/chat`, and each line of its stream.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "OllamaChatResponse")]
pub struct ChatResponse<'a> {
    pub model: &'a str,
    /// RFC 3339.
    pub created_at: &'a str,
    pub message: Answer,
    #[serde(flatten)]
    pub end: End,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub logprobs: Vec<TokenLogprob>,
}

/// The assistant's message, or a piece of it.
#[derive(Debug, Default, Serialize, JsonSchema)]
#[schemars(rename = "OllamaAnswer")]
pub struct Answer {
    pub role: &'static str,
    pub content: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub thinking: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tool_calls: Vec<ToolCall>,
}

/// A call in an answer.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(rename = "OllamaToolCall")]
pub struct ToolCall {
    pub id: String,
    pub function: Function,
}

/// The name and arguments of a call in an answer.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(rename = "OllamaFunctionCall")]
pub struct Function {
    pub index: usize,
    pub name: String,
    pub arguments: Value,
}

/// The answer of `/api/generate`, and each line of its stream.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "OllamaGenerateResponse")]
pub struct GenerateResponse<'a> {
    pub model: &'a str,
    /// RFC 3339.
    pub created_at: &'a str,
    pub response: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub thinking: String,
    #[serde(flatten)]
    pub end: End,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub logprobs: Vec<TokenLogprob>,
}

/// Whether the answer is complete. The other fields are in its last line only.
#[derive(Debug, Clone, Default, PartialEq, Serialize, JsonSchema)]
#[schemars(rename = "OllamaEnd")]
pub struct End {
    pub done: bool,
    /// `stop`, `length`, `load` or `unload`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub done_reason: Option<&'static str>,
    #[serde(flatten)]
    pub counts: Option<Counts>,
}

/// Durations in nanoseconds, and token counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, JsonSchema)]
#[schemars(rename = "OllamaCounts")]
pub struct Counts {
    pub total_duration: u64,
    pub prompt_eval_count: u32,
    /// Time to the first token. It includes the queue, and the loading of the model.
    pub prompt_eval_duration: u64,
    pub eval_count: u32,
    pub eval_duration: u64,
}

/// The request of `/api/embed`.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(rename = "OllamaEmbedRequest")]
pub struct EmbedRequest {
    /// Optional if only one model can answer.
    pub model: Option<String>,
    pub input: Option<Input>,
    /// By default true.
    pub truncate: Option<bool>,
    pub dimensions: Option<u32>,
    pub keep_alive: Option<KeepAlive>,
}

impl Body for EmbedRequest {}

impl NamesModel for EmbedRequest {
    const KIND: ModelKind = ModelKind::Embed;

    fn model_mut(&mut self) -> &mut Option<String> {
        &mut self.model
    }
}

/// One text or several.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[schemars(rename = "OllamaEmbedInput")]
#[serde(untagged, expecting = "expected a string or a list of strings")]
pub enum Input {
    Text(String),
    Texts(Vec<String>),
}

/// The answer of `/api/embed`.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "OllamaEmbedResponse")]
pub struct EmbedResponse<'a> {
    pub model: &'a str,
    pub embeddings: &'a [Vec<f32>],
    /// Nanoseconds.
    pub total_duration: u64,
    pub prompt_eval_count: u64,
}

/// The request of `/api/embeddings`, the older form.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(rename = "OllamaEmbeddingsRequest")]
pub struct EmbeddingsRequest {
    /// Optional if only one model can answer.
    pub model: Option<String>,
    pub prompt: Option<String>,
    pub keep_alive: Option<KeepAlive>,
}

impl Body for EmbeddingsRequest {}

impl NamesModel for EmbeddingsRequest {
    const KIND: ModelKind = ModelKind::Embed;

    fn model_mut(&mut self) -> &mut Option<String> {
        &mut self.model
    }
}

/// The answer of `/api/embeddings`.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "OllamaEmbeddingsResponse")]
pub struct EmbeddingsResponse<'a> {
    pub embedding: &'a [f32],
}

/// An error.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "OllamaError")]
pub struct Problem {
    /// One sentence for users.
    pub error: String,
}
