//! Chat completions.

pub mod messages;
pub mod parse;
pub mod wire;
pub mod write;
