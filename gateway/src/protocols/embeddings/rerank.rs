//! `POST /v1/rerank` and `/v2/rerank` for clients of Cohere, Jina and Text Embeddings Inference (TEI).

#![expect(missing_docs, reason = "the names and their meaning are Cohere's, Jina's and TEI's")]

use ipc_proto::worker::ModelKind;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::protocols::common::body::Body;
use crate::protocols::common::keep_alive::KeepAlive;
use crate::protocols::common::model_choice::NamesModel;
use crate::protocols::common::token_limit::TokenLimit;
use crate::protocols::common::unsupported::{NotInEmbeddings, Refused};
use crate::protocols::embeddings::wire::Usage;

/// The request. `truncate`, `timeout` and `keep_alive` are extensions of this server. Fields of type [`Value`] are parsed only to
/// refuse them.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(rename = "RerankRequest")]
pub struct Request {
    /// Optional if only one model can answer.
    pub model: Option<String>,
    pub query: String,
    pub documents: Option<Vec<Document>>,
    /// TEI's name of `documents`. The answer then has TEI's form.
    pub texts: Option<Vec<String>>,
    pub top_n: Option<usize>,
    pub return_documents: Option<bool>,
    /// TEI's name of `return_documents`.
    pub return_text: Option<bool>,
    /// Truncates pairs that are too long instead of refusing them.
    pub truncate: Option<bool>,
    /// The time until an idle model is unloaded.
    pub keep_alive: Option<KeepAlive>,
    /// Time limit of the request in seconds.
    pub timeout: Option<f64>,
    /// 0 is no limit.
    pub max_tokens_per_doc: Option<TokenLimit>,
    pub rank_fields: Option<Value>,
    pub max_chunks_per_doc: Option<Value>,
    pub truncate_prompt_tokens: Option<Value>,
    pub raw_scores: Option<Value>,
    pub truncation_direction: Option<Value>,
    #[serde(flatten)]
    pub unsupported: Refused<NotInEmbeddings>,
}

impl Body for Request {}

impl NamesModel for Request {
    const KIND: ModelKind = ModelKind::Rerank;

    fn model_mut(&mut self) -> &mut Option<String> {
        &mut self.model
    }
}

/// A document: a string, or an object with one.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(rename = "RerankDocument")]
#[serde(untagged, expecting = "expected a string or an object with a text")]
pub enum Document {
    Text(String),
    Object { text: String },
}

/// The score of one text, in TEI's form.
#[derive(Debug, Serialize, JsonSchema)]
pub struct TeiRank {
    pub index: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    pub score: f32,
}

/// The response. The most relevant document comes first.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "RerankResponse")]
pub struct Response<'a> {
    pub id: &'a str,
    pub object: &'static str,
    pub model: &'a str,
    pub results: Vec<Ranked>,
    pub usage: Usage,
    pub meta: Meta,
}

/// Token counts for Cohere's clients.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "RerankMeta")]
pub struct Meta {
    pub api_version: ApiVersion,
    pub tokens: Tokens,
}

/// Part of [`Meta`].
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "RerankApiVersion")]
pub struct ApiVersion {
    pub version: &'static str,
}

/// Part of [`Meta`].
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "RerankTokens")]
pub struct Tokens {
    pub input_tokens: u64,
}

/// The score of one document.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "RankedDocument")]
pub struct Ranked {
    pub index: usize,
    pub relevance_score: f32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub document: Option<Shown>,
}

/// A returned document.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "ShownDocument")]
pub struct Shown {
    pub text: String,
}
