//! What tests of several protocols begin with.

use ipc_proto::generate::Usage;

/// Counts that are all different.
pub(super) const COUNTS: Usage = Usage {
    prompt_tokens: 7,
    cached_tokens: 2,
    cache_written_tokens: 4,
    completion_tokens: 5,
    reasoning_tokens: 3,
};
