//! Typed decisions: probabilities of given answers to questions about an input.
//!
//! Nothing is generated. Each possible answer is appended to the conversation as the beginning of the model's turn, and its tokens are
//! scored. All answers of all questions share the conversation in the prefix cache.

pub mod handler;
pub mod parse;
pub mod probabilities;
pub mod questions;
pub mod scoring;
pub mod wire;
