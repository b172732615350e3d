//! The functions of a request, as far as a parser needs them.

use std::collections::HashMap;

use ipc_proto::generate::Tool;

use super::schema;

/// The values of a parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Values {
    /// Of any kind, as JSON.
    Json,
    /// Strings.
    Text,
    /// Strings, or null.
    NullableText,
}

/// Function names, and for each the parameters that are strings, or strings and null.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Functions(HashMap<String, HashMap<String, Values>>);

impl Functions {
    /// Reads the names and the schemas of `tools`. A schema that is no JSON has no string parameters.
    pub fn from_tools(tools: &[Tool]) -> Self {
        let strings = |tool: &Tool| -> HashMap<String, Values> {
            let schema = tool.parameters().and_then(|text| serde_json::from_str(text).ok());
            let parameters = schema::text_parameters(&schema.unwrap_or_default());
            let values = |nullable| if nullable { Values::NullableText } else { Values::Text };
            parameters.into_iter().map(|(name, nullable)| (name, values(nullable))).collect()
        };
        Self(tools.iter().map(|tool| (tool.name.clone(), strings(tool))).collect())
    }

    /// Whether the request has a function `name`.
    pub fn contains(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// The values of the function `name`'s parameter.
    pub fn values(&self, name: &str, parameter: &str) -> Values {
        let texts = self.0.get(name).and_then(|texts| texts.get(parameter));
        texts.copied().unwrap_or(Values::Json)
    }
}
