//! A response, its items, and what is told of stored ones.

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::protocols::openai::chat::wire::TokenLogprob;
use crate::protocols::openai::responses::wire::Item as InputItem;

/// A response at some moment of its life.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Response")]
#[expect(missing_docs, reason = "the names are OpenAI's, and so is their meaning")]
pub struct Response<'a> {
    pub id: &'a str,
    pub object: &'static str,
    pub created_at: u64,
    pub status: &'static str,
    pub error: Option<Failure>,
    pub incomplete_details: Option<Incomplete>,
    pub model: &'a str,
    pub output: Cow<'a, [Item]>,
    pub usage: Option<Usage>,
    /// What the client asked for, given back.
    #[serde(flatten)]
    pub echo: &'a Map<String, Value>,
}

/// Why a response failed.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[schemars(rename = "ResponseFailure")]
#[expect(missing_docs, reason = "the names are OpenAI's, and so is their meaning")]
pub struct Failure {
    pub code: &'static str,
    pub message: String,
}

/// Why a response is not complete.
#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
#[schemars(rename = "ResponseIncomplete")]
#[expect(missing_docs, reason = "the names are OpenAI's, and so is their meaning")]
pub struct Incomplete {
    pub reason: &'static str,
}

/// What the model brought forth.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
#[schemars(rename = "ResponseItem")]
#[expect(missing_docs, reason = "the names are OpenAI's, and so is their meaning")]
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
        arguments: String,
    },
}

/// A part of a message or of what was thought.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
#[schemars(rename = "ResponsePart")]
#[expect(missing_docs, reason = "the names are OpenAI's, and so is their meaning")]
pub enum Part {
    OutputText { text: String, annotations: [(); 0], logprobs: Vec<TokenLogprob> },
    ReasoningText { text: String },
    SummaryText { text: String },
}

/// Token counts.
#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
#[schemars(rename = "ResponseUsage")]
#[expect(missing_docs, reason = "the names are OpenAI's, and so is their meaning")]
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
#[expect(missing_docs, reason = "the names are OpenAI's, and so is their meaning")]
pub struct InputDetails {
    pub cached_tokens: u32,
    pub cache_write_tokens: u32,
}

/// Part of [`Usage`].
#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
#[schemars(rename = "ResponseOutputDetails")]
#[expect(missing_docs, reason = "the names are OpenAI's, and so is their meaning")]
pub struct OutputDetails {
    pub reasoning_tokens: u32,
}

/// The answer of `/v1/responses/input_tokens`.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "ResponseInputTokens")]
#[expect(missing_docs, reason = "the names are OpenAI's, and so is their meaning")]
pub struct Count {
    pub object: &'static str,
    pub input_tokens: u32,
}

/// That a stored response is gone.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "ResponseDeleted")]
#[expect(missing_docs, reason = "the names are OpenAI's, and so is their meaning")]
pub struct Deleted {
    pub id: String,
    pub object: &'static str,
    pub deleted: bool,
}

/// Some of a response's input items.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "ResponseInputItems")]
#[expect(missing_docs, reason = "the names are OpenAI's, and so is their meaning")]
pub struct Items {
    pub object: &'static str,
    pub data: Vec<InputItem>,
    pub first_id: Option<String>,
    pub last_id: Option<String>,
    pub has_more: bool,
}
