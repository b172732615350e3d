//! `GET /v1/models` as Anthropic's clients expect it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which of the models.
#[derive(Debug, Clone, Default, Deserialize)]
#[expect(missing_docs, reason = "the names are Anthropic's, and so is their meaning")]
pub struct Query {
    pub limit: Option<usize>,
    pub after_id: Option<String>,
    pub before_id: Option<String>,
}

/// Some of the models.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "AnthropicModelList")]
#[expect(missing_docs, reason = "the names are Anthropic's, and so is their meaning")]
pub struct List {
    pub data: Vec<Model>,
    pub has_more: bool,
    pub first_id: Option<String>,
    pub last_id: Option<String>,
}

/// One model.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "AnthropicModel")]
#[expect(missing_docs, reason = "the names are Anthropic's, and so is their meaning")]
pub struct Model {
    pub r#type: &'static str,
    pub id: String,
    pub display_name: String,
    pub created_at: String,
    pub lifecycle: &'static str,
    pub max_input_tokens: Option<u32>,
}
