//! Endpoints that show prompts as models read them: tokens, text and template.

pub mod handler;
pub mod parse;
pub mod wire;
pub mod write;
