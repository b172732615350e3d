//! Between neutral events and the client protocols' answers. Pure.

pub mod admin;
pub mod anthropic;
pub mod embeddings;
pub mod field_names;
pub mod limits;
pub mod metrics;
pub mod models;
pub mod openai;
pub mod prompts;
pub mod responses;
pub mod sse;
pub mod whole;
pub mod wire;

#[cfg(test)]
mod tests;
