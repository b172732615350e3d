//! How a client's wish for more or less thinking reaches a model: as variables of its chat template.

use ipc_proto::{Error, Result};
use serde_json::{Map, Value};

use crate::api::openai::chat::{self, Effort};

/// What a client wishes, whatever its protocol calls it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Wish<'a> {
    /// Whether the model thinks first; `None` leaves it to the template.
    pub(super) thinks: Option<bool>,
    /// How hard: `minimal` to `max`.
    pub(super) effort: Option<&'a str>,
    /// For how many tokens, at most.
    pub(super) budget: Option<u32>,
    /// Whether what it thinks is not to be told.
    pub(super) hidden: bool,
}

impl<'a> Wish<'a> {
    /// What a word of OpenAI's means, the same in all its protocols; `None` where it is none of them.
    pub(super) fn of_effort(effort: Option<&'a str>) -> Option<Self> {
        match effort {
            None => Some(Self::default()),
            Some("none") => Some(Self { thinks: Some(false), ..Self::default() }),
            Some("minimal" | "low" | "medium" | "high" | "xhigh" | "max") => {
                Some(Self { thinks: Some(true), effort, ..Self::default() })
            }
            Some(_) => None,
        }
    }

    /// What a chat request says in the ways of OpenAI, OpenRouter, Qwen and vLLM.
    pub(super) fn of_chat(request: &chat::Request) -> Result<Self> {
        let own = request.reasoning.clone().unwrap_or_default();
        let effort = request.reasoning_effort.or(own.effort).map(word);
        let mut wish = Self::of_effort(effort).unwrap_or_default();
        wish.thinks = wish.thinks.or(own.enabled);
        let budgets = [
            ("thinking_budget", request.thinking_budget),
            ("thinking_token_budget", request.thinking_token_budget),
            ("reasoning.max_tokens", own.max_tokens),
        ];
        if let Some((name, _)) = budgets.iter().find(|(_, budget)| *budget == Some(0)) {
            let text = format!("{name} must be at least 1; reasoning_effort \"none\" turns thinking off");
            return Err(Error::invalid(*name, text));
        }
        let budget = budgets.iter().find_map(|(_, budget)| *budget);
        wish.budget = budget.filter(|_| wish.thinks != Some(false));
        wish.hidden = request.include_reasoning == Some(false) || own.exclude == Some(true);
        Ok(wish)
    }

    /// The variables, and the client's own, which win. Families name them differently; a template looks only at its own
    /// names.
    pub(super) fn template_kwargs(self, own: Option<Map<String, Value>>) -> Option<String> {
        let mut kwargs = Map::new();
        if let Some(thinks) = self.thinks {
            kwargs.insert("enable_thinking".into(), thinks.into());
            kwargs.insert("thinking".into(), thinks.into());
        }
        if let Some(budget) = self.budget {
            kwargs.insert("thinking_budget".into(), budget.into());
        }
        // gpt-oss knows three.
        let effort = self.effort.map(|effort| match effort {
            "minimal" | "low" => "low",
            "medium" => "medium",
            _ => "high",
        });
        if let Some(effort) = effort {
            kwargs.insert("reasoning_effort".into(), effort.into());
        }
        kwargs.extend(own.unwrap_or_default());
        if kwargs.is_empty() { None } else { Some(Value::Object(kwargs).to_string()) }
    }
}

fn word(effort: Effort) -> &'static str {
    match effort {
        Effort::None => "none",
        Effort::Minimal => "minimal",
        Effort::Low => "low",
        Effort::Medium => "medium",
        Effort::High => "high",
        Effort::Xhigh => "xhigh",
        Effort::Max => "max",
    }
}
