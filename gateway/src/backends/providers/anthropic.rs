//! Anthropic's Messages, as a client.

pub(super) mod events;
pub(super) mod request;

#[cfg(test)]
mod tests;
