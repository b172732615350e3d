//! `POST /v1/completions`.

#![expect(missing_docs, reason = "the names and their meaning are OpenAI's")]

use std::collections::BTreeMap;

use ipc_proto::worker::ModelKind;
use schemars::JsonSchema;
use serde::de::Deserializer;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::protocols::common::body::{Body, Check};
use crate::protocols::common::model_choice::NamesModel;
use crate::protocols::common::text_or::{self, TextOr};
use crate::protocols::common::token_limit::TokenLimit;
use crate::protocols::openai::chat::wire::{PromptProgress, Timings};
use crate::protocols::openai::fields::FieldGroups;
use crate::protocols::openai::usage::Usage;

/// The request. Fields that are not implemented are parsed only to be refused.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(rename = "CompletionRequest")]
pub struct Request {
    /// Optional if only one model can answer.
    pub model: Option<String>,
    pub prompt: Prompt,
    pub max_tokens: Option<TokenLimit>,
    pub best_of: Option<u32>,
    pub echo: Option<bool>,
    pub suffix: Option<String>,
    pub logprobs: Option<u32>,
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

/// One prompt or several, as text or as token ids.
#[derive(Debug, JsonSchema)]
#[schemars(untagged, rename = "CompletionPrompt")]
pub enum Prompt {
    Text(String),
    Texts(Vec<String>),
    /// Token ids of one prompt.
    Tokens(Vec<u32>),
    /// Token ids of several prompts.
    Batches(Vec<Vec<u32>>),
}

impl TextOr for Prompt {
    const EXPECTED: &'static str =
        "expected a string, a list of strings, a list of token ids, or a list of such lists";

    fn from_text(text: String) -> Self {
        Self::Text(text)
    }

    fn from_other(value: Value) -> Option<Self> {
        match value.get(0) {
            None => text_or::list(value).map(Self::Texts),
            Some(Value::String(_)) => text_or::list(value).map(Self::Texts),
            Some(Value::Array(_)) => text_or::list(value).map(Self::Batches),
            Some(_) => text_or::list(value).map(Self::Tokens),
        }
    }
}

impl<'de> Deserialize<'de> for Prompt {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        text_or::deserialize(deserializer)
    }
}

/// The response, and each chunk of a stream. `C` is the type of its choices.
#[derive(Debug, Serialize, JsonSchema)]
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
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt_progress: Option<PromptProgress>,
    /// Absent, null, or the token counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage: Option<Option<Usage>>,
}

/// One completion of a prompt.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "CompletionChoice")]
pub struct Choice<'a> {
    pub index: u32,
    pub text: &'a str,
    pub logprobs: Option<Logprobs>,
    pub finish_reason: Option<&'static str>,
}

/// Log probabilities of the tokens, as lists of equal length.
#[derive(Debug, Default, Serialize, JsonSchema)]
#[schemars(rename = "CompletionLogprobs")]
pub struct Logprobs {
    pub tokens: Vec<String>,
    pub token_logprobs: Vec<Option<f32>>,
    pub top_logprobs: Vec<Option<BTreeMap<String, f32>>>,
    /// Offsets in characters from the beginning of the choice's text.
    pub text_offset: Vec<usize>,
}
