//! OpenAI's chat completions and completions, as a client.

pub(super) mod events;
pub(super) mod request;

#[cfg(test)]
pub(super) mod tests;
