//! OpenAI's Responses API.

pub mod answer;
mod calls;
pub mod compaction;
pub mod create;
pub mod events;
pub mod handler;
pub mod items;
pub mod parse;
pub mod sealed;
pub mod socket;
pub mod store;
pub mod tools;
mod updates;
pub mod wire;
pub mod write;
