//! The functions of a request, as far as a parser needs them.

use std::collections::{HashMap, HashSet};

use ipc_proto::generate::Tool;

use super::schema;

/// Function names, and for each the parameters that are strings.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Functions(HashMap<String, HashSet<String>>);

impl Functions {
    /// Reads the names and the schemas of `tools`. A schema that is no JSON has no string parameters.
    pub fn from_tools(tools: &[Tool]) -> Self {
        let strings = |tool: &Tool| -> HashSet<String> {
            let schema = tool.parameters.as_ref().and_then(|text| serde_json::from_str(text).ok());
            schema::string_parameters(&schema.unwrap_or_default()).into_iter().collect()
        };
        Self(tools.iter().map(|tool| (tool.name.clone(), strings(tool))).collect())
    }

    /// Whether the request has a function `name`.
    pub fn contains(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// Whether the parameter of the function `name` is a string.
    pub fn is_string(&self, name: &str, parameter: &str) -> bool {
        self.0.get(name).is_some_and(|strings| strings.contains(parameter))
    }
}
