//! `POST /v1/completions`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::chat::{Priority, Stop, StreamOptions};
use super::usage::Usage;

/// The request. Fields of type [`Value`] are such as are looked at only to refuse what is not built.
#[derive(Debug, Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "the names are OpenAI's, and so is their meaning")]
#[schemars(rename = "CompletionRequest")]
pub struct Request {
    pub model: String,
    pub prompt: Value,
    #[serde(default)]
    pub stream: Option<bool>,
    pub stream_options: Option<StreamOptions>,
    pub max_tokens: Option<u32>,
    pub temperature: Option<f32>,
    pub top_p: Option<f32>,
    pub top_k: Option<i64>,
    pub min_p: Option<f32>,
    pub seed: Option<i64>,
    pub stop: Option<Stop>,
    pub n: Option<u32>,
    pub best_of: Option<u32>,
    pub echo: Option<bool>,
    pub suffix: Option<Value>,
    pub response_format: Option<Value>,
    pub min_tokens: Option<u32>,
    pub ignore_eos: Option<bool>,
    pub priority: Option<Priority>,
    pub cache_salt: Option<String>,
    pub timeout: Option<f64>,
    pub logprobs: Option<Value>,
    pub logit_bias: Option<BTreeMap<String, f32>>,
    pub frequency_penalty: Option<f32>,
    pub presence_penalty: Option<f32>,
    pub repetition_penalty: Option<f32>,
}

/// The answer, and each chunk of a stream; `C` is a choice or nothing.
#[derive(Debug, Serialize, JsonSchema)]
#[expect(missing_docs, reason = "the names are OpenAI's, and so is their meaning")]
#[schemars(rename = "CompletionResponse")]
pub struct Response<'a, C> {
    pub id: &'a str,
    pub object: &'static str,
    pub created: u64,
    pub model: &'a str,
    pub choices: &'a [C],
    /// Left out, null, or the counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage: Option<Option<Usage>>,
}

/// The one choice.
#[derive(Debug, Serialize, JsonSchema)]
#[expect(missing_docs, reason = "the names are OpenAI's, and so is their meaning")]
#[schemars(rename = "CompletionChoice")]
pub struct Choice<'a> {
    pub index: u32,
    pub text: &'a str,
    pub logprobs: Option<()>,
    pub finish_reason: Option<&'static str>,
}
