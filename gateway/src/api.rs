//! Wire types of the client protocols: serde only.

pub mod admin;
pub mod anthropic;
pub mod openai;
pub mod rerank;
