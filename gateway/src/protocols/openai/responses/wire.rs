//! Requests of `/v1/responses` and its sub-resources.

#![expect(missing_docs, reason = "the names and their meaning are OpenAI's")]

use std::collections::BTreeMap;

use ipc_proto::worker::ModelKind;
use ipc_proto::{Error, Result};
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
use crate::protocols::common::unsupported::{Everywhere, NotInResponses, Refused};
use crate::protocols::common::verbosity::Verbosity;
use crate::protocols::openai::chat::wire::TextFormat;
use crate::protocols::openai::fields::Stop;

/// The request. Fields of type [`Value`] are only echoed or refused.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(rename = "ResponsesRequest")]
pub struct Request {
    /// Optional if only one model can answer.
    pub model: Option<String>,
    pub input: Option<Input>,
    pub instructions: Option<String>,
    pub previous_response_id: Option<String>,
    pub stream: Option<bool>,
    pub store: Option<bool>,
    pub background: Option<bool>,
    pub max_output_tokens: Option<TokenLimit>,
    pub max_tool_calls: Option<u32>,
    pub top_logprobs: Option<u32>,
    pub include: Option<Vec<String>>,
    pub tools: Option<Vec<Tool>>,
    pub tool_choice: Option<ToolChoice>,
    pub parallel_tool_calls: Option<bool>,
    pub reasoning: Option<Reasoning>,
    pub text: Option<Text>,
    pub truncation: Option<String>,
    pub service_tier: Option<String>,
    pub metadata: Option<BTreeMap<String, String>>,
    pub user: Option<String>,
    pub safety_identifier: Option<String>,
    pub prompt_cache_key: Option<String>,
    pub prompt_cache_retention: Option<String>,
    pub stream_options: Option<StreamOptions>,
    pub conversation: Option<Value>,
    pub prompt: Option<Value>,
    pub moderation: Option<Value>,
    pub context_management: Option<Vec<ContextManagement>>,
    /// With `false` the prompt is computed and cached, and the output stays empty.
    pub generate: Option<bool>,
    pub background_options: Option<Value>,
    pub prompt_cache_options: Option<Value>,
    pub access_programs: Option<Value>,
    pub image: Option<Value>,
    pub stop: Option<Stop>,
    pub chat_template_kwargs: Option<Map<String, Value>>,
    /// Reads control tokens in the client's text as plain text, like `sanitize_control_tokens` in Transformers.
    pub sanitize_control_tokens: Option<bool>,
    #[serde(flatten)]
    pub sampling: SamplingFields,
    #[serde(flatten)]
    pub extensions: ExtensionFields,
    #[serde(flatten)]
    pub unsupported: Refused<Everywhere>,
    #[serde(flatten)]
    pub chat_only: Refused<NotInResponses>,
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

/// The input: a text or a list of items.
#[derive(Debug, Clone, JsonSchema)]
#[schemars(untagged, rename = "ResponsesInput")]
pub enum Input {
    /// The text of one user message.
    Text(String),
    Items(Vec<Item>),
}

impl TextOr for Input {
    const EXPECTED: &'static str = "expected a string or a list of input items";

    fn from_text(text: String) -> Self {
        Self::Text(text)
    }

    fn from_other(value: Value) -> Option<Self> {
        text_or::list(value).map(Self::Items)
    }
}

impl<'de> Deserialize<'de> for Input {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text_or::deserialize(deserializer)
    }
}

/// An item of any kind. A message, reasoning or a call has most of these fields; those of other kinds stay in `rest`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(rename = "ResponsesItem")]
pub struct Item {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub r#type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content: Option<Content>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub call_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// A text, or an object in a `tool_search_call`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arguments: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<Content>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub summary: Option<Vec<Part>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encrypted_content: Option<String>,
    /// The fields of other kinds.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

impl Item {
    /// The id of the stored item that this item refers to. A reference may omit its `type`.
    pub fn reference(&self) -> Option<&str> {
        let bare = self.r#type.is_none() && self.role.is_none() && self.content.is_none();
        let refers = bare || self.r#type.as_deref() == Some("item_reference");
        self.id.as_deref().filter(|_| refers)
    }

    /// The tools that this item adds.
    ///
    /// # Errors
    /// Returns an error if they are no list of tools.
    pub fn tools(&self, path: &str) -> Result<Vec<Tool>> {
        let tools = self.rest.get("tools").cloned().unwrap_or_default();
        let name = format!("{path}.tools");
        serde_json::from_value(tools).map_err(|e| Error::invalid(&name, format!("{name}: {e}")))
    }
}

/// The author of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(rename = "ResponsesRole")]
pub enum Role {
    User,
    Assistant,
    System,
    Developer,
}

/// The content of an item.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "expected a string or a list of content parts")]
#[schemars(rename = "ResponsesContent")]
pub enum Content {
    Text(String),
    Parts(Vec<Part>),
    /// The content of other kinds of items.
    Other(Value),
}

/// A content part: `input_text`, `input_image`, `output_text`, `refusal`, `reasoning_text` or `summary_text`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "ResponsesPart")]
pub struct Part {
    pub r#type: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refusal: Option<String>,
    /// Of an image: a data URL or an address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_url: Option<Value>,
    /// Of an image: `auto`, `low`, `high` or `original`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file_id: Option<String>,
}

/// A tool: `function`, `custom`, `namespace` or `tool_search`. Other kinds are echoed but not shown to the model, because only
/// OpenAI's servers run them.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "ResponsesTool")]
pub struct Tool {
    pub r#type: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parameters: Option<Map<String, Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub strict: Option<bool>,
    /// The form of a custom tool's text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<TextFormat>,
    /// The tools of a namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tools: Option<Vec<Tool>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub defer_loading: Option<bool>,
    /// The side that runs a tool search: `server` or `client`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub execution: Option<String>,
    /// The fields of other kinds.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// Controls which functions the model calls.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "expected \"none\", \"auto\", \"required\" or an object")]
#[schemars(rename = "ResponsesToolChoice")]
pub enum ToolChoice {
    /// `none`, `auto` or `required`.
    Mode(String),
    /// One tool, or the allowed tools.
    Some(ChosenTools),
}

/// `{"type": "function", "name": …}`, the same with `custom`, or `{"type": "allowed_tools", "mode": …, "tools": […]}`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "ResponsesChosenTools")]
pub struct ChosenTools {
    pub r#type: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tools: Option<Vec<NamedTool>>,
}

/// A reference to a tool.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "ResponsesNamedTool")]
pub struct NamedTool {
    pub r#type: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
}

/// Reasoning settings.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[schemars(rename = "ResponsesReasoning")]
pub struct Reasoning {
    pub effort: Option<String>,
    /// An extension of this server: the maximum number of reasoning tokens.
    pub max_tokens: Option<TokenLimit>,
    pub summary: Option<String>,
    pub generate_summary: Option<String>,
    pub mode: Option<String>,
    pub context: Option<String>,
}

/// Settings of the output text.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[schemars(rename = "ResponsesText")]
pub struct Text {
    pub format: Option<Value>,
    pub verbosity: Option<Verbosity>,
}

/// A way to keep the conversation within the context. The only `type` is `compaction`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[schemars(rename = "ResponsesContextManagement")]
pub struct ContextManagement {
    pub r#type: String,
    /// The number of tokens above which the conversation is compacted.
    pub compact_threshold: Option<TokenLimit>,
}

/// Settings of a stream.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[schemars(rename = "ResponsesStreamOptions")]
pub struct StreamOptions {
    pub include_obfuscation: Option<bool>,
}

/// The query of a page of input items.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct ItemsQuery {
    pub limit: Option<usize>,
    pub after: Option<String>,
    pub order: Option<String>,
}

/// The query of a stored response.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct GetQuery {
    pub stream: Option<bool>,
    pub starting_after: Option<u64>,
}
