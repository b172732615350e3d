//! Passes a client's reasoning settings to the model as variables of its chat template.

use serde_json::{Map, Value};

/// The reasoning settings of a request, in any protocol.
#[derive(Debug, Clone, Copy, Default)]
pub struct ReasoningRequest<'a> {
    /// Turns reasoning on or off; `None` leaves it to the template.
    pub enabled: Option<bool>,
    /// `minimal`, `low`, `medium`, `high`, `xhigh` or `max`.
    pub effort: Option<&'a str>,
    /// Maximum number of reasoning tokens.
    pub budget: Option<u32>,
    /// Omits the reasoning from the response.
    pub hidden: bool,
}

impl<'a> ReasoningRequest<'a> {
    /// Parses an effort of OpenAI's protocols. Returns `None` for an unknown effort.
    pub fn from_effort(effort: Option<&'a str>) -> Option<Self> {
        match effort {
            None => Some(Self::default()),
            Some("none") => Some(Self { enabled: Some(false), ..Self::default() }),
            Some("minimal" | "low" | "medium" | "high" | "xhigh" | "max") => {
                Some(Self { enabled: Some(true), effort, ..Self::default() })
            }
            Some(_) => None,
        }
    }

    /// Returns the template variables, merged with the client's own, which take precedence. Model families use different names;
    /// a template reads only its own names.
    pub fn template_kwargs(self, own: Option<Map<String, Value>>) -> Option<String> {
        let mut kwargs = Map::new();
        if let Some(enabled) = self.enabled {
            kwargs.insert("enable_thinking".into(), enabled.into());
            kwargs.insert("thinking".into(), enabled.into());
        }
        if let Some(budget) = self.budget {
            kwargs.insert("thinking_budget".into(), budget.into());
        }
        // gpt-oss has three efforts.
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
