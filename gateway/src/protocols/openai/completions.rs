//! Completions.

pub mod parse;
pub mod wire;
pub mod write;
