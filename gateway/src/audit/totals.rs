//! Sums over all requests that have ended since this gateway started.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use ipc_proto::generate::Usage;

use crate::inference::record::Record;

/// The sums. Their number is bounded: paths and outcomes are fixed, and all models share one sum.
#[derive(Debug, Default)]
pub struct Totals(Mutex<Sums>);

/// A snapshot of the sums.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sums {
    /// Requests by path and outcome.
    pub requests: BTreeMap<(&'static str, &'static str), u64>,
    /// Prompt tokens.
    pub prompt_tokens: u64,
    /// Prompt tokens that came from the prefix cache.
    pub cached_tokens: u64,
    /// Generated tokens.
    pub completion_tokens: u64,
}

impl Totals {
    pub(super) fn add(&self, record: &Record) {
        let mut sums = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *sums.requests.entry((record.endpoint, record.outcome.name())).or_default() += 1;
        let Usage { prompt_tokens, cached_tokens, completion_tokens, .. } = record.usage;
        sums.prompt_tokens += u64::from(prompt_tokens);
        sums.cached_tokens += u64::from(cached_tokens);
        sums.completion_tokens += u64::from(completion_tokens);
    }

    /// The current sums.
    pub fn snapshot(&self) -> Sums {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
