//! `GET /api/tags` and `GET /api/version`, by which clients detect Ollama. Afterwards they use OpenAI's API.

#![expect(missing_docs, reason = "the names and their meaning are Ollama's")]

use schemars::JsonSchema;
use serde::Serialize;

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

/// An error.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "OllamaError")]
pub struct Problem {
    /// One sentence for users.
    pub error: String,
}

/// The answer of `/api/version`.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "OllamaVersion")]
pub struct Version {
    /// The version of Ollama with equivalent OpenAI endpoints. Clients reject older versions.
    pub version: &'static str,
}
