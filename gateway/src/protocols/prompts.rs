//! Prompts as models read them: tokens, text and how they came to be.

pub mod handler;
pub mod parse;
pub mod wire;
pub mod write;
