//! Ollama's API, for clients that speak no other.
//!
//! Answers are lines of JSON, one object each, or one object with `stream: false`. A failure inside a stream is a line with `error`.

pub mod catalog;
pub mod describe;
pub mod folder;
pub mod handler;
pub mod models;
pub mod parse;
pub mod pull;
pub mod wire;
pub mod write;
