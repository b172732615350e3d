//! A response, its items, and the answers about stored responses.

#![expect(missing_docs, reason = "the names and their meaning are OpenAI's")]

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::protocols::openai::chat::wire::TokenLogprob;
use crate::protocols::openai::responses::wire::Item as InputItem;

/// The state of a response.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Response")]
pub struct Response<'a> {
    pub id: &'a str,
    pub object: &'static str,
    pub created_at: u64,
    /// `null` unless the response is completed.
    pub completed_at: Option<u64>,
    pub status: &'static str,
    pub error: Option<Failure>,
    pub incomplete_details: Option<Incomplete>,
    pub model: &'a str,
    pub output: Cow<'a, [Item]>,
    pub usage: Option<Usage>,
    /// The echoed request.
    #[serde(flatten)]
    pub echo: &'a Map<String, Value>,
}

/// Why a response failed.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[schemars(rename = "ResponseFailure")]
pub struct Failure {
    pub code: &'static str,
    pub message: String,
}

/// Why a response is not complete.
#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
#[schemars(rename = "ResponseIncomplete")]
pub struct Incomplete {
    pub reason: &'static str,
}

/// An output item.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
#[schemars(rename = "ResponseItem")]
pub enum Item {
    Message {
        id: String,
        status: &'static str,
        role: &'static str,
        content: Vec<Part>,
    },
    Reasoning {
        id: String,
        status: &'static str,
        summary: Vec<Part>,
        content: Vec<Part>,
        #[serde(skip_serializing_if = "Option::is_none")]
        encrypted_content: Option<String>,
    },
    FunctionCall {
        id: String,
        status: &'static str,
        call_id: String,
        name: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        namespace: Option<String>,
        arguments: String,
    },
    /// A summary in place of earlier turns. An item that is not complete has an empty text.
    Compaction {
        id: String,
        encrypted_content: String,
    },
    CustomToolCall {
        id: String,
        status: &'static str,
        call_id: String,
        name: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        namespace: Option<String>,
        input: String,
    },
    ToolSearchCall {
        id: String,
        status: &'static str,
        call_id: String,
        execution: &'static str,
        /// An object, or the text of arguments that were cut off.
        arguments: Value,
    },
}

/// A part of a message or of reasoning.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
#[schemars(rename = "ResponsePart")]
pub enum Part {
    OutputText { text: String, annotations: [(); 0], logprobs: Vec<TokenLogprob> },
    ReasoningText { text: String },
    SummaryText { text: String },
}

/// Token counts.
#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
#[schemars(rename = "ResponseUsage")]
pub struct Usage {
    pub input_tokens: u32,
    pub input_tokens_details: InputDetails,
    pub output_tokens: u32,
    pub output_tokens_details: OutputDetails,
    pub total_tokens: u32,
}

/// Part of [`Usage`].
#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
#[schemars(rename = "ResponseInputDetails")]
pub struct InputDetails {
    pub cached_tokens: u32,
    pub cache_write_tokens: u32,
}

/// Part of [`Usage`].
#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
#[schemars(rename = "ResponseOutputDetails")]
pub struct OutputDetails {
    pub reasoning_tokens: u32,
}

/// The answer of `/v1/responses/input_tokens`.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "ResponseInputTokens")]
pub struct Count {
    pub object: &'static str,
    pub input_tokens: u32,
}

/// The answer of `/v1/responses/compact`.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "CompactedResponse")]
pub struct Compacted {
    pub id: String,
    pub object: &'static str,
    pub created_at: u64,
    /// User messages that stay, then one compaction.
    pub output: Vec<CompactedItem>,
    pub usage: Usage,
}

/// An item of [`Compacted`].
#[derive(Debug, Serialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
#[schemars(rename = "CompactedItem")]
pub enum CompactedItem {
    Message { id: String, status: &'static str, role: &'static str, content: [InputText; 1] },
    Compaction { id: String, encrypted_content: String },
}

/// The text of a user message.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "ResponseInputText")]
pub struct InputText {
    pub r#type: &'static str,
    pub text: String,
}

/// The answer to the deletion of a stored response.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "ResponseDeleted")]
pub struct Deleted {
    pub id: String,
    pub object: &'static str,
    pub deleted: bool,
}

/// A page of a response's input items.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "ResponseInputItems")]
pub struct Page {
    pub object: &'static str,
    pub data: Vec<InputItem>,
    pub first_id: Option<String>,
    pub last_id: Option<String>,
    pub has_more: bool,
}
