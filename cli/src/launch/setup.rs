//! An agent's set-up for one server and one model: the table's texts with their values.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::offer::Offer;
use super::table::{Client, Content, Line, Template};

/// Key of a server that asks for none. Agents want one all the same.
const NO_KEY: &str = "none";
/// The context of a model whose own is not known.
const CONTEXT: u32 = 32_768;
/// Tokens of an answer at most, for a model of any context.
const MAX_OUTPUT: u32 = 32_000;

/// The values of a set-up.
#[derive(Debug)]
pub(super) struct Values {
    base: String,
    model: String,
    /// `None` if the server asks for none.
    key: Option<String>,
    /// Tokens of prompt and answer together.
    context: u32,
    profile: String,
}

/// What an agent gets.
#[derive(Debug)]
pub(super) struct Setup {
    pub(super) name: String,
    pub(super) program: String,
    pub(super) arguments: Vec<String>,
    pub(super) variables: BTreeMap<String, String>,
    pub(super) unset: Vec<String>,
    /// By their paths below the profile.
    pub(super) files: Vec<(PathBuf, Filled)>,
    pub(super) outside: Option<String>,
}

/// The contents of a file, with values.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Filled {
    Json(Value),
    Toml(String),
    Fetched(String),
}

/// Whether a value stands in quotes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Quoting {
    Plain,
    /// In quotes, where a quote inside has to be escaped. TOML's basic strings have the escapes of JSON.
    Quoted,
}

impl Values {
    pub(super) fn new(base: &str, offer: &Offer, key: Option<&str>, profile: &Path) -> Self {
        Self {
            base: base.to_owned(),
            model: offer.id.clone(),
            key: key.map(str::to_owned),
            context: offer.context.unwrap_or(CONTEXT),
            profile: profile.display().to_string(),
        }
    }

    /// Tokens of an answer at most: a quarter of the context, so that the rest is for the prompt.
    fn output(&self) -> u32 {
        (self.context / 4).min(MAX_OUTPUT)
    }

    fn number(&self, name: &str) -> Option<u32> {
        match name {
            "context" => Some(self.context),
            "output" => Some(self.output()),
            "prompt" => Some(self.context - self.output()),
            _ => None,
        }
    }

    fn value(&self, name: &str) -> Option<String> {
        match name {
            "base" => Some(self.base.clone()),
            "model" => Some(self.model.clone()),
            "key" => Some(self.key.clone().unwrap_or_else(|| NO_KEY.to_owned())),
            "profile" => Some(self.profile.clone()),
            _ => self.number(name).map(|number| number.to_string()),
        }
    }

    /// A text with its values. They are not searched for further names.
    fn fill(&self, text: &str, quoting: Quoting) -> String {
        let mut filled = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(begin) = rest.find('{') {
            let (before, tail) = rest.split_at(begin);
            filled.push_str(before);
            let end = tail.find('}').unwrap_or(0);
            match tail.get(1..end).and_then(|name| self.value(name)) {
                Some(value) => {
                    filled.push_str(&if quoting == Quoting::Quoted { escaped(&value) } else { value });
                    rest = &tail[end + 1..];
                }
                None => {
                    filled.push('{');
                    rest = &tail[1..];
                }
            }
        }
        filled + rest
    }

    fn plain(&self, text: &str) -> String {
        self.fill(text, Quoting::Plain)
    }

    fn json(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => {
                let name = text.strip_prefix('{').and_then(|text| text.strip_suffix('}'));
                match name.and_then(|name| self.number(name)) {
                    Some(number) => number.into(),
                    None => self.plain(text).into(),
                }
            }
            Value::Array(items) => items.iter().map(|item| self.json(item)).collect(),
            Value::Object(fields) => {
                let fields = fields.iter().map(|(name, value)| (self.plain(name), self.json(value)));
                Value::Object(fields.collect::<Map<_, _>>())
            }
            other => other.clone(),
        }
    }

    fn file(&self, template: &Template) -> (PathBuf, Filled) {
        let content = match &template.content {
            Content::Json(value) => Filled::Json(self.json(value)),
            Content::Fetched(path) => Filled::Fetched(path.clone()),
            Content::Toml(lines) => {
                let chosen = lines.iter().filter_map(|line| match line {
                    Line::Always(text) => Some(text),
                    Line::Keyed { keyed } => self.key.is_some().then_some(keyed),
                });
                Filled::Toml(chosen.map(|line| self.fill(line, Quoting::Quoted) + "\n").collect())
            }
        };
        (PathBuf::from(&template.path), content)
    }
}

/// The text inside quotes.
fn escaped(text: &str) -> String {
    let quoted = Value::from(text).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}

impl Setup {
    /// The set-up of an agent. The user's arguments stand for its own.
    pub(super) fn new(client: &Client, values: &Values, arguments: Vec<String>) -> Self {
        let private = &client.private;
        let keyed = client.keyed_variables.iter().filter(|_| values.key.is_some());
        let variables = client.variables.iter().chain(keyed).chain(&private.variables);
        let all = |texts: &[String]| texts.iter().map(|text| values.plain(text)).collect::<Vec<String>>();
        let mut own = all(&private.leading);
        own.extend(if arguments.is_empty() { all(&client.arguments) } else { arguments });
        Self {
            name: client.name.clone(),
            program: client.program.clone(),
            arguments: own,
            variables: variables.map(|(name, text)| (name.clone(), values.plain(text))).collect(),
            unset: private.unset.clone(),
            files: client.files.iter().chain(&private.files).map(|file| values.file(file)).collect(),
            outside: private.outside.clone(),
        }
    }
}
