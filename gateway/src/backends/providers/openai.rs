//! OpenAI's chat completions, completions and Responses, as a client.

pub(super) mod events;
pub(super) mod request;
pub(super) mod responses;

#[cfg(test)]
pub(super) mod tests;
