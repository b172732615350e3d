//! What an import would take over. Pure.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::Value;

/// Everything that another program's files lead to.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Plan {
    /// Folders of models to search.
    pub(super) folders: Vec<PathBuf>,
    /// Folders of single models to link into the home's folder.
    pub(super) links: Vec<PathBuf>,
    /// The server's idle time, in seconds.
    pub(super) idle_seconds: Option<u32>,
    /// Settings by the model's id here.
    pub(super) models: BTreeMap<String, Model>,
    /// By name.
    pub(super) providers: BTreeMap<String, Provider>,
    /// By name.
    pub(super) backends: BTreeMap<String, Backend>,
    pub(super) routes: Vec<Route>,
    /// What is not taken over.
    pub(super) left: Vec<Left>,
}

/// Settings of a model.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Model {
    pub(super) aliases: Vec<String>,
    pub(super) context: Option<u32>,
    pub(super) idle_seconds: Option<u32>,
    pub(super) max_batch: Option<u32>,
    pub(super) pin: bool,
    pub(super) preload: bool,
}

/// A server elsewhere.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Provider {
    pub(super) kind: Kind,
    pub(super) url: String,
    /// The environment variable with its API key.
    pub(super) key_env: Option<String>,
    pub(super) timeout_seconds: Option<u32>,
    pub(super) models: Vec<ProviderModel>,
}

/// A program that mlxd is to start.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Backend {
    pub(super) command: Vec<String>,
    /// Its own name of its model.
    pub(super) model: String,
    pub(super) alias: String,
    /// The file of its weights.
    pub(super) weights: Option<PathBuf>,
    pub(super) context: Option<u32>,
    pub(super) idle_seconds: Option<u32>,
    pub(super) start_seconds: Option<u32>,
    pub(super) health: Option<String>,
    pub(super) pin: bool,
    pub(super) preload: bool,
}

/// The protocol of a provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Openai,
    Compatible,
    Anthropic,
}

/// A provider's model.
#[derive(Debug, Default, Clone, PartialEq)]
pub(super) struct ProviderModel {
    pub(super) id: String,
    pub(super) alias: Option<String>,
    pub(super) context: Option<u32>,
    pub(super) price: Option<Price>,
}

/// Dollars for a million tokens.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Price {
    pub(super) input: f64,
    pub(super) cached_input: Option<f64>,
    pub(super) output: f64,
}

/// A name for several models.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Route {
    pub(super) model: String,
    /// Models of which one is asked first, with their weights.
    pub(super) split: Vec<(String, u32)>,
    pub(super) targets: Vec<String>,
}

/// Something that is not taken over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Left {
    /// Its name in the other program's files.
    pub(super) what: String,
    /// The reason, and the nearest that mlxd has.
    pub(super) why: String,
}

impl Plan {
    /// Notes something that is not taken over.
    pub(super) fn leave(&mut self, what: impl Into<String>, why: impl Into<String>) {
        self.left.push(Left { what: what.into(), why: why.into() });
    }

    /// Notes settings of an object that nothing here corresponds to, except for `known` ones.
    pub(super) fn leave_others(&mut self, place: &str, fields: &Value, known: &[&str], why: &str) {
        let others = fields.as_object().into_iter().flatten().map(|(name, _)| name.as_str());
        let others: Vec<&str> = others.filter(|name| !known.contains(name)).collect();
        if !others.is_empty() {
            self.leave(format!("{place}{}", others.join(", ")), why);
        }
    }
}

impl Kind {
    /// The word in `config.toml`.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Openai => "openai",
            Self::Compatible => "openai-compatible",
            Self::Anthropic => "anthropic",
        }
    }
}

/// A field that is a text.
pub(super) fn text<'a>(fields: &'a Value, name: &str) -> Option<&'a str> {
    fields.get(name)?.as_str().filter(|text| !text.is_empty())
}

/// A field that is a whole number above 0, also with a point, an exponent, or as a text.
pub(super) fn number(fields: &Value, name: &str) -> Option<u32> {
    let number = decimal(fields, name)?;
    let is_whole = number.fract() == 0.0 && (1.0..=f64::from(u32::MAX)).contains(&number);
    is_whole.then_some(number as u32)
}

/// A field that is a finite number, also as a text.
pub(super) fn decimal(fields: &Value, name: &str) -> Option<f64> {
    let value = fields.get(name)?;
    let number = value.as_f64().or_else(|| value.as_str()?.trim().parse().ok());
    number.filter(|number: &f64| number.is_finite())
}

/// The texts of a field that is a list.
pub(super) fn texts<'a>(fields: &'a Value, name: &str) -> Vec<&'a str> {
    fields.get(name).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect()
}

/// The entries of a field that is an object.
pub(super) fn entries<'a>(fields: &'a Value, name: &str) -> impl Iterator<Item = (&'a String, &'a Value)> {
    fields.get(name).and_then(Value::as_object).into_iter().flatten()
}

/// The variable in a reference such as `os.environ/NAME` or `${env.NAME}`.
pub(super) fn variable<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    let name = text.trim().strip_prefix(before)?.strip_suffix(after)?;
    let is_plain = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    is_plain.then_some(name)
}

/// A provider's name from its address: host and port, with the characters that names may have.
pub(super) fn name_from_url(url: &str) -> String {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let host = rest.split(['/', '?']).next().unwrap_or(rest);
    host.chars().map(|c| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' }).collect()
}

/// Whether an address is of this machine or of a private network: API keys of such servers are often placeholders.
pub(super) fn is_local(url: &str) -> bool {
    let name = name_from_url(url);
    ["localhost", "127.", "0.0.0.0", "10.", "192.168.", "host.docker.internal"]
        .iter()
        .any(|host| name.starts_with(host))
}
