//! Anthropic's shapes (<https://docs.anthropic.com/en/api>).

pub mod error;
