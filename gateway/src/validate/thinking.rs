//! How a client's wish for more or less thinking reaches a model: as variables of its chat template.

use serde_json::{Map, Value};

/// What a client wishes, whatever its protocol calls it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Wish<'a> {
    /// Whether the model thinks first; `None` leaves it to the template.
    pub(super) thinks: Option<bool>,
    /// How hard: `minimal` to `max`.
    pub(super) effort: Option<&'a str>,
    /// For how many tokens.
    pub(super) budget: Option<u32>,
}

impl Wish<'_> {
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
