//! `POST /v2/embed` for Cohere's clients.

pub mod parse;
pub mod wire;
pub mod write;
