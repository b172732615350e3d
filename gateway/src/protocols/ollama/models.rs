//! The wire types of `/api/tags`, `/api/ps`, `/api/show` and `/api/version`.

#![expect(missing_docs, reason = "the names and their meaning are Ollama's")]

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::protocols::common::body::Body;

/// The answer of `/api/tags`.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "OllamaTags")]
pub struct Tags {
    pub models: Vec<Model>,
}

/// One model.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "OllamaModel")]
pub struct Model {
    pub name: String,
    pub model: String,
    /// RFC 3339.
    pub modified_at: String,
    /// Bytes of the weight files.
    pub size: u64,
    /// Always empty, because these models are not in Ollama's registry.
    pub digest: &'static str,
    pub details: Details,
}

/// Part of [`Model`].
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "OllamaDetails")]
pub struct Details {
    pub parent_model: &'static str,
    pub format: &'static str,
    pub family: String,
    pub families: [String; 1],
    /// For example `8.0B` or `134.5M`.
    pub parameter_size: String,
    pub quantization_level: String,
}

/// The answer of `/api/ps`.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "OllamaRunning")]
pub struct RunningModels {
    pub models: Vec<RunningModel>,
}

/// One loaded model.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "OllamaRunningModel")]
pub struct RunningModel {
    pub name: String,
    pub model: String,
    /// Bytes of its processes in memory.
    pub size: u64,
    /// The same: the memory is unified.
    pub size_vram: u64,
    pub digest: &'static str,
    pub details: Details,
    /// RFC 3339. Absent while it has requests, and if it stays.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
    /// The maximum of prompt and output together, in tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context_length: Option<u32>,
}

/// The request of `/api/show`.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(rename = "OllamaShowRequest")]
pub struct ShowRequest {
    #[serde(alias = "name")]
    pub model: String,
}

impl Body for ShowRequest {}

/// The answer of `/api/show`.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "OllamaShow")]
pub struct Show {
    /// Always empty: there is no Modelfile.
    pub modelfile: &'static str,
    /// The sampling of the model's `generation_config.json`, a line for each option.
    pub parameters: String,
    /// The chat template, in Jinja.
    pub template: String,
    pub details: Details,
    /// Keys such as `general.architecture` and `llama.context_length`.
    pub model_info: Map<String, Value>,
    /// `completion`, `tools`, `thinking` and `embedding`.
    pub capabilities: Vec<&'static str>,
    /// RFC 3339.
    pub modified_at: String,
}

/// The answer of `/api/version`.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "OllamaVersion")]
pub struct Version {
    /// The version of Ollama with equivalent endpoints. Clients reject older versions.
    pub version: &'static str,
}
