//! OpenAI's API as its SDKs speak it (openai-python 3.54).

pub mod chat;
pub mod completions;
pub mod embeddings;
pub mod error;
pub mod models;
pub mod responses;
pub mod usage;
