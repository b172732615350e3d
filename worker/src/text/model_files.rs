//! The small files beside the weights: what ends a turn, default sampling, template variables.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::Arc;

use chat_template::{ControlTokens, Templates};
use serde_json::Value;

use super::dialect::{Dialect, Overrides};
use super::grammar::Grammars;
use super::recent::Recent;
use super::tokenizer::Tokenizer;
use crate::weights::config::language;

/// Repetition penalties that make sense.
pub const REPETITION: RangeInclusive<f32> = 0.01..=100.0;

/// Everything about a model's text side.
#[derive(Debug)]
pub struct ModelFiles {
    /// Text ↔ tokens.
    pub tokenizer: Arc<Tokenizer>,
    /// How conversations are written; none where the model has no template.
    pub templates: Templates,
    /// Tokens that a client's text may not hold where it is sanitized.
    pub control_tokens: ControlTokens,
    /// Tokens that end a turn.
    pub eos: Arc<HashSet<u32>>,
    /// Sampling where the client says nothing.
    pub defaults: Defaults,
    /// Token ids of the model lie below this.
    pub vocabulary: u32,
    /// `model_max_length` of tokenizer_config.json, where that is a length.
    pub max_length: Option<u32>,
    /// What outputs can be constrained to.
    pub grammars: Grammars,
    /// How the model writes reasoning and calls.
    pub dialect: Dialect,
    /// Whether control tokens in a client's text are read as text where a request does not say.
    pub sanitizes: bool,
    /// Prompts that were read a moment ago.
    pub recent: Recent,
}

/// Sampling from generation_config.json.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Defaults {
    /// See [`ipc_proto::generate::Sampling`].
    pub temperature: Option<f32>,
    /// Likewise.
    pub top_p: Option<f32>,
    /// Likewise.
    pub top_k: Option<u32>,
    /// Likewise.
    pub min_p: Option<f32>,
    /// Likewise.
    pub repetition_penalty: Option<f32>,
}

impl ModelFiles {
    /// Reads the text side of a model folder.
    ///
    /// # Errors
    /// A sentence that names the file.
    pub fn read(folder: &Path) -> Result<Self, String> {
        Self::read_as(folder, Overrides::default())
    }

    /// Likewise; what `overrides` says is not taken from the template.
    ///
    /// # Errors
    /// A sentence that names the file.
    pub fn read_as(folder: &Path, overrides: Overrides) -> Result<Self, String> {
        let tokenizer = Tokenizer::read(folder)?;
        let settings = json(folder, "tokenizer_config.json")?;
        let generation = json(folder, "generation_config.json")?;
        let config = language::part(json(folder, "config.json")?);
        let tokens = special_tokens(&settings);
        let templates = Templates::read(folder, &tokens)?;
        let dialect = Dialect::of(&templates, &tokenizer, overrides);
        let written = |token: &str| templates.texts().any(|text| text.contains(token));
        let control_tokens = ControlTokens::new(tokenizer.control_tokens(written).iter().map(String::as_str));
        let eos = eos(&tokenizer, &tokens, [&generation, &config]);
        // The weights may have more rows than the tokenizer has tokens, or fewer.
        let rows = config.get("vocab_size").and_then(Value::as_u64).and_then(|n| u32::try_from(n).ok());
        let vocabulary = rows.unwrap_or(tokenizer.vocabulary());
        // Some files have a number beyond all bounds here.
        let max_length = settings.get("model_max_length").and_then(Value::as_u64);
        let max_length = max_length.and_then(|n| u32::try_from(n).ok());
        let defaults = Defaults::of(&generation);
        let tokenizer = Arc::new(tokenizer);
        let grammars = Grammars::new(Arc::clone(&tokenizer), Arc::clone(&eos), vocabulary);
        let recent = Recent::default();
        Ok(Self {
            tokenizer,
            templates,
            control_tokens,
            eos,
            defaults,
            vocabulary,
            max_length,
            grammars,
            dialect,
            sanitizes: overrides.sanitize_control_tokens,
            recent,
        })
    }
}

impl Defaults {
    fn of(generation: &Value) -> Self {
        let number = |name: &str| generation.get(name).and_then(Value::as_f64).map(|n| n as f32);
        let greedy = generation.get("do_sample").and_then(Value::as_bool) == Some(false);
        let top_k = generation.get("top_k").and_then(Value::as_u64).and_then(|n| u32::try_from(n).ok());
        Self {
            temperature: if greedy { Some(0.0) } else { number("temperature").filter(|t| *t >= 0.0) },
            top_p: number("top_p").filter(|p| *p > 0.0 && *p <= 1.0),
            top_k,
            min_p: number("min_p").filter(|p| (0.0..=1.0).contains(p)),
            repetition_penalty: number("repetition_penalty").filter(|p| REPETITION.contains(p)),
        }
    }
}

/// A file's JSON object; `Null` where there is no such file.
fn json(folder: &Path, name: &str) -> Result<Value, String> {
    let path = folder.join(name);
    match fs::read_to_string(&path) {
        Ok(text) => serde_json::from_str(&text).map_err(|e| format!("{}: {e}", path.display())),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Value::Null),
        Err(e) => Err(format!("{}: {e}", path.display())),
    }
}

/// `bos_token`, `eos_token` and the like: plain strings, or objects with the string as `content`.
fn special_tokens(settings: &Value) -> BTreeMap<String, String> {
    let Value::Object(settings) = settings else { return BTreeMap::new() };
    let tokens = settings.iter().filter(|(name, _)| name.ends_with("_token"));
    let text = |value: &Value| value.as_str().or_else(|| value.get("content")?.as_str()).map(str::to_owned);
    tokens.filter_map(|(name, value)| Some((name.clone(), text(value)?))).collect()
}

/// generation_config.json's list is the finest; config.json's is the next; the tokenizer's own counts always.
fn eos(tokenizer: &Tokenizer, tokens: &BTreeMap<String, String>, files: [&Value; 2]) -> Arc<HashSet<u32>> {
    let ids = |value: &Value| -> Vec<u32> {
        let one = |value: &Value| value.as_u64().and_then(|id| u32::try_from(id).ok());
        match value {
            Value::Array(list) => list.iter().filter_map(one).collect(),
            value => one(value).into_iter().collect(),
        }
    };
    let listed =
        files.iter().filter_map(|file| file.get("eos_token_id")).map(ids).find(|ids| !ids.is_empty());
    let own = tokens.get("eos_token").and_then(|token| tokenizer.id(token));
    Arc::new(listed.into_iter().flatten().chain(own).collect())
}

#[cfg(test)]
mod tests;
