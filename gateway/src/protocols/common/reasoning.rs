//! Passes a client's request for more or less reasoning to the model, as variables of its chat template.

use serde_json::{Map, Value};

/// The reasoning that a client asks for, whatever its protocol calls it.
#[derive(Debug, Clone, Copy, Default)]
pub struct ReasoningRequest<'a> {
    /// Whether the model thinks first; `None` leaves it to the template.
    pub thinks: Option<bool>,
    /// How hard: `minimal` to `max`.
    pub effort: Option<&'a str>,
    /// For how many tokens, at most.
    pub budget: Option<u32>,
    /// Whether what it thinks is not to be told.
    pub hidden: bool,
}

impl<'a> ReasoningRequest<'a> {
    /// What a word of OpenAI's means, the same in all its protocols; `None` where it is none of them.
    pub fn of_effort(effort: Option<&'a str>) -> Option<Self> {
        match effort {
            None => Some(Self::default()),
            Some("none") => Some(Self { thinks: Some(false), ..Self::default() }),
            Some("minimal" | "low" | "medium" | "high" | "xhigh" | "max") => {
                Some(Self { thinks: Some(true), effort, ..Self::default() })
            }
            Some(_) => None,
        }
    }

    /// The variables, and the client's own, which win. Families name them differently; a template looks only at its own
    /// names.
    pub fn template_kwargs(self, own: Option<Map<String, Value>>) -> Option<String> {
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
