//! `POST /v1/completions`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::chat::{KeepAlive, Priority, ServiceTier, Stop, StreamOptions, StructuredOutputs, Timings};
use super::usage::Usage;
use crate::api::foreign::Foreign;

/// The request. Fields of type [`Value`] are such as are looked at only to refuse what is not built.
#[derive(Debug, Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "the names are OpenAI's, and so is their meaning")]
#[schemars(rename = "CompletionRequest")]
pub struct Request {
    pub model: String,
    pub prompt: Prompt,
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
    pub suffix: Option<String>,
    pub response_format: Option<Value>,
    pub min_tokens: Option<u32>,
    pub ignore_eos: Option<bool>,
    pub priority: Option<Priority>,
    pub cache_salt: Option<String>,
    pub timeout: Option<f64>,
    pub keep_alive: Option<KeepAlive>,
    pub logprobs: Option<u8>,
    pub logit_bias: Option<BTreeMap<String, f32>>,
    pub frequency_penalty: Option<f32>,
    pub presence_penalty: Option<f32>,
    pub repetition_penalty: Option<f32>,
    /// llama.cpp's name for it.
    pub repeat_penalty: Option<f32>,
    pub guided_json: Option<Value>,
    pub guided_regex: Option<String>,
    pub guided_choice: Option<Vec<String>>,
    pub guided_grammar: Option<String>,
    pub structured_outputs: Option<StructuredOutputs>,
    pub json_schema: Option<Value>,
    pub stop_token_ids: Option<Vec<u32>>,
    pub user: Option<String>,
    pub metadata: Option<BTreeMap<String, String>>,
    pub safety_identifier: Option<String>,
    pub prompt_cache_key: Option<String>,
    pub service_tier: Option<ServiceTier>,
    #[serde(flatten)]
    pub foreign: Foreign,
}

/// One prompt or several, as text or as token ids.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(
    untagged,
    expecting = "expected a string, a list of strings, a list of token ids, or a list of such lists"
)]
#[schemars(rename = "CompletionPrompt")]
pub enum Prompt {
    /// One text.
    Text(String),
    /// Several.
    Texts(Vec<String>),
    /// One list of token ids.
    Tokens(Vec<u32>),
    /// Several.
    Batches(Vec<Vec<u32>>),
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
    pub system_fingerprint: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timings: Option<Timings>,
    /// Left out, null, or the counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage: Option<Option<Usage>>,
}

/// A choice.
#[derive(Debug, Serialize, JsonSchema)]
#[expect(missing_docs, reason = "the names are OpenAI's, and so is their meaning")]
#[schemars(rename = "CompletionChoice")]
pub struct Choice<'a> {
    pub index: u32,
    pub text: &'a str,
    pub logprobs: Option<Logprobs>,
    pub finish_reason: Option<&'static str>,
}

/// How likely tokens were: lists of one length.
#[derive(Debug, Default, Serialize, JsonSchema)]
#[expect(missing_docs, reason = "the names are OpenAI's, and so is their meaning")]
#[schemars(rename = "CompletionLogprobs")]
pub struct Logprobs {
    pub tokens: Vec<String>,
    pub token_logprobs: Vec<Option<f32>>,
    pub top_logprobs: Vec<Option<BTreeMap<String, f32>>>,
    /// In characters, from the beginning of the choice's text.
    pub text_offset: Vec<usize>,
}
