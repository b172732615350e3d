//! Parses `thinking` and the effort. Pure.

use ipc_proto::{Error, Result};

use crate::protocols::anthropic::messages::wire::Thinking;

/// Minimum reasoning budget in tokens.
const MIN_BUDGET: u32 = 1024;

/// The reasoning that a request wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Reasoning {
    /// Whether the model reasons before the answer.
    pub(super) enabled: bool,
    /// Maximum number of reasoning tokens.
    pub(super) budget: Option<u32>,
    /// Whether to omit the reasoning from the answer.
    pub(super) hidden: bool,
}

/// Parses `thinking`. `max_tokens` is `None` where nothing is generated.
///
/// # Errors
/// Returns an error that names the invalid field.
pub(super) fn parse(thinking: Option<&Thinking>, max_tokens: Option<u32>) -> Result<Reasoning> {
    let Some(thinking) = thinking else { return Ok(Reasoning::default()) };
    let enabled = match &*thinking.r#type {
        "enabled" | "adaptive" => true,
        // Between calls, models here write plain text.
        "disabled" | "between_tools" => false,
        _ => {
            return Err(wrong(
                "type",
                "must be \"enabled\", \"disabled\", \"adaptive\" or \"between_tools\"",
            ));
        }
    };
    let hidden = match thinking.display.as_deref() {
        // No model here writes summaries, so the reasoning is returned unchanged.
        None | Some("summarized") => false,
        // Nor does one write updates in place of the reasoning.
        Some("omitted" | "updates") => true,
        Some(_) => return Err(wrong("display", "must be \"summarized\", \"omitted\" or \"updates\"")),
    };
    let budget = thinking.budget_tokens.filter(|_| thinking.r#type == "enabled");
    match budget {
        None if thinking.r#type == "enabled" && max_tokens.is_some() => {
            Err(wrong("budget_tokens", "is missing"))
        }
        Some(budget) if budget < MIN_BUDGET => {
            Err(wrong("budget_tokens", &format!("must be at least {MIN_BUDGET}")))
        }
        Some(budget) if max_tokens.is_some_and(|limit| budget >= limit) => {
            Err(wrong("budget_tokens", "must be less than max_tokens"))
        }
        budget => Ok(Reasoning { enabled, budget, hidden }),
    }
}

fn wrong(name: &str, text: &str) -> Error {
    let name = format!("thinking.{name}");
    Error::invalid(&name, format!("{name} {text}"))
}

/// Checks an effort.
///
/// # Errors
/// Returns an error that names the field `name`.
pub(super) fn check_effort(name: &str, effort: Option<&str>) -> Result<()> {
    match effort {
        None | Some("low" | "medium" | "high" | "xhigh" | "max") => Ok(()),
        Some(_) => {
            let text = format!("{name} must be \"low\", \"medium\", \"high\", \"xhigh\" or \"max\"");
            Err(Error::invalid(name, text))
        }
    }
}
