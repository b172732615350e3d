//! `POST /v1/messages` and `/v1/messages/count_tokens`.

#![expect(missing_docs, reason = "the names and their meaning are Anthropic's")]

use ipc_proto::worker::ModelKind;
use schemars::JsonSchema;
use serde::de::Deserializer;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::protocols::common::body::{Body, Check, check_part};
use crate::protocols::common::extensions::ExtensionFields;
use crate::protocols::common::model_choice::NamesModel;
use crate::protocols::common::sampling::SamplingFields;
use crate::protocols::common::text_or::{self, TextOr};
use crate::protocols::common::token_limit::TokenLimit;
use crate::protocols::common::unsupported::{Everywhere, NotInMessages, Refused};

/// The request of both endpoints. Fields of type [`Value`] are parsed only to refuse features that are not implemented.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(rename = "MessagesRequest")]
pub struct Request {
    /// Optional if only one model can answer.
    pub model: Option<String>,
    pub messages: Vec<Message>,
    /// Required, except by `count_tokens`.
    pub max_tokens: Option<TokenLimit>,
    pub system: Option<Content>,
    pub stream: Option<bool>,
    pub stop_sequences: Option<Vec<String>>,
    pub tools: Option<Vec<Tool>>,
    pub tool_choice: Option<ToolChoice>,
    pub thinking: Option<Thinking>,
    pub output_config: Option<OutputConfig>,
    /// The former name of `output_config.format`.
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
    pub compaction: Option<Compaction>,
    pub fallbacks: Option<Value>,
    pub cache_control: Option<CacheControl>,
    /// An extension of this server: variables of the model's chat template.
    pub chat_template_kwargs: Option<Map<String, Value>>,
    /// An extension of this server: reads control tokens in the client's text as plain text, like `sanitize_control_tokens`
    /// in Transformers.
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
    const PARTS: &'static [Check] = &[check_part::<SamplingFields>, check_part::<ExtensionFields>];
}

impl NamesModel for Request {
    const KIND: ModelKind = ModelKind::Generate;

    fn model_mut(&mut self) -> &mut Option<String> {
        &mut self.model
    }
}

/// Metadata of the request.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[schemars(rename = "MessagesMetadata")]
pub struct Metadata {
    pub user_id: Option<String>,
}

/// One message of the conversation.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(rename = "MessagesTurn")]
pub struct Message {
    pub role: Role,
    /// Required, except in a system message with `output_config`.
    pub content: Option<Content>,
    /// How long the model sees a system message: `never` or `next_user_message`.
    pub clear_at: Option<String>,
    /// In a system message: the effort from here on.
    pub output_config: Option<OutputConfig>,
}

/// The author of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(rename = "MessagesRole")]
pub enum Role {
    User,
    Assistant,
    System,
}

/// The content of a message or block.
#[derive(Debug, JsonSchema)]
#[schemars(untagged, rename = "MessagesContent")]
pub enum Content {
    Text(String),
    Blocks(Vec<Block>),
    /// Only as the content of a block: the result of a server tool.
    One(Box<Block>),
}

impl TextOr for Content {
    const EXPECTED: &'static str = "expected a string or a list of content blocks";

    fn from_text(text: String) -> Self {
        Self::Text(text)
    }

    fn from_other(value: Value) -> Option<Self> {
        match value {
            Value::Array(_) => text_or::list(value).map(Self::Blocks),
            Value::Object(_) => serde_json::from_value(value).ok().map(Self::One),
            _ => None,
        }
    }
}

impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text_or::deserialize(deserializer)
    }
}

/// A block of any kind, such as `text`, `tool_use` or `tool_addition`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[schemars(rename = "MessagesInputBlock")]
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
    /// An object in documents and search results, where it is refused if enabled. In texts of earlier turns it is a list,
    /// which is ignored.
    pub citations: Option<Value>,
    /// In `tool_addition` and `tool_removal`.
    pub tool: Option<ChangedTool>,
    /// An older form of `tool` in `tool_addition`: definitions.
    pub tools: Option<Value>,
    /// In `tool_reference`.
    pub tool_name: Option<String>,
    /// In the result of a tool search.
    pub tool_references: Option<Vec<Self>>,
    /// In an error of a tool search.
    pub error_code: Option<String>,
    /// In `compaction`: the changes of the tools in the part that it replaces.
    pub tool_changes: Option<Vec<Self>>,
    pub cache_control: Option<CacheControl>,
}

/// The tool that a block adds or removes: `tool_reference` with a name, or `tool_definition`.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(rename = "MessagesChangedTool")]
pub struct ChangedTool {
    pub r#type: String,
    pub name: Option<String>,
    pub definition: Option<Box<Tool>>,
}

/// A mark up to which the prompt is to be cached. Every prompt is cached here anyway.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[schemars(rename = "MessagesCacheControl")]
pub struct CacheControl {
    pub r#type: Option<String>,
    pub ttl: Option<String>,
}

/// A function that the model may call.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(rename = "MessagesTool")]
pub struct Tool {
    pub r#type: Option<String>,
    pub name: String,
    pub description: Option<String>,
    pub input_schema: Option<Map<String, Value>>,
    pub strict: Option<bool>,
    pub defer_loading: Option<bool>,
    pub allowed_callers: Option<Value>,
    /// The model sees the examples after the description.
    pub input_examples: Option<Vec<Value>>,
    pub cache_control: Option<CacheControl>,
}

/// Controls which functions the model calls: `auto`, `any`, `tool` or `none`.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(rename = "MessagesToolChoice")]
pub struct ToolChoice {
    pub r#type: String,
    pub name: Option<String>,
    pub disable_parallel_tool_use: Option<bool>,
}

/// The reasoning mode: `enabled`, `disabled`, `adaptive` or `between_tools`.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(rename = "MessagesThinking")]
pub struct Thinking {
    pub r#type: String,
    pub budget_tokens: Option<u32>,
    pub display: Option<String>,
}

/// Settings of the output.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(rename = "MessagesOutputConfig")]
pub struct OutputConfig {
    pub effort: Option<String>,
    pub format: Option<Format>,
}

/// The JSON schema of the output.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(rename = "MessagesFormat")]
pub struct Format {
    pub r#type: String,
    pub schema: Option<Value>,
}

/// Asks why a prompt was not found in the cache.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(rename = "MessagesDiagnostics")]
pub struct Diagnostics {
    pub previous_message_id: Option<String>,
}

/// Edits of the conversation before it reaches the model.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(rename = "MessagesContextManagement")]
pub struct ContextManagement {
    #[serde(default)]
    pub edits: Vec<Edit>,
}

/// One edit.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(rename = "MessagesContextEdit")]
pub struct Edit {
    pub r#type: String,
    /// In `clear_thinking_20251015`.
    pub keep: Option<Value>,
    /// In `compact_20260112`, like the next two.
    pub trigger: Option<Value>,
    pub pause_after_compaction: Option<bool>,
    pub instructions: Option<String>,
}

/// Asks for a summary in place of an answer.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(rename = "MessagesCompaction")]
pub struct Compaction {
    pub r#type: String,
    pub instructions: Option<String>,
}

/// The response, also in the first event of a stream.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "MessagesResponse")]
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
    /// Present if the request has `diagnostics`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub diagnostics: Option<Diagnosis>,
    pub usage: Usage,
}

/// A block of a response.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
#[schemars(rename = "MessagesBlock")]
pub enum AnswerBlock {
    Text {
        text: String,
        /// Always absent: Vercel's SDK does not accept null.
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
    /// A summary that replaces the conversation before it.
    Compaction {
        /// Null if the model wrote no complete summary.
        content: Option<String>,
        encrypted_content: Option<()>,
        signature: String,
        /// The changes of the tools before it, as `tool_addition` and `tool_removal`.
        tool_changes: Vec<Value>,
    },
}

/// The answer to `diagnostics`: the reason of a cache miss is unknown.
#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
#[schemars(rename = "MessagesDiagnosis")]
pub struct Diagnosis {
    pub cache_miss_reason: Unavailable,
}

/// Part of [`Diagnosis`].
#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
#[schemars(rename = "MessagesCacheMissReason")]
pub struct Unavailable {
    pub r#type: &'static str,
}

/// Token counts. The prompt's count is the sum of the first three fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, JsonSchema)]
#[schemars(rename = "MessagesUsage")]
pub struct Usage {
    pub input_tokens: u32,
    pub cache_creation_input_tokens: u32,
    pub cache_read_input_tokens: u32,
    pub output_tokens: u32,
    pub output_tokens_details: OutputDetails,
    /// The counts of a compaction and of the answer, if both were made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub iterations: Option<[Iteration; 2]>,
}

/// Part of [`Usage`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "MessagesIteration")]
pub struct Iteration {
    pub r#type: &'static str,
    pub input_tokens: u32,
    pub cache_creation_input_tokens: u32,
    pub cache_read_input_tokens: u32,
    pub output_tokens: u32,
}

/// Part of [`Usage`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, JsonSchema)]
#[schemars(rename = "MessagesOutputDetails")]
pub struct OutputDetails {
    pub thinking_tokens: u32,
}

/// The answer of `/v1/messages/count_tokens`.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "MessagesTokenCount")]
pub struct Count {
    pub input_tokens: u32,
}
