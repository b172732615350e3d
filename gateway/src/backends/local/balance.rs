//! Which of a model's workers takes a request. Pure.
//!
//! Requests that begin alike go to the same worker, whose prefix cache knows their beginning, as long as it is not much
//! busier than the others (Mirrokni, Thorup, Zadimoghaddam 2018, "Consistent Hashing with Bounded Loads", over rendezvous
//! hashing): no worker gets more than 1.25 times the mean. A worker that comes or goes moves no others' requests.

use std::hash::{DefaultHasher, Hash, Hasher};

use ipc_proto::generate::{Prompt, Role};

/// Bytes of a text that count as its beginning.
const BEGINNING_BYTES: usize = 1024;
/// Tokens that do.
const BEGINNING_TOKENS: usize = 256;

/// A worker that could take it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Candidate {
    /// Its number.
    pub(super) incarnation: u64,
    /// Requests it has from here.
    pub(super) load: usize,
}

/// What requests have in common that begin alike: for a conversation the system's words and the first of the user's,
/// which stay as it grows; or the `name` that the client gives them.
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

/// The index of the one that takes it; `None` where there is none.
pub(super) fn choose(affinity: u64, workers: &[Candidate]) -> Option<usize> {
    let total: usize = workers.iter().map(|worker| worker.load).sum();
    // 5/4 of the mean with this request counted, rounded up: always more than the least loaded one has.
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
