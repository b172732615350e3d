//! Token counts.

#![expect(missing_docs, reason = "the names and their meaning are OpenAI's")]

use schemars::JsonSchema;
use serde::Serialize;

/// `usage` of chat completions and completions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Usage {
    pub prompt_tokens: u32,
    pub completion_tokens: u32,
    pub total_tokens: u32,
    pub prompt_tokens_details: PromptDetails,
    /// Absent before the end of a stream, where the number of reasoning tokens is unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completion_tokens_details: Option<CompletionDetails>,
}

/// Part of [`Usage`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub struct CompletionDetails {
    pub reasoning_tokens: u32,
}

/// Part of [`Usage`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub struct PromptDetails {
    /// Prompt tokens from the prefix cache.
    pub cached_tokens: u32,
}

/// Distinct counts for the tests of the writers.
#[cfg(test)]
pub(crate) const TEST_COUNTS: ipc_proto::generate::Usage = ipc_proto::generate::Usage {
    prompt_tokens: 7,
    cached_tokens: 2,
    cache_written_tokens: 4,
    completion_tokens: 5,
    reasoning_tokens: 3,
};
