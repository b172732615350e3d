//! Embeddings and reranking.

pub mod cohere;
pub mod handler;
pub mod parse;
pub mod rerank;
pub mod wire;
pub mod write;
