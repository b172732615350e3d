//! What is asked of a model that reads texts and generates none, and what comes back: vectors, or how relevant documents
//! are to a query. Free of any vendor's field names.

use serde::{Deserialize, Serialize};

use crate::worker::Capacity;

/// Texts to be turned into vectors.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct EmbedRequest {
    /// The texts, each for itself.
    pub inputs: Vec<Input>,
    /// So many numbers of each vector, brought to length 1 again; `None`: all. Only of models that were trained for it.
    pub dimensions: Option<u32>,
    /// Longer inputs than the model takes are cut at their end; else they are an error.
    pub truncate: bool,
    /// Which of the model's own prompts goes before each text; `None`: the one that the model has as its default, if any.
    pub prompt_name: Option<String>,
}

/// One text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Input {
    /// As text: tokenised with the model's special tokens.
    Text(String),
    /// As token ids, taken as they are.
    Tokens(Vec<u32>),
}

/// What became of the texts.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Embeddings {
    /// One for each input, in order, all of one length.
    pub vectors: Vec<Vec<f32>>,
    /// Tokens that were read.
    pub tokens: u64,
    /// The remaining capacity, now that this request is done.
    pub capacity: Capacity,
}

/// Documents to be compared with a query.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RerankRequest {
    /// What is looked for.
    pub query: String,
    /// Where.
    pub documents: Vec<String>,
    /// Of each document so many tokens are read at most; `None`: all.
    pub max_document_tokens: Option<u32>,
    /// Longer pairs than the model takes are cut, the longer of both first; else they are an error.
    pub truncate: bool,
}

/// How relevant the documents are.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Scores {
    /// One for each document, in order, between 0 and 1: the sigmoid of what the model says.
    pub scores: Vec<f32>,
    /// Tokens that were read.
    pub tokens: u64,
    /// The remaining capacity, now that this request is done.
    pub capacity: Capacity,
}
