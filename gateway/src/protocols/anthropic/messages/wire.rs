//! `POST /v1/messages` and `/v1/messages/count_tokens`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::protocols::common::body::{Body, Check, check};
use crate::protocols::common::extensions::ExtensionFields;
use crate::protocols::common::sampling::SamplingFields;
use crate::protocols::common::unsupported::{Everywhere, NotInMessages, Refused};

/// The request of both endpoints. Fields of type [`Value`] are such as are looked at only to refuse what is not built.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(rename = "MessagesRequest")]
#[expect(missing_docs, reason = "the names are Anthropic's, and so is their meaning")]
pub struct Request {
    pub model: String,
    pub messages: Vec<Message>,
    /// Needed, but not for counting.
    pub max_tokens: Option<u32>,
    pub system: Option<Content>,
    pub stream: Option<bool>,
    pub stop_sequences: Option<Vec<String>>,
    pub tools: Option<Vec<Tool>>,
    pub tool_choice: Option<ToolChoice>,
    pub thinking: Option<Thinking>,
    pub output_config: Option<OutputConfig>,
    /// The form that `output_config.format` had before.
    pub output_format: Option<Format>,
    pub diagnostics: Option<Diagnostics>,
    pub service_tier: Option<String>,
    pub speed: Option<String>,
    pub container: Option<Value>,
    pub mcp_servers: Option<Value>,
    pub context_management: Option<ContextManagement>,
    pub metadata: Option<Metadata>,
    pub inference_geo: Option<Value>,
    pub thread: Option<Value>,
    pub compaction: Option<Value>,
    pub fallbacks: Option<Value>,
    /// Ours: variables for the model's chat template.
    pub chat_template_kwargs: Option<Map<String, Value>>,
    /// Ours: control tokens in the client's text are read as text, as `sanitize_control_tokens` of Transformers has it.
    pub sanitize_control_tokens: Option<bool>,
    #[serde(flatten)]
    pub sampling: SamplingFields,
    #[serde(flatten)]
    pub extensions: ExtensionFields,
    #[serde(flatten)]
    pub unsupported: Refused<Everywhere>,
    #[serde(flatten)]
    pub chat_only: Refused<NotInMessages>,
}

impl Body for Request {
    const PARTS: &'static [Check] = &[check::<SamplingFields>, check::<ExtensionFields>];
}

/// Who is behind the request.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[schemars(rename = "MessagesMetadata")]
#[expect(missing_docs, reason = "the names are Anthropic's, and so is their meaning")]
pub struct Metadata {
    pub user_id: Option<String>,
}

/// One turn.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(rename = "MessagesTurn")]
#[expect(missing_docs, reason = "the names are Anthropic's, and so is their meaning")]
pub struct Message {
    pub role: Role,
    pub content: Content,
}

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(rename = "MessagesRole")]
#[expect(missing_docs, reason = "the names are Anthropic's, and so is their meaning")]
pub enum Role {
    User,
    Assistant,
    System,
}

/// A text, or blocks of several kinds.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "expected a string or a list of content blocks")]
#[schemars(rename = "MessagesContent")]
pub enum Content {
    /// Plain text.
    Text(String),
    /// Blocks.
    Blocks(Vec<Block>),
}

/// A block of any kind: `text`, `thinking`, `redacted_thinking`, `tool_use`, `tool_result`, `document` or `search_result`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[schemars(rename = "MessagesInputBlock")]
#[expect(missing_docs, reason = "the names are Anthropic's, and so is their meaning")]
pub struct Block {
    pub r#type: String,
    pub text: Option<String>,
    pub thinking: Option<String>,
    pub id: Option<String>,
    pub name: Option<String>,
    pub input: Option<Map<String, Value>>,
    pub tool_use_id: Option<String>,
    pub is_error: Option<bool>,
    pub content: Option<Content>,
    /// An object for documents, a string for search results.
    pub source: Option<Value>,
    pub title: Option<String>,
    pub context: Option<String>,
    /// Of documents and search results; looked at to refuse it. (In texts of earlier turns it is a list, which is let be.)
    pub citations: Option<Value>,
}

/// A function that the model may call.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(rename = "MessagesTool")]
#[expect(missing_docs, reason = "the names are Anthropic's, and so is their meaning")]
pub struct Tool {
    pub r#type: Option<String>,
    pub name: String,
    pub description: Option<String>,
    pub input_schema: Option<Map<String, Value>>,
    pub strict: Option<bool>,
    pub defer_loading: Option<bool>,
    pub allowed_callers: Option<Value>,
    /// Shown to the model with the description.
    pub input_examples: Option<Vec<Value>>,
}

/// Whether functions are called: `auto`, `any`, `tool` or `none`.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(rename = "MessagesToolChoice")]
#[expect(missing_docs, reason = "the names are Anthropic's, and so is their meaning")]
pub struct ToolChoice {
    pub r#type: String,
    pub name: Option<String>,
    pub disable_parallel_tool_use: Option<bool>,
}

/// Whether the model thinks first: `enabled`, `disabled` or `adaptive`.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(rename = "MessagesThinking")]
#[expect(missing_docs, reason = "the names are Anthropic's, and so is their meaning")]
pub struct Thinking {
    pub r#type: String,
    pub budget_tokens: Option<u32>,
    pub display: Option<String>,
}

/// What the answer is to be like.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(rename = "MessagesOutputConfig")]
#[expect(missing_docs, reason = "the names are Anthropic's, and so is their meaning")]
pub struct OutputConfig {
    pub effort: Option<String>,
    pub format: Option<Format>,
}

/// A schema that the answer fits.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(rename = "MessagesFormat")]
#[expect(missing_docs, reason = "the names are Anthropic's, and so is their meaning")]
pub struct Format {
    pub r#type: String,
    pub schema: Option<Value>,
}

/// Asks why a prompt was not found in the cache.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(rename = "MessagesDiagnostics")]
#[expect(missing_docs, reason = "the names are Anthropic's, and so is their meaning")]
pub struct Diagnostics {
    pub previous_message_id: Option<String>,
}

/// What is to be left out of the conversation.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(rename = "MessagesContextManagement")]
#[expect(missing_docs, reason = "the names are Anthropic's, and so is their meaning")]
pub struct ContextManagement {
    #[serde(default)]
    pub edits: Vec<Edit>,
}

/// One kind of omission.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(rename = "MessagesContextEdit")]
#[expect(missing_docs, reason = "the names are Anthropic's, and so is their meaning")]
pub struct Edit {
    pub r#type: String,
    pub keep: Option<Value>,
}

/// The answer when not streaming, and at the beginning of a stream.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "MessagesResponse")]
#[expect(missing_docs, reason = "the names are Anthropic's, and so is their meaning")]
pub struct Response<'a> {
    pub id: &'a str,
    pub r#type: &'static str,
    pub role: &'static str,
    pub model: &'a str,
    pub content: Vec<AnswerBlock>,
    pub stop_reason: Option<&'static str>,
    pub stop_sequence: Option<&'a str>,
    pub stop_details: Option<()>,
    pub container: Option<()>,
    /// Only where they were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub diagnostics: Option<Diagnosis>,
    pub usage: Usage,
}

/// A block of an answer.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
#[schemars(rename = "MessagesBlock")]
#[expect(missing_docs, reason = "the names are Anthropic's, and so is their meaning")]
pub enum AnswerBlock {
    Text {
        text: String,
        /// Left out where there are none: Vercel's SDK takes no null.
        #[serde(skip_serializing_if = "Option::is_none")]
        citations: Option<()>,
    },
    Thinking {
        thinking: String,
        signature: String,
    },
    ToolUse {
        id: String,
        name: String,
        input: Value,
    },
}

/// That nothing is known about the cache.
#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
#[schemars(rename = "MessagesDiagnosis")]
#[expect(missing_docs, reason = "the names are Anthropic's, and so is their meaning")]
pub struct Diagnosis {
    pub cache_miss_reason: Unavailable,
}

/// Part of [`Diagnosis`].
#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
#[schemars(rename = "MessagesCacheMissReason")]
#[expect(missing_docs, reason = "the names are Anthropic's, and so is their meaning")]
pub struct Unavailable {
    pub r#type: &'static str,
}

/// Token counts. The prompt's are the sum of the first three.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, JsonSchema)]
#[schemars(rename = "MessagesUsage")]
#[expect(missing_docs, reason = "the names are Anthropic's, and so is their meaning")]
pub struct Usage {
    pub input_tokens: u32,
    pub cache_creation_input_tokens: u32,
    pub cache_read_input_tokens: u32,
    pub output_tokens: u32,
    pub output_tokens_details: OutputDetails,
}

/// Part of [`Usage`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, JsonSchema)]
#[schemars(rename = "MessagesOutputDetails")]
#[expect(missing_docs, reason = "the names are Anthropic's, and so is their meaning")]
pub struct OutputDetails {
    pub thinking_tokens: u32,
}

/// The answer of `/v1/messages/count_tokens`.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "MessagesTokenCount")]
#[expect(missing_docs, reason = "the names are Anthropic's, and so is their meaning")]
pub struct Count {
    pub input_tokens: u32,
}
