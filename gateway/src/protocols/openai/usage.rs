//! Token counts.

use schemars::JsonSchema;
use serde::Serialize;

/// `usage` of chat and completions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Usage {
    /// Tokens of the prompt.
    pub prompt_tokens: u32,
    /// Tokens generated.
    pub completion_tokens: u32,
    /// Both.
    pub total_tokens: u32,
    /// Of the prompt's.
    pub prompt_tokens_details: PromptDetails,
    /// Of those generated.
    pub completion_tokens_details: CompletionDetails,
}

/// Part of [`Usage`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub struct CompletionDetails {
    /// Tokens of what the model thought.
    pub reasoning_tokens: u32,
}

/// Part of [`Usage`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub struct PromptDetails {
    /// Tokens that came from the prefix cache.
    pub cached_tokens: u32,
}

/// Counts that all differ, for tests of writers.
#[cfg(test)]
pub(crate) const TEST_COUNTS: ipc_proto::generate::Usage = ipc_proto::generate::Usage {
    prompt_tokens: 7,
    cached_tokens: 2,
    cache_written_tokens: 4,
    completion_tokens: 5,
    reasoning_tokens: 3,
};
