//! A memo of tokenised prompts. The choices of one request arrive as separate requests with the same prompt; the memo lets the
//! worker render and tokenise that prompt once.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use ipc_proto::generate::Prompt;

use super::output_parser::OutputFormat;

/// The most prompts in the memo. When more requests with several choices overlap, some prompts are tokenised again.
const MAX_ENTRIES: usize = 4;
/// How long an entry is valid. Choices arrive close together, and a template may contain the current time.
const LIFETIME: Duration = Duration::from_secs(1);

/// The tokens of a prompt, and the format of the output that follows it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are self-evident")]
pub struct TokenizedPrompt {
    pub tokens: Vec<u32>,
    pub output_format: OutputFormat,
}

/// Recently tokenised prompts, the newest last.
#[derive(Debug, Default)]
pub struct PromptMemo(Mutex<VecDeque<MemoEntry>>);

#[derive(Debug)]
struct MemoEntry {
    at: Instant,
    /// Clients in another scope must not learn from the response time that a prompt was used before.
    scope: String,
    prompt: Prompt,
    tokenized: TokenizedPrompt,
}

impl PromptMemo {
    /// The tokens of `prompt` from a recent request in `scope`, or else from `tokenize`.
    ///
    /// # Errors
    /// Those of `tokenize`. The memo does not keep them.
    pub fn get_or_tokenize<E>(
        &self,
        scope: &str,
        prompt: &Prompt,
        tokenize: impl FnOnce() -> Result<TokenizedPrompt, E>,
    ) -> Result<TokenizedPrompt, E> {
        self.get_or_tokenize_at(Instant::now(), (scope, prompt), tokenize)
    }

    fn get_or_tokenize_at<E>(
        &self,
        now: Instant,
        (scope, prompt): (&str, &Prompt),
        tokenize: impl FnOnce() -> Result<TokenizedPrompt, E>,
    ) -> Result<TokenizedPrompt, E> {
        if let Some(tokenized) = self.get(now, scope, prompt) {
            return Ok(tokenized);
        }
        let tokenized = tokenize()?;
        let entry = MemoEntry {
            at: now,
            scope: scope.to_owned(),
            prompt: prompt.clone(),
            tokenized: tokenized.clone(),
        };
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        entries.push_back(entry);
        if entries.len() > MAX_ENTRIES {
            entries.pop_front();
        }
        Ok(tokenized)
    }

    fn get(&self, now: Instant, scope: &str, prompt: &Prompt) -> Option<TokenizedPrompt> {
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        entries.retain(|entry| now.saturating_duration_since(entry.at) < LIFETIME);
        let entry = entries.iter().find(|entry| entry.scope == scope && entry.prompt == *prompt)?;
        Some(entry.tokenized.clone())
    }
}

#[cfg(test)]
mod tests;
