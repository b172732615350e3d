//! The agents and their set-ups. One table serves this command, the web UI's page and the tests of the documentation.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::LaunchError;

/// Texts may hold `{base}`, `{model}`, `{key}`, `{context}`, `{output}`, `{prompt}` and `{profile}`.
const TABLE: &str = include_str!("../../../ui/src/lib/clients.json");

/// Programs whose set-up no file and no variable holds, and what to do instead.
const BY_HAND: [(&str, &str); 2] = [
    (
        "xcode",
        "Xcode keeps providers of models in its own settings: add a locally hosted one with the server's port there",
    ),
    (
        "claude-desktop",
        "Claude Desktop keeps its gateway in its own settings: Developer, Configure Third-Party Inference, Gateway, with the \
         server's address without /v1",
    ),
];

/// An agent.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Client {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) program: String,
    /// How to get it, as the end of a sentence.
    pub(super) install: String,
    /// Arguments if the user gives none.
    #[serde(default)]
    pub(super) arguments: Vec<String>,
    #[serde(default)]
    pub(super) variables: BTreeMap<String, String>,
    /// Variables that are there only with a key.
    #[serde(default)]
    pub(super) keyed_variables: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) files: Vec<Template>,
    pub(super) private: Private,
}

/// What keeps a launched agent in its profile.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Private {
    #[serde(default)]
    pub(super) variables: BTreeMap<String, String>,
    /// Variables of the user's that would lead it elsewhere.
    #[serde(default)]
    pub(super) unset: Vec<String>,
    #[serde(default)]
    pub(super) files: Vec<Template>,
    /// Arguments before all others.
    #[serde(default)]
    pub(super) leading: Vec<String>,
    /// What it reads or writes outside of the profile, as a sentence.
    pub(super) outside: Option<String>,
}

/// A file.
#[derive(Debug, Deserialize)]
pub(super) struct Template {
    /// Below the profile.
    pub(super) path: String,
    /// Where a user who sets the agent up by hand has it.
    #[cfg_attr(not(test), expect(dead_code, reason = "for the web UI and the documentation"))]
    pub(super) place: Option<String>,
    #[serde(flatten)]
    pub(super) content: Content,
}

/// The contents of a file.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Content {
    Json(Value),
    Toml(Vec<Line>),
    /// The answer to a GET request for this path.
    Fetched(String),
}

/// A line of a file.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Line {
    Always(String),
    /// Only with a key.
    Keyed {
        keyed: String,
    },
}

/// The agents.
pub(super) fn all() -> Result<Vec<Client>, LaunchError> {
    Ok(serde_json::from_str(TABLE)?)
}

/// The agent of this name.
pub(super) fn find(name: &str) -> Result<Client, LaunchError> {
    if let Some((_, text)) = BY_HAND.iter().find(|(known, _)| *known == name) {
        return Err(LaunchError::Refused((*text).to_owned()));
    }
    let mut all = all()?;
    match all.iter().position(|client| client.id == name) {
        Some(at) => Ok(all.swap_remove(at)),
        None => {
            let known: Vec<&str> = all.iter().map(|client| client.id.as_str()).collect();
            let text = format!("\"{name}\" is no agent that this command knows: {}", known.join(", "));
            Err(LaunchError::Refused(text))
        }
    }
}
