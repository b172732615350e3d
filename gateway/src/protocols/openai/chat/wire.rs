//! `POST /v1/chat/completions`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::protocols::common::body::{Body, Check, check};
use crate::protocols::common::extensions::ExtensionFields;
use crate::protocols::common::sampling::SamplingFields;
use crate::protocols::common::unsupported::{Everywhere, Refused};
use crate::protocols::openai::fields::SharedFields;
use crate::protocols::openai::output_format::FormatFields;
use crate::protocols::openai::usage::Usage;

/// The request. Fields of type [`Value`] are such as are looked at only to refuse what is not built.
#[derive(Debug, Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "the names are OpenAI's, and so is their meaning")]
#[schemars(rename = "ChatRequest")]
pub struct Request {
    pub model: String,
    pub messages: Vec<Message>,
    pub max_tokens: Option<u32>,
    pub max_completion_tokens: Option<u32>,
    pub chat_template_kwargs: Option<Map<String, Value>>,
    /// Control tokens in the client's text are read as text, as `sanitize_control_tokens` of Transformers has it.
    pub sanitize_control_tokens: Option<bool>,
    pub tools: Option<Vec<Tool>>,
    pub tool_choice: Option<ToolChoice>,
    pub parallel_tool_calls: Option<bool>,
    pub functions: Option<Vec<Function>>,
    pub function_call: Option<FunctionChoice>,
    pub documents: Option<Vec<Value>>,
    pub logprobs: Option<bool>,
    pub top_logprobs: Option<u8>,
    pub continue_final_message: Option<bool>,
    pub add_generation_prompt: Option<bool>,
    pub thinking_budget: Option<u32>,
    /// vLLM's name for it.
    pub thinking_token_budget: Option<u32>,
    pub include_reasoning: Option<bool>,
    pub reasoning: Option<Reasoning>,
    pub reasoning_effort: Option<Effort>,
    pub modalities: Option<Value>,
    pub audio: Option<Value>,
    pub prediction: Option<Value>,
    pub web_search_options: Option<Value>,
    pub verbosity: Option<Value>,
    pub store: Option<bool>,
    pub prompt_cache_retention: Option<Value>,
    pub prompt_cache_options: Option<Value>,
    pub moderation: Option<Value>,
    #[serde(flatten)]
    pub shared: SharedFields,
    #[serde(flatten)]
    pub sampling: SamplingFields,
    #[serde(flatten)]
    pub format: FormatFields,
    #[serde(flatten)]
    pub extensions: ExtensionFields,
    #[serde(flatten)]
    pub unsupported: Refused<Everywhere>,
}

impl Body for Request {
    const PARTS: &'static [Check] =
        &[check::<SharedFields>, check::<SamplingFields>, check::<FormatFields>, check::<ExtensionFields>];
}

/// How hard a model thinks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the names are OpenAI's, and so is their meaning")]
pub enum Effort {
    None,
    Minimal,
    Low,
    Medium,
    High,
    Xhigh,
    Max,
}

/// How the model thinks, in OpenRouter's form.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "the names are OpenRouter's, and so is their meaning")]
#[schemars(rename = "ChatReasoning")]
pub struct Reasoning {
    pub effort: Option<Effort>,
    pub max_tokens: Option<u32>,
    pub enabled: Option<bool>,
    pub exclude: Option<bool>,
}

/// Something the model may use; only functions are built.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "the names are OpenAI's, and so is their meaning")]
#[schemars(rename = "ChatTool")]
pub struct Tool {
    pub r#type: String,
    pub function: Option<Function>,
}

/// A function.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "the names are OpenAI's, and so is their meaning")]
#[schemars(rename = "ChatFunction")]
pub struct Function {
    pub name: String,
    pub description: Option<String>,
    pub parameters: Option<Map<String, Value>>,
    pub strict: Option<bool>,
}

/// Whether functions are called.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "expected \"none\", \"auto\", \"required\" or an object that names a function")]
#[schemars(rename = "ChatToolChoice")]
pub enum ToolChoice {
    /// `none`, `auto` or `required`.
    Mode(String),
    /// A function, or those that are allowed.
    Chosen(Chosen),
}

/// The object form of [`ToolChoice`].
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "the names are OpenAI's, and so is their meaning")]
#[schemars(rename = "ChatChosenTool")]
pub struct Chosen {
    pub r#type: String,
    pub function: Option<Name>,
    pub allowed_tools: Option<Allowed>,
}

/// A function's name.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "the names are OpenAI's, and so is their meaning")]
#[schemars(rename = "ChatFunctionName")]
pub struct Name {
    pub name: String,
}

/// Some of the tools.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "the names are OpenAI's, and so is their meaning")]
#[schemars(rename = "ChatAllowedTools")]
pub struct Allowed {
    pub mode: String,
    pub tools: Vec<Chosen>,
}

/// `function_call` of old.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "expected \"none\", \"auto\" or an object with a function's name")]
#[schemars(rename = "ChatFunctionChoice")]
pub enum FunctionChoice {
    /// `none` or `auto`.
    Mode(String),
    /// A function.
    Named(Name),
}

/// One turn.
#[derive(Debug, Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "the names are OpenAI's, and so is their meaning")]
#[schemars(rename = "ChatMessage")]
pub struct Message {
    pub role: Role,
    pub content: Option<Content>,
    pub name: Option<String>,
    pub tool_calls: Option<Vec<CalledTool>>,
    pub function_call: Option<Called>,
    pub tool_call_id: Option<String>,
    pub reasoning_content: Option<String>,
    /// Another name for it; clients send either back, or both.
    pub reasoning: Option<String>,
    /// gpt-oss' name for it.
    pub thinking: Option<String>,
    pub refusal: Option<String>,
    pub audio: Option<Value>,
}

/// A call that the model made in an earlier turn.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "the names are OpenAI's, and so is their meaning")]
#[schemars(rename = "ChatCalledTool")]
pub struct CalledTool {
    pub id: Option<String>,
    pub r#type: Option<String>,
    pub function: Option<Called>,
}

/// Name and arguments of a call.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "the names are OpenAI's, and so is their meaning")]
#[schemars(rename = "ChatCalled")]
pub struct Called {
    pub name: String,
    #[serde(default)]
    pub arguments: Value,
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
    Function,
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
    pub refusal: Option<String>,
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
    pub choices: Vec<Choice>,
    pub usage: Usage,
    pub system_fingerprint: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_tier: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timings: Option<Timings>,
}

/// How long things took, as llama.cpp's server tells it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, JsonSchema)]
pub struct Timings {
    /// Tokens of the prompt that were computed.
    pub prompt_n: u32,
    /// Those that came from the prefix cache.
    pub cache_n: u32,
    /// Until the first token, waiting included.
    pub prompt_ms: f64,
    /// Of tokens of the prompt.
    pub prompt_per_second: f64,
    /// Tokens generated.
    pub predicted_n: u32,
    /// From the first token to the last.
    pub predicted_ms: f64,
    /// Of generated tokens.
    pub predicted_per_second: f64,
}

/// A choice.
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
    pub content: Option<String>,
    pub refusal: Option<()>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reasoning_content: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tool_calls: Vec<ToolCall>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub function_call: Option<FunctionCall>,
}

/// A call in an answer.
#[derive(Debug, Serialize, JsonSchema)]
#[expect(missing_docs, reason = "the names are OpenAI's, and so is their meaning")]
#[schemars(rename = "ChatToolCall")]
pub struct ToolCall {
    pub id: String,
    pub r#type: &'static str,
    pub function: FunctionCall,
}

/// Name and arguments of a call in an answer.
#[derive(Debug, Serialize, JsonSchema)]
#[expect(missing_docs, reason = "the names are OpenAI's, and so is their meaning")]
#[schemars(rename = "ChatFunctionCall")]
pub struct FunctionCall {
    pub name: String,
    pub arguments: String,
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
    pub system_fingerprint: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_tier: Option<&'static str>,
    /// Left out, null, or the counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage: Option<Option<Usage>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timings: Option<Timings>,
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
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reasoning_content: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool_calls: Option<[ToolDelta<'a>; 1]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub function_call: Option<FunctionDelta<'a>>,
}

/// What a chunk adds to a call.
#[derive(Debug, Serialize, JsonSchema)]
#[expect(missing_docs, reason = "the names are OpenAI's, and so is their meaning")]
#[schemars(rename = "ChatToolDelta")]
pub struct ToolDelta<'a> {
    pub index: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub r#type: Option<&'static str>,
    pub function: FunctionDelta<'a>,
}

/// Name or arguments of a call, as they come.
#[derive(Debug, Serialize, JsonSchema)]
#[expect(missing_docs, reason = "the names are OpenAI's, and so is their meaning")]
#[schemars(rename = "ChatFunctionDelta")]
pub struct FunctionDelta<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<&'a str>,
    pub arguments: &'a str,
}
