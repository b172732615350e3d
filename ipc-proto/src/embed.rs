//! Requests to encoder models, and their results: embeddings, or relevance scores. Contains no vendor's field names.

use serde::{Deserialize, Serialize};

use crate::worker::Capacity;

/// Texts to embed.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct EmbedRequest {
    /// The texts. Each gets a vector of its own.
    pub inputs: Vec<Input>,
    /// Truncates each vector to this number of dimensions and normalises it again. `None` keeps all. Only for models that were
    /// trained for it.
    pub dimensions: Option<u32>,
    /// Whether inputs that are too long are cut at their end. Otherwise they are an error.
    pub truncate: bool,
    /// The maximum number of tokens of each input, special tokens included, if it is below the model's.
    pub max_tokens: Option<u32>,
    /// The name of the model's prompt to put before each text. `None` takes the model's default prompt, if any.
    pub prompt_name: Option<String>,
    /// Names of prompts for the texts' purpose, the best first. Without `prompt_name` the first that the model has and that is not
    /// empty is used. If all that it has are empty, there is no prompt; if it has none of them, its default prompt is used.
    pub prompt_candidates: Vec<String>,
}

/// One text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Input {
    /// Text, tokenised with the model's special tokens.
    Text(String),
    /// Token ids, used unchanged.
    Tokens(Vec<u32>),
}

/// The vectors of the texts.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Embeddings {
    /// One for each input, in order. All have the same length.
    pub vectors: Vec<Vec<f32>>,
    /// The number of processed tokens.
    pub tokens: u64,
    /// The remaining capacity after this request.
    pub capacity: Capacity,
}

/// Documents to score against a query.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RerankRequest {
    /// The search query.
    pub query: String,
    /// The documents to score.
    pub documents: Vec<String>,
    /// The maximum number of tokens of each document; `None` for all.
    pub max_document_tokens: Option<u32>,
    /// Whether pairs that are too long are cut, the longer text first. Otherwise they are an error.
    pub truncate: bool,
}

/// The relevance of the documents.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Scores {
    /// One for each document, in order, between 0 and 1: the sigmoid of the model's logit.
    pub scores: Vec<f32>,
    /// The number of processed tokens.
    pub tokens: u64,
    /// The remaining capacity after this request.
    pub capacity: Capacity,
}
