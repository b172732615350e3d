//! Anthropic's protocol.

pub mod error;
pub mod messages;
pub mod models;
