//! `GET /v1/models` in Anthropic's form.

#![expect(missing_docs, reason = "the names and their meaning are Anthropic's")]

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The query of a page of models.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Query {
    pub limit: Option<usize>,
    pub after_id: Option<String>,
    pub before_id: Option<String>,
}

/// A page of models.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "AnthropicModelList")]
pub struct List {
    pub data: Vec<Model>,
    pub has_more: bool,
    pub first_id: Option<String>,
    pub last_id: Option<String>,
}

/// One model.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "AnthropicModel")]
pub struct Model {
    pub r#type: &'static str,
    pub id: String,
    pub display_name: String,
    pub created_at: String,
    pub lifecycle: &'static str,
    /// The maximum of prompt and output together, in tokens, as served.
    pub max_input_tokens: Option<u32>,
    /// The longest output, which shares the context with the prompt.
    pub max_tokens: Option<u32>,
}
