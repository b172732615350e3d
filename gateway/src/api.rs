//! Wire types of the client protocols: serde only.

pub mod admin;
pub mod anthropic;
pub mod foreign;
pub mod ollama;
pub mod openai;
pub mod prompts;
pub mod rerank;
