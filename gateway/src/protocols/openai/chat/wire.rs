//! `POST /v1/chat/completions`.

#![expect(missing_docs, reason = "the names and their meaning are OpenAI's")]

use ipc_proto::worker::ModelKind;
use schemars::JsonSchema;
use serde::de::Deserializer;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::protocols::common::body::{Body, Check};
use crate::protocols::common::model_choice::NamesModel;
use crate::protocols::common::text_or::{self, TextOr};
use crate::protocols::common::token_limit::TokenLimit;
use crate::protocols::common::verbosity::Verbosity;
use crate::protocols::openai::fields::FieldGroups;
use crate::protocols::openai::usage::Usage;

/// The request. Fields of type [`Value`] are parsed only to refuse features that are not implemented.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(rename = "ChatRequest")]
pub struct Request {
    /// Optional if only one model can answer.
    pub model: Option<String>,
    pub messages: Vec<Message>,
    pub max_tokens: Option<TokenLimit>,
    pub max_completion_tokens: Option<TokenLimit>,
    pub chat_template_kwargs: Option<Map<String, Value>>,
    /// Reads control tokens in the client's text as plain text, like `sanitize_control_tokens` in Transformers.
    pub sanitize_control_tokens: Option<bool>,
    pub tools: Option<Vec<Tool>>,
    pub tool_choice: Option<ToolChoice>,
    pub parallel_tool_calls: Option<bool>,
    pub functions: Option<Vec<Function>>,
    pub function_call: Option<FunctionChoice>,
    pub documents: Option<Vec<Value>>,
    pub logprobs: Option<bool>,
    pub top_logprobs: Option<u32>,
    pub continue_final_message: Option<bool>,
    pub add_generation_prompt: Option<bool>,
    /// Puts the last message's text before the answer if it is the assistant's, as in vLLM.
    pub echo: Option<bool>,
    pub thinking_budget: Option<TokenLimit>,
    /// vLLM's name for `thinking_budget`.
    pub thinking_token_budget: Option<TokenLimit>,
    /// llama.cpp's name for `thinking_budget`.
    pub reasoning_budget_tokens: Option<TokenLimit>,
    pub include_reasoning: Option<bool>,
    pub reasoning: Option<Reasoning>,
    pub reasoning_effort: Option<Effort>,
    pub modalities: Option<Value>,
    pub audio: Option<Value>,
    pub prediction: Option<Value>,
    pub web_search_options: Option<Value>,
    pub verbosity: Option<Verbosity>,
    pub store: Option<bool>,
    pub prompt_cache_retention: Option<Value>,
    pub prompt_cache_options: Option<Value>,
    pub moderation: Option<Value>,
    pub best_of: Option<Value>,
    pub add_special_tokens: Option<Value>,
    #[serde(flatten)]
    pub groups: FieldGroups,
}

impl Body for Request {
    const PARTS: &'static [Check] = FieldGroups::PARTS;
}

impl NamesModel for Request {
    const KIND: ModelKind = ModelKind::Generate;

    fn model_mut(&mut self) -> &mut Option<String> {
        &mut self.model
    }
}

/// The reasoning effort.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Effort {
    None,
    Minimal,
    Low,
    Medium,
    High,
    Xhigh,
    Max,
}

/// Reasoning settings in OpenRouter's form.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[schemars(rename = "ChatReasoning")]
pub struct Reasoning {
    pub effort: Option<Effort>,
    pub max_tokens: Option<TokenLimit>,
    pub enabled: Option<bool>,
    pub exclude: Option<bool>,
}

/// A tool: a function, or a custom tool.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[schemars(rename = "ChatTool")]
pub struct Tool {
    pub r#type: String,
    pub function: Option<Function>,
    pub custom: Option<CustomTool>,
}

/// A tool whose input is text.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[schemars(rename = "ChatCustomTool")]
pub struct CustomTool {
    pub name: String,
    pub description: Option<String>,
    pub format: Option<TextFormat>,
}

/// The form of a text: `text`, or `grammar`. Chat completions have the grammar in an object, Responses beside the type.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "CustomToolFormat")]
pub struct TextFormat {
    pub r#type: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grammar: Option<GrammarText>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub syntax: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub definition: Option<String>,
}

/// A grammar and its syntax: `lark` or `regex`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "CustomToolGrammar")]
pub struct GrammarText {
    pub syntax: String,
    pub definition: String,
}

/// A function that the model may call.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[schemars(rename = "ChatFunction")]
pub struct Function {
    pub name: String,
    pub description: Option<String>,
    pub parameters: Option<Map<String, Value>>,
    pub strict: Option<bool>,
}

/// Controls which functions the model calls.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "expected \"none\", \"auto\", \"required\" or an object that names a function")]
#[schemars(rename = "ChatToolChoice")]
pub enum ToolChoice {
    /// `none`, `auto` or `required`.
    Mode(String),
    /// One function, or the allowed functions.
    Chosen(Chosen),
}

/// The object form of [`ToolChoice`].
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[schemars(rename = "ChatChosenTool")]
pub struct Chosen {
    pub r#type: String,
    pub function: Option<Name>,
    pub custom: Option<Name>,
    pub allowed_tools: Option<Allowed>,
}

/// A reference to a function.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[schemars(rename = "ChatFunctionName")]
pub struct Name {
    pub name: String,
}

/// The subset of the tools that the model may call.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[schemars(rename = "ChatAllowedTools")]
pub struct Allowed {
    pub mode: String,
    pub tools: Vec<Chosen>,
}

/// The deprecated `function_call`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "expected \"none\", \"auto\" or an object with a function's name")]
#[schemars(rename = "ChatFunctionChoice")]
pub enum FunctionChoice {
    /// `none` or `auto`.
    Mode(String),
    Named(Name),
}

/// One message of the conversation.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(rename = "ChatMessage")]
pub struct Message {
    pub role: Role,
    pub content: Option<Content>,
    pub name: Option<String>,
    pub tool_calls: Option<Vec<CalledTool>>,
    pub function_call: Option<Called>,
    pub tool_call_id: Option<String>,
    pub reasoning_content: Option<String>,
    /// Another name for `reasoning_content`; clients send either name back, or both.
    pub reasoning: Option<String>,
    /// gpt-oss' name for `reasoning_content`.
    pub thinking: Option<String>,
    pub refusal: Option<String>,
    pub audio: Option<Value>,
}

/// A tool call of an earlier assistant message.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[schemars(rename = "ChatCalledTool")]
pub struct CalledTool {
    pub id: Option<String>,
    pub r#type: Option<String>,
    pub function: Option<Called>,
    pub custom: Option<CalledCustom>,
}

/// The name and text of a custom tool's call in a request.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[schemars(rename = "ChatCalledCustom")]
pub struct CalledCustom {
    pub name: String,
    pub input: String,
}

/// The name and arguments of a call in a request.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[schemars(rename = "ChatCalled")]
pub struct Called {
    pub name: String,
    #[serde(default)]
    pub arguments: Value,
}

/// The author of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    System,
    Developer,
    User,
    Assistant,
    Tool,
    Function,
}

/// The content of a message.
#[derive(Debug, JsonSchema)]
#[schemars(untagged)]
pub enum Content {
    Text(String),
    /// Only text parts are supported.
    Parts(Vec<Part>),
}

impl TextOr for Content {
    const EXPECTED: &'static str = "expected a string or a list of content parts";

    fn from_text(text: String) -> Self {
        Self::Text(text)
    }

    fn from_other(value: Value) -> Option<Self> {
        text_or::list(value).map(Self::Parts)
    }
}

impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text_or::deserialize(deserializer)
    }
}

/// A content part.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(rename = "ChatPart")]
pub struct Part {
    pub r#type: String,
    pub text: Option<String>,
    pub refusal: Option<String>,
    /// Of an image: a URL, or an object with `url` and `detail`.
    pub image_url: Option<Value>,
}

/// The response of a request that does not stream.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "ChatResponse")]
pub struct Response<'a> {
    pub id: &'a str,
    pub object: &'static str,
    pub created: u64,
    pub model: &'a str,
    pub choices: Vec<Choice>,
    pub usage: Usage,
    pub system_fingerprint: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_tier: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timings: Option<Timings>,
}

/// Durations in the form of llama.cpp's server.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, JsonSchema)]
pub struct Timings {
    /// Prompt tokens that were computed.
    pub prompt_n: u32,
    /// Prompt tokens from the prefix cache.
    pub cache_n: u32,
    /// Time to the first token in milliseconds, including the queue.
    pub prompt_ms: f64,
    /// Computed prompt tokens per second.
    pub prompt_per_second: f64,
    /// Generated tokens.
    pub predicted_n: u32,
    /// Time from the first token to the last in milliseconds.
    pub predicted_ms: f64,
    /// Generated tokens per second.
    pub predicted_per_second: f64,
}

/// One completion of the prompt.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "ChatChoice")]
pub struct Choice {
    pub index: u32,
    pub message: Answer,
    pub logprobs: Option<Logprobs>,
    pub finish_reason: &'static str,
}

/// The assistant's message.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "ChatAnswer")]
pub struct Answer {
    pub role: &'static str,
    pub content: Option<String>,
    pub refusal: Option<()>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reasoning_content: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tool_calls: Vec<ToolCall>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub function_call: Option<FunctionCall>,
}

/// A tool call in a response.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "ChatToolCall")]
pub struct ToolCall {
    pub id: String,
    pub r#type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub function: Option<FunctionCall>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub custom: Option<CustomCall>,
}

/// The name and text of a custom tool's call in a response.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "ChatCustomCall")]
pub struct CustomCall {
    pub name: String,
    pub input: String,
}

/// The name and arguments of a call in a response.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "ChatFunctionCall")]
pub struct FunctionCall {
    pub name: String,
    pub arguments: String,
}

/// One chunk of a stream. `C` is the type of its choices.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "ChatChunk")]
pub struct Chunk<'a, C> {
    pub id: &'a str,
    pub object: &'static str,
    pub created: u64,
    pub model: &'a str,
    pub choices: &'a [C],
    pub system_fingerprint: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_tier: Option<&'static str>,
    /// Absent, null, or the token counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage: Option<Option<Usage>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timings: Option<Timings>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt_progress: Option<PromptProgress>,
}

/// How much of the prompt is computed, in the form of llama.cpp's server.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, JsonSchema)]
pub struct PromptProgress {
    /// Tokens of the prompt.
    pub total: u32,
    /// The part of them from the prefix cache.
    pub cache: u32,
    /// The part of them that is computed or from the prefix cache.
    pub processed: u32,
    /// Milliseconds since the prompt's first step began.
    pub time_ms: u32,
}

/// The part of a choice in one chunk.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ChunkChoice<'a> {
    pub index: u32,
    pub delta: Delta<'a>,
    pub logprobs: Option<Logprobs>,
    pub finish_reason: Option<&'static str>,
}

/// Log probabilities of the generated tokens.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Logprobs {
    pub content: Vec<TokenLogprob>,
    pub refusal: Option<()>,
}

/// One token with its log probability and its alternatives.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct TokenLogprob {
    #[serde(flatten)]
    pub token: TokenText,
    pub top_logprobs: Vec<TokenText>,
}

/// A token with its log probability and its UTF-8 bytes, which may be incomplete characters.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct TokenText {
    pub token: String,
    pub logprob: f32,
    pub bytes: Vec<u8>,
}

/// The difference between two chunks of a message.
#[derive(Debug, Default, Serialize, JsonSchema)]
#[schemars(rename = "ChatDelta")]
pub struct Delta<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reasoning_content: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool_calls: Option<[ToolDelta<'a>; 1]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub function_call: Option<FunctionDelta<'a>>,
}

/// The difference between two chunks of a tool call.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "ChatToolDelta")]
pub struct ToolDelta<'a> {
    pub index: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub r#type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub function: Option<FunctionDelta<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub custom: Option<CustomDelta<'a>>,
}

/// A fragment of a custom tool's call: its name or more of its text.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "ChatCustomDelta")]
pub struct CustomDelta<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<&'a str>,
    pub input: &'a str,
}

/// A fragment of a call: its name or more of its arguments.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "ChatFunctionDelta")]
pub struct FunctionDelta<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<&'a str>,
    pub arguments: &'a str,
}
