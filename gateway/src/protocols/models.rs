//! Lists of models in the form of each protocol.

pub mod catalogue;
pub mod codex;
pub mod details;
pub mod handler;
pub mod write;
