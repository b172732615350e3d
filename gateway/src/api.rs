//! Wire types of the client protocols: serde only.

pub mod anthropic;
pub mod openai;
pub mod rerank;
