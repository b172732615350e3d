//! The settings of a model.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::generate::Priority;
use crate::{Error, Result, formats};

/// A model's settings. `None` leaves a choice to the supervisor or the worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct ModelSettings {
    /// Other names of the model.
    pub aliases: Vec<String>,
    /// The maximum of prompt and output together, in tokens. The model's own maximum is the upper limit.
    pub context: Option<u32>,
    /// Memory for the KV cache of one worker, in MiB.
    pub kv_mib: Option<u32>,
    /// The maximum number of requests that one worker generates at the same time. Further ones wait.
    pub max_batch: Option<u32>,
    /// The model is neither evicted to make room nor unloaded when idle.
    pub pin: bool,
    /// The model is loaded when the server starts.
    pub preload: bool,
    /// Idle seconds after which the model is unloaded. `None` uses the global setting.
    pub idle_seconds: Option<u32>,
    /// Models of low priority are evicted first, models of high priority are loaded first.
    pub priority: Priority,
    /// The number of worker processes, 1 to 16.
    pub replicas: u32,
    /// Draft tokens per step of a request, 0 to 16.
    pub draft_tokens: u32,
    /// The id of a smaller model with the same vocabulary that proposes drafts. `None` takes them from the request's own text. With a
    /// draft model the default of `draft_tokens` is 4.
    pub draft_model: Option<String>,
    /// The folder of a LoRA, DoRA or full adapter to apply to the model.
    pub adapter: Option<PathBuf>,
    /// The format of function calls in the output. `None` detects it from the chat template.
    pub tool_format: Option<String>,
    /// The format of reasoning in the output. `None` detects it from the chat template.
    pub reasoning_format: Option<String>,
    /// Whether control tokens in clients' text are tokenised as plain text, unless a request sets it.
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
    /// Checks the ranges of all values.
    ///
    /// # Errors
    /// Names the first invalid value.
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
        check_format("tool_format", self.tool_format.as_deref(), &formats::TOOLS)?;
        check_format("reasoning_format", self.reasoning_format.as_deref(), &formats::REASONING)?;
        let is_invalid = |alias: &String| alias.is_empty() || alias.len() > 256;
        if self.aliases.iter().any(is_invalid) {
            return Err(Error::invalid("aliases", "aliases have 1 to 256 bytes"));
        }
        Ok(())
    }

    /// Checks the settings of a model whose backend gives it these aliases. Most settings are those of workers.
    ///
    /// # Errors
    /// Names a setting that would have no effect.
    pub fn check_for_backend(&self, aliases: &[String]) -> Result<()> {
        let refused = |name: &str, why: &str| {
            Err(Error::invalid(name, format!("{name} has no effect on the model of a backend: {why}")))
        };
        if let Some(name) = self.waiting_for_restart(&Self::default()).first() {
            return refused(name, "set it by an argument of its program in config.toml");
        }
        if self.replicas != 1 {
            return refused("replicas", "its program runs once");
        }
        if self.aliases != aliases {
            return refused("aliases", "set its alias in config.toml, and restart the server");
        }
        Ok(())
    }

    /// The names of the settings that differ from `before` and count only from the next start of a worker.
    pub fn waiting_for_restart(&self, before: &Self) -> Vec<&'static str> {
        let differing = [
            ("context", self.context != before.context),
            ("kv_mib", self.kv_mib != before.kv_mib),
            ("max_batch", self.max_batch != before.max_batch),
            ("draft_tokens", self.draft_tokens != before.draft_tokens),
            ("draft_model", self.draft_model != before.draft_model),
            ("adapter", self.adapter != before.adapter),
            ("tool_format", self.tool_format != before.tool_format),
            ("reasoning_format", self.reasoning_format != before.reasoning_format),
            ("sanitize_control_tokens", self.sanitize_control_tokens != before.sanitize_control_tokens),
        ];
        differing.into_iter().filter_map(|(name, differs)| differs.then_some(name)).collect()
    }
}

fn check_format(name: &str, value: Option<&str>, known: &[&str]) -> Result<()> {
    match value {
        Some(other) if !known.contains(&other) => {
            let text = format!("{name} must be one of {}, not \"{other}\"", known.join(", "));
            Err(Error::invalid(name, text))
        }
        _ => Ok(()),
    }
}

/// How long an idle model stays loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum KeepAlive {
    /// As set for the model.
    #[default]
    Default,
    /// For this number of seconds. 0 unloads the model as soon as nothing runs.
    Seconds(u32),
    /// Until the model is unloaded, or evicted to make room.
    Forever,
}
