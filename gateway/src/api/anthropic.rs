//! Anthropic's API as its SDKs speak it (anthropic-sdk-python 2.12).

pub mod error;
pub mod events;
pub mod messages;
pub mod models;
