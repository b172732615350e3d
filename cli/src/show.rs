//! The output of `mlxd show`: facts about a model, and its prompts. Pure.

use ipc_proto::supervisor::{Capabilities, ModelEntry, ModelSettings};
use serde::Deserialize;
use toml::Table;

use crate::table;

/// Width of the first column in characters.
const INDENT: usize = 15;

/// A model's facts, one on each line, with the settings in force.
///
/// # Errors
/// The settings cannot be written as TOML.
pub(crate) fn facts(model: &ModelEntry, settings: &ModelSettings) -> Result<String, String> {
    let details = &model.details;
    let known = |number: u64| Some(number).filter(|number| *number > 0);
    let mut rows = vec![
        ("model", Some(model.id.clone())),
        ("aliases", Some(model.aliases.join(", "))),
        ("folder", Some(details.folder.display().to_string())),
        ("state", Some(table::state(&model.state))),
        ("family", Some(details.architecture.clone())),
        ("parameters", known(details.parameters).map(table::parameters)),
        ("quantisation", Some(details.quantization.clone())),
        ("context", details.context.map(|tokens| format!("{tokens} tokens"))),
        ("capabilities", Some(capabilities(details.capabilities).join(", "))),
        ("weights", known(details.weight_bytes).map(table::size)),
        ("KV cache", known(details.kv_bytes_per_token).map(|bytes| format!("{bytes} bytes per token"))),
        ("problem", details.problem.clone()),
        ("chat problem", details.chat_problem.clone()),
    ];
    rows.extend(changed(settings)?.into_iter().map(|change| ("setting", Some(change))));
    let known = rows.into_iter().filter_map(|(name, value)| Some((name, value?)));
    Ok(known.filter(|(_, value)| !value.is_empty()).map(|(name, value)| row(name, &value)).collect())
}

/// One row. Further lines of a value are not indented.
fn row(name: &str, value: &str) -> String {
    format!("{name:INDENT$}{}\n", value.trim_end())
}

fn capabilities(all: Capabilities) -> Vec<&'static str> {
    let Capabilities { chat, tools, reasoning, vision, embeddings } = all;
    let all = [
        (chat, "chat"),
        (tools, "tools"),
        (reasoning, "reasoning"),
        (vision, "vision"),
        (embeddings, "embeddings"),
    ];
    all.into_iter().filter_map(|(has, name)| has.then_some(name)).collect()
}

/// Settings that differ from the defaults, as `mlxd set` accepts them. Aliases have their own row.
fn changed(settings: &ModelSettings) -> Result<Vec<String>, String> {
    let table = |settings: &ModelSettings| Table::try_from(settings).map_err(|e| e.to_string());
    let (own, defaults) = (table(settings)?, table(&ModelSettings::default())?);
    let differs = own.into_iter().filter(|(key, value)| key != "aliases" && defaults.get(key) != Some(value));
    Ok(differs.map(|(key, value)| format!("{key}={value}")).collect())
}

/// The answer of `mlxd-gateway render`.
#[derive(Debug, Deserialize)]
pub(crate) struct Rendered {
    pub(crate) prompt: String,
    token_count: usize,
    max_model_len: u32,
    template: Option<Template>,
    tool_format: Option<Format>,
    reasoning_format: Option<Format>,
    #[serde(default)]
    tokens: Vec<Token>,
}

#[derive(Debug, Deserialize)]
struct Template {
    name: String,
    file: String,
    adaptations: Vec<String>,
    sanitized_control_tokens: u32,
}

#[derive(Debug, Deserialize)]
struct Format {
    name: String,
    reason: String,
}

#[derive(Debug, Deserialize)]
struct Token {
    id: u32,
    piece: Piece,
}

/// Text if the bytes are whole characters.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Piece {
    Text(String),
    Bytes(Vec<u8>),
}

impl Rendered {
    /// Explains the prompt in a few lines. `form` describes the input.
    pub(crate) fn note(&self, form: &str) -> String {
        let mut rows = vec![("read as", form.to_owned())];
        if let Some(template) = &self.template {
            rows.push(("template", format!("{} ({})", template.file, template.name)));
            rows.extend(template.adaptations.iter().map(|text| ("adaptation", text.clone())));
            let sanitized = template.sanitized_control_tokens;
            if sanitized > 0 {
                rows.push((
                    "sanitized",
                    format!("{sanitized} control tokens of the client are read as text"),
                ));
            }
        }
        let formats = [("tool format", &self.tool_format), ("reasoning", &self.reasoning_format)];
        let formats = formats.into_iter().filter_map(|(name, format)| Some((name, format.as_ref()?)));
        rows.extend(formats.map(|(name, format)| (name, format!("{}: {}", format.name, format.reason))));
        rows.push(("tokens", format!("{} of {}", self.token_count, self.max_model_len)));
        rows.into_iter().map(|(name, value)| row(name, &value)).collect()
    }

    /// Each token's id and text, one token a line. Texts are quoted as in JSON. Bytes that are not whole characters are in
    /// hexadecimal.
    pub(crate) fn ids(&self) -> String {
        let text = |piece: &Piece| match piece {
            Piece::Text(text) => serde_json::Value::from(text.as_str()).to_string(),
            Piece::Bytes(bytes) => bytes.iter().map(|byte| format!("\\x{byte:02x}")).collect(),
        };
        self.tokens.iter().map(|token| format!("{:>7}  {}\n", token.id, text(&token.piece))).collect()
    }
}

#[cfg(test)]
mod tests;
