//! Anthropic's Messages API.

pub mod events;
pub mod handler;
pub mod parse;
pub mod turns;
pub mod wire;
pub mod write;
