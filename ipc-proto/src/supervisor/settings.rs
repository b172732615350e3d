//! What can be set for a model.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::generate::Priority;
use crate::{Error, Result};

/// A model's settings. `None` leaves a choice to the supervisor or the worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct ModelSettings {
    /// Other names that the model answers to.
    pub aliases: Vec<String>,
    /// Prompt and output together, in tokens, at most; no more than the model's own.
    pub context: Option<u32>,
    /// Memory for the KV cache of one worker.
    pub kv_mib: Option<u32>,
    /// Requests that one worker generates for at once; more wait.
    pub max_batch: Option<u32>,
    /// It is not evicted to make room, and does not expire.
    pub pin: bool,
    /// It is loaded when the server starts.
    pub preload: bool,
    /// Seconds of idleness after which it is unloaded; `None`: as set for all.
    pub idle_seconds: Option<u32>,
    /// Who is evicted first (low) and loaded first (high).
    pub priority: Priority,
    /// Worker processes; 1 to 16.
    pub replicas: u32,
    /// Tokens to guess ahead for each request; 0 to 16.
    pub draft_tokens: u32,
    /// The id of a smaller model of the same vocabulary that makes these guesses (`None`: the request's own text), 4 where
    /// their number is not set.
    pub draft_model: Option<String>,
    /// The folder of a LoRA, DoRA or full adapter to lay over the model.
    pub adapter: Option<PathBuf>,
    /// How the model writes calls of functions; `None`: as its chat template shows.
    pub tool_format: Option<String>,
    /// How it sets its thoughts apart; likewise.
    pub reasoning_format: Option<String>,
    /// Control tokens in clients' text are read as text where a request does not say otherwise.
    pub sanitize_control_tokens: bool,
}

impl Default for ModelSettings {
    fn default() -> Self {
        Self {
            aliases: Vec::new(),
            context: None,
            kv_mib: None,
            max_batch: None,
            pin: false,
            preload: false,
            idle_seconds: None,
            priority: Priority::Normal,
            replicas: 1,
            draft_tokens: 0,
            draft_model: None,
            adapter: None,
            tool_format: None,
            reasoning_format: None,
            sanitize_control_tokens: false,
        }
    }
}

impl ModelSettings {
    /// Whether the values are ones that a worker takes.
    ///
    /// # Errors
    /// Naming the first that is not.
    pub fn check(&self) -> Result<()> {
        let within = |name: &str, value: Option<u32>, range: std::ops::RangeInclusive<u32>| match value {
            Some(value) if !range.contains(&value) => {
                let text =
                    format!("{name} must lie between {} and {}, not {value}", range.start(), range.end());
                Err(Error::invalid(name, text))
            }
            _ => Ok(()),
        };
        within("context", self.context, 16..=u32::MAX)?;
        within("kv_mib", self.kv_mib, 1..=u32::MAX)?;
        within("max_batch", self.max_batch, 1..=1024)?;
        within("replicas", Some(self.replicas), 1..=16)?;
        within("draft_tokens", Some(self.draft_tokens), 0..=16)?;
        for (name, value) in
            [("tool_format", &self.tool_format), ("reasoning_format", &self.reasoning_format)]
        {
            let word = |text: &String| text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
            if !value.as_ref().is_none_or(word) {
                return Err(Error::invalid(name, format!("{name} is one word")));
            }
        }
        let bad = |alias: &&String| alias.is_empty() || alias.len() > 256;
        match self.aliases.iter().find(bad) {
            Some(_) => Err(Error::invalid("aliases", "aliases have 1 to 256 bytes")),
            None => Ok(()),
        }
    }
}

/// How long an idle model stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum KeepAlive {
    /// As its settings say.
    #[default]
    Default,
    /// For so many seconds; 0 unloads it as soon as nothing runs.
    Seconds(u32),
    /// Until it is unloaded, or evicted to make room.
    Forever,
}
