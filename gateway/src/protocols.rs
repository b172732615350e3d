//! The protocols that clients speak. Each wing has its wire types, its parser into the neutral form, its writer and its handlers.

pub mod anthropic;
pub mod common;
pub mod embeddings;
pub mod error;
pub mod models;
pub mod ollama;
pub mod openai;
pub mod prompts;
pub mod protocol;
