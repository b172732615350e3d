//! The client protocols. Each one has wire types, a parser into the neutral form, a writer and handlers.

pub mod anthropic;
pub mod common;
pub mod embeddings;
pub mod error;
pub mod lmstudio;
pub mod models;
pub mod ollama;
pub mod openai;
pub mod prompts;
pub mod protocol;
