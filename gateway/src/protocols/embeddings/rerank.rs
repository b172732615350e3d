//! `POST /v1/rerank` and `/v2/rerank`, as Cohere's and Jina's clients speak it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::protocols::common::body::Body;
use crate::protocols::common::keep_alive::KeepAlive;
use crate::protocols::embeddings::wire::Usage;

/// The request. `truncate`, `timeout` and `keep_alive` are ours; fields of type [`Value`] are looked at only to refuse them.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(rename = "RerankRequest")]
#[expect(missing_docs, reason = "the names are Cohere's and Jina's, and so is their meaning")]
pub struct Request {
    pub model: String,
    pub query: String,
    pub documents: Vec<Document>,
    pub top_n: Option<usize>,
    pub return_documents: Option<bool>,
    /// Cuts pairs that are too long instead of refusing them.
    pub truncate: Option<bool>,
    /// How long the idle model stays.
    pub keep_alive: Option<KeepAlive>,
    /// Seconds after which the request fails.
    pub timeout: Option<f64>,
    pub max_tokens_per_doc: Option<u32>,
    pub rank_fields: Option<Value>,
    pub max_chunks_per_doc: Option<Value>,
}

impl Body for Request {}

/// A document: a string, or an object with one.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(rename = "RerankDocument")]
#[serde(untagged)]
pub enum Document {
    /// As it is.
    Text(String),
    /// In an object.
    Object {
        /// It.
        text: String,
    },
}

/// The answer, the most relevant first.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "RerankResponse")]
#[expect(missing_docs, reason = "the names are Cohere's and Jina's, and so is their meaning")]
pub struct Response<'a> {
    pub id: &'a str,
    pub object: &'static str,
    pub model: &'a str,
    pub results: Vec<Ranked>,
    pub usage: Usage,
    pub meta: Meta,
}

/// Where Cohere's clients look for what it took.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "RerankMeta")]
#[expect(missing_docs, reason = "the names are Cohere's, and so is their meaning")]
pub struct Meta {
    pub api_version: ApiVersion,
    pub tokens: Tokens,
}

/// Part of [`Meta`].
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "RerankApiVersion")]
#[expect(missing_docs, reason = "the names are Cohere's, and so is their meaning")]
pub struct ApiVersion {
    pub version: &'static str,
}

/// Part of [`Meta`].
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "RerankTokens")]
#[expect(missing_docs, reason = "the names are Cohere's, and so is their meaning")]
pub struct Tokens {
    pub input_tokens: u64,
}

/// A document's place.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "RankedDocument")]
#[expect(missing_docs, reason = "the names are Cohere's and Jina's, and so is their meaning")]
pub struct Ranked {
    pub index: usize,
    pub relevance_score: f32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub document: Option<Shown>,
}

/// A document that is given back.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "ShownDocument")]
pub struct Shown {
    /// Its text.
    pub text: String,
}
