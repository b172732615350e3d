//! Prompts that were read a moment ago: the choices of one request come one after another with the same prompt, which is
//! rendered and tokenised once.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use ipc_proto::generate::Prompt;

use super::reading::Manner;

/// Prompts that are remembered; with more requests for several choices at once some are read again.
const MOST: usize = 4;
/// Choices follow each other closely, and a template may tell the time: nothing older counts.
const MOMENT: Duration = Duration::from_secs(1);

/// A prompt's tokens, and how what follows is read.
pub type Read = (Vec<u32>, Manner);

/// What was read last, the latest last.
#[derive(Debug, Default)]
pub struct Recent(Mutex<VecDeque<Entry>>);

#[derive(Debug)]
struct Entry {
    at: Instant,
    /// Whose it is: that somebody else asked the same shall not be seen by the time it takes.
    scope: String,
    prompt: Prompt,
    read: Read,
}

impl Recent {
    /// What `prompt` was read as in `scope` a moment ago, or is by `anew`.
    ///
    /// # Errors
    /// Those of `anew`; they are not remembered.
    pub fn read<E>(
        &self,
        scope: &str,
        prompt: &Prompt,
        anew: impl FnOnce() -> Result<Read, E>,
    ) -> Result<Read, E> {
        self.read_at(Instant::now(), (scope, prompt), anew)
    }

    fn read_at<E>(
        &self,
        now: Instant,
        (scope, prompt): (&str, &Prompt),
        anew: impl FnOnce() -> Result<Read, E>,
    ) -> Result<Read, E> {
        if let Some(read) = self.known(now, scope, prompt) {
            return Ok(read);
        }
        let read = anew()?;
        let entry = Entry { at: now, scope: scope.to_owned(), prompt: prompt.clone(), read: read.clone() };
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        entries.push_back(entry);
        if entries.len() > MOST {
            entries.pop_front();
        }
        Ok(read)
    }

    fn known(&self, now: Instant, scope: &str, prompt: &Prompt) -> Option<Read> {
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        entries.retain(|entry| now.saturating_duration_since(entry.at) < MOMENT);
        let same = |entry: &&Entry| entry.scope == scope && entry.prompt == *prompt;
        entries.iter().find(same).map(|entry| entry.read.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prompt_is_read_once_in_a_moment_and_a_scope() {
        let recent = Recent::default();
        let begun = Instant::now();
        // Whether it was read anew.
        let ask = |ms: u64, scope: &str, text: &str| {
            let mut anew = false;
            let read = recent.read_at(
                begun + Duration::from_millis(ms),
                (scope, &Prompt::Text(text.into())),
                || {
                    anew = true;
                    Ok::<_, ()>((vec![text.len() as u32], Manner::default()))
                },
            );
            assert_eq!(read, Ok((vec![text.len() as u32], Manner::default())));
            anew
        };
        assert!(ask(0, "a", "one") && !ask(1, "a", "one") && !ask(999, "a", "one"));
        assert!(ask(999, "b", "one"), "another's");
        assert!(ask(1000, "a", "one"), "too long ago");
        for text in ["two", "three", "four"] {
            assert!(ask(1001, "a", text) && !ask(1002, "a", text));
        }
        assert!(
            ask(1003, "a", "five") && ask(1004, "a", "one") && !ask(1005, "a", "five"),
            "the oldest goes"
        );
        let failed = |what| recent.read("a", &Prompt::Text("x".into()), || Err(what));
        assert_eq!((failed(1), failed(2)), (Err(1), Err(2)));
    }
}
