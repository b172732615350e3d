//! OpenAI's protocols: chat completions, completions and Responses.

pub mod chat;
pub mod choices;
pub mod completions;
pub mod decisions;
pub mod error;
pub mod fields;
pub mod handler;
pub mod models;
pub mod output_format;
pub mod responses;
pub mod tools;
pub mod usage;
pub mod write;
