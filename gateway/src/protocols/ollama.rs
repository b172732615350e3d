//! What clients that look for Ollama ask first: `GET /api/tags` and `GET /api/version`. They speak OpenAI's API after that.

use schemars::JsonSchema;
use serde::Serialize;

/// The answer of `/api/tags`.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "OllamaTags")]
#[expect(missing_docs, reason = "the names are Ollama's, and so is their meaning")]
pub struct Tags {
    pub models: Vec<Model>,
}

/// One model.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "OllamaModel")]
#[expect(missing_docs, reason = "the names are Ollama's, and so is their meaning")]
pub struct Model {
    pub name: String,
    pub model: String,
    /// RFC 3339.
    pub modified_at: String,
    /// Bytes of its weight files.
    pub size: u64,
    /// Of what Ollama's registry has under this name: of these models nothing.
    pub digest: &'static str,
    pub details: Details,
}

/// Part of [`Model`].
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "OllamaDetails")]
#[expect(missing_docs, reason = "the names are Ollama's, and so is their meaning")]
pub struct Details {
    pub parent_model: &'static str,
    pub format: &'static str,
    pub family: String,
    pub families: [String; 1],
    /// Such as `8.0B` or `134.5M`.
    pub parameter_size: String,
    pub quantization_level: String,
}

/// An error.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "OllamaError")]
pub struct Problem {
    /// One sentence for a person.
    pub error: String,
}

/// The answer of `/api/version`.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "OllamaVersion")]
pub struct Version {
    /// The Ollama whose OpenAI endpoints these are like; clients refuse older ones.
    pub version: &'static str,
}
