//! One file for each resource.

pub mod admin;
pub mod docs;
pub mod embeddings;
pub mod generate;
pub mod health;
pub mod messages;
pub mod metrics;
pub mod models;
pub mod prompts;
pub mod responses;
pub mod stream;
