//! `GET /v1/models`.

#![expect(missing_docs, reason = "the names and their meaning are OpenAI's")]

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::protocols::common::verbosity::Verbosity;
use crate::protocols::models::details::{Details, State};

/// The list of models.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "ModelList")]
pub struct List {
    pub object: &'static str,
    pub data: Vec<Model>,
    /// Codex's catalogue, for clients that send `client_version`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub models: Option<Vec<CodexModel>>,
}

/// The query of the list.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Query {
    /// Sent by Codex.
    pub client_version: Option<String>,
}

/// One model.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Model {
    pub id: String,
    pub object: &'static str,
    pub created: u64,
    /// `local`, or the name of the provider that answers.
    pub owned_by: String,
    /// The maximum of prompt and output together, in tokens, as served.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context_length: Option<u32>,
    /// vLLM's name of `context_length`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_model_len: Option<u32>,
    /// An extension of this server, like `details`.
    #[serde(flatten)]
    pub state: State,
    pub details: Details,
}

/// One model in Codex's catalogue, `ModelInfo` of codex-rs.
#[derive(Debug, Serialize, JsonSchema)]
pub struct CodexModel {
    pub slug: String,
    pub display_name: String,
    pub description: Option<String>,
    pub default_reasoning_level: Option<&'static str>,
    pub supported_reasoning_levels: Vec<ReasoningLevel>,
    pub default_reasoning_summary: &'static str,
    pub shell_type: &'static str,
    pub visibility: &'static str,
    pub supported_in_api: bool,
    /// The place in the list.
    pub priority: usize,
    /// Never set.
    pub availability_nux: Option<()>,
    /// Never set.
    pub upgrade: Option<()>,
    /// The instructions that Codex sends with its requests.
    pub base_instructions: &'static str,
    pub supports_reasoning_summaries: bool,
    pub support_verbosity: bool,
    pub default_verbosity: Option<Verbosity>,
    /// With `null` Codex sends no `apply_patch`; newer versions know only `freeform`.
    pub apply_patch_tool_type: &'static str,
    pub web_search_tool_type: &'static str,
    pub truncation_policy: TruncationPolicy,
    pub supports_parallel_tool_calls: bool,
    pub supports_image_detail_original: bool,
    pub supports_search_tool: bool,
    pub context_window: Option<u32>,
    pub max_context_window: Option<u32>,
    pub effective_context_window_percent: u32,
    pub experimental_supported_tools: [(); 0],
    pub input_modalities: &'static [&'static str],
}

/// A level of reasoning in Codex's catalogue.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "CodexReasoningLevel")]
pub struct ReasoningLevel {
    pub effort: &'static str,
    pub description: &'static str,
}

/// How much of a tool's output Codex keeps.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "CodexTruncationPolicy")]
pub struct TruncationPolicy {
    pub mode: &'static str,
    pub limit: u32,
}
