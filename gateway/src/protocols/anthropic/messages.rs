//! Anthropic's Messages API.

mod attribution;
mod blocks;
mod cache_control;
mod compaction;
mod context_management;
pub mod events;
pub mod handler;
pub mod parse;
mod thinking;
mod tools;
mod turns;
pub mod wire;
pub mod write;
