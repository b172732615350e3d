//! Chooses the worker of a model that takes a request. Pure.
//!
//! Requests with the same beginning go to the same worker, whose prefix cache holds it, unless that worker is much busier than the
//! others. No worker gets more than 1.25 times the mean. A worker that starts or ends moves no requests between the others.
//!
//! The method is rendezvous hashing with bounded loads (Mirrokni, Thorup, Zadimoghaddam 2018, "Consistent Hashing with Bounded
//! Loads").

use std::hash::{DefaultHasher, Hash, Hasher};

use ipc_proto::generate::{Prompt, Role};

/// The length of a text's beginning, in bytes.
const BEGINNING_BYTES: usize = 1024;
/// The length of a token list's beginning.
const BEGINNING_TOKENS: usize = 256;

/// A worker that could take the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Candidate {
    /// The number of the worker process.
    pub(super) incarnation: u64,
    /// Requests that it has from this gateway.
    pub(super) load: usize,
}

/// A hash that requests with the same beginning share. The beginning of a conversation is its system message and its first user
/// message, which stay the same as it grows. If the client sets a `name`, the hash depends on that instead.
pub(super) fn affinity(name: Option<&str>, cache_scope: &str, prompt: &Prompt) -> u64 {
    let mut hash = DefaultHasher::new();
    cache_scope.hash(&mut hash);
    if let Some(name) = name {
        name.hash(&mut hash);
        return hash.finish();
    }
    match prompt {
        Prompt::Text(text) | Prompt::Infill { before: text, .. } => beginning(text).hash(&mut hash),
        Prompt::Tokens(tokens) => tokens[..tokens.len().min(BEGINNING_TOKENS)].hash(&mut hash),
        Prompt::Chat(chat) => {
            chat.tools.iter().for_each(|tool| tool.name.hash(&mut hash));
            for message in &chat.messages {
                message.role.hash(&mut hash);
                beginning(&message.content.text()).hash(&mut hash);
                if message.role == Role::User {
                    break;
                }
            }
        }
    }
    hash.finish()
}

fn beginning(text: &str) -> &[u8] {
    &text.as_bytes()[..text.len().min(BEGINNING_BYTES)]
}

/// The index of the chosen worker; `None` if there are no workers.
pub(super) fn choose(affinity: u64, workers: &[Candidate]) -> Option<usize> {
    let total: usize = workers.iter().map(|worker| worker.load).sum();
    // 5/4 of the mean, with this request counted, rounded up. The least loaded worker is always below it.
    let bound = ((total + 1) * 5).div_ceil(workers.len() * 4 + usize::from(workers.is_empty()));
    let free = workers.iter().enumerate().filter(|(_, worker)| worker.load < bound);
    free.max_by_key(|(_, worker)| score(affinity, worker.incarnation)).map(|(at, _)| at)
}

fn score(affinity: u64, incarnation: u64) -> u64 {
    let mut hash = DefaultHasher::new();
    (affinity, incarnation).hash(&mut hash);
    hash.finish()
}

#[cfg(test)]
mod tests;
