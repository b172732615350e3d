//! Reads a model's text files: tokenizer, chat templates, end-of-turn tokens and default sampling.

use std::collections::{BTreeMap, HashSet};
use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::Arc;

use chat_template::{ControlTokens, Templates};
use model_folder::files;
use serde_json::Value;

use super::grammar::Grammars;
use super::model_formats::{ModelFormats, Overrides};
use super::tokenizer::Tokenizer;
use crate::images::ImageReader;
use crate::weights::config::language;

/// The highest default temperature that is taken; higher ones are no sensible default.
const MAX_TEMPERATURE: f32 = 100.0;
/// The default repetition penalties that are taken.
const REPETITION: RangeInclusive<f32> = 0.01..=100.0;

/// The contents of a model's text files.
#[derive(Debug)]
pub struct ModelFiles {
    /// From tokenizer.json.
    pub tokenizer: Arc<Tokenizer>,
    /// The chat templates. Empty if the model has none.
    pub templates: Templates,
    /// Tokens that are read as text in a sanitized prompt.
    pub control_tokens: ControlTokens,
    /// Tokens that end a turn.
    pub eos: Arc<HashSet<u32>>,
    /// Sampling for requests that leave it open.
    pub defaults: SamplingDefaults,
    /// The number of token ids, including rows of the weights without a token.
    pub vocabulary: u32,
    /// `model_max_length` of tokenizer_config.json, in tokens, if it is a plausible number.
    pub max_length: Option<u32>,
    /// Compiles constraints for this vocabulary.
    pub grammars: Grammars,
    /// The formats of reasoning and calls.
    pub formats: ModelFormats,
    /// Reads images, or the reason why the model takes none.
    pub images: Result<ImageReader, String>,
    /// Whether to read control tokens in a client's text as text, for requests that leave it open.
    pub sanitize_control_tokens: bool,
}

/// Default sampling from generation_config.json. The fields are those of [`ipc_proto::generate::Sampling`].
#[derive(Debug, Clone, Copy, Default, PartialEq)]
#[expect(missing_docs, reason = "the fields are those of ipc_proto's Sampling")]
pub struct SamplingDefaults {
    pub temperature: Option<f32>,
    pub top_p: Option<f32>,
    pub top_k: Option<u32>,
    pub min_p: Option<f32>,
    pub repetition_penalty: Option<f32>,
}

impl ModelFiles {
    /// Reads the text files of a model folder.
    ///
    /// # Errors
    /// A sentence that names the file.
    pub fn read(folder: &Path) -> Result<Self, String> {
        Self::read_with(folder, Overrides::default())
    }

    /// Reads the text files of a model folder. `overrides` take precedence over the chat template.
    ///
    /// # Errors
    /// A sentence that names the file.
    pub fn read_with(folder: &Path, overrides: Overrides) -> Result<Self, String> {
        let tokenizer = Tokenizer::read(folder)?;
        let settings = json(folder, "tokenizer_config.json")?;
        let generation = json(folder, "generation_config.json")?;
        let config = json(folder, "config.json")?;
        let images = ImageReader::read(folder, &config, &tokenizer);
        let config = language::language_model_config(config);
        let special_tokens = special_tokens(&settings);
        let templates = Templates::read(folder, &special_tokens)?;
        let formats = ModelFormats::detect(&templates, &tokenizer, overrides);
        let in_template = |token: &str| templates.texts().any(|text| text.contains(token));
        let control_tokens = tokenizer.control_tokens(in_template);
        let control_tokens = ControlTokens::new(control_tokens.iter().map(String::as_str));
        let eos = eos(&tokenizer, &special_tokens, [&generation, &config]);
        // The weights may have more rows than the tokenizer has tokens, or fewer.
        let rows = config.get("vocab_size").and_then(Value::as_u64).and_then(|n| u32::try_from(n).ok());
        let vocabulary = rows.unwrap_or(tokenizer.vocabulary());
        // Some files state an absurdly large number.
        let max_length = settings.get("model_max_length").and_then(Value::as_u64);
        let max_length = max_length.and_then(|n| u32::try_from(n).ok());
        let defaults = SamplingDefaults::from_file(&generation);
        let tokenizer = Arc::new(tokenizer);
        let grammars = Grammars::new(Arc::clone(&tokenizer), Arc::clone(&eos), vocabulary);
        Ok(Self {
            tokenizer,
            templates,
            control_tokens,
            eos,
            defaults,
            vocabulary,
            max_length,
            grammars,
            formats,
            images,
            sanitize_control_tokens: overrides.sanitize_control_tokens,
        })
    }
}

impl SamplingDefaults {
    fn from_file(generation: &Value) -> Self {
        let number = |name: &str| generation.get(name).and_then(Value::as_f64).map(|n| n as f32);
        let greedy = generation.get("do_sample").and_then(Value::as_bool) == Some(false);
        let top_k = generation.get("top_k").and_then(Value::as_u64).and_then(|n| u32::try_from(n).ok());
        Self {
            temperature: if greedy {
                Some(0.0)
            } else {
                number("temperature").filter(|t| (0.0..=MAX_TEMPERATURE).contains(t))
            },
            top_p: number("top_p").filter(|p| *p > 0.0 && *p <= 1.0),
            top_k,
            min_p: number("min_p").filter(|p| (0.0..=1.0).contains(p)),
            repetition_penalty: number("repetition_penalty").filter(|p| REPETITION.contains(p)),
        }
    }
}

/// A file's JSON value. `Null` if the file does not exist.
pub(crate) fn json(folder: &Path, name: &str) -> Result<Value, String> {
    let path = folder.join(name);
    match files::read_text(&path, files::MAX_TEXT) {
        Ok(text) => model_folder::json::parse(&text).map_err(|e| format!("{}: {e}", path.display())),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Value::Null),
        Err(e) => Err(format!("{}: {e}", path.display())),
    }
}

/// The settings that end in `_token`, like `bos_token`: strings, or objects with the string as `content`.
fn special_tokens(settings: &Value) -> BTreeMap<String, String> {
    let Value::Object(settings) = settings else { return BTreeMap::new() };
    let tokens = settings.iter().filter(|(name, _)| name.ends_with("_token"));
    let text = |value: &Value| value.as_str().or_else(|| value.get("content")?.as_str()).map(str::to_owned);
    tokens.filter_map(|(name, value)| Some((name.clone(), text(value)?))).collect()
}

/// The end-of-turn tokens: every one that generation_config.json, config.json or tokenizer_config.json names.
///
/// Published files disagree: often one of them lists the marker of the turn's end, another only the end of the text. An answer
/// that runs on is worse than one that ends at a token that no file but one names.
fn eos(tokenizer: &Tokenizer, tokens: &BTreeMap<String, String>, files: [&Value; 2]) -> Arc<HashSet<u32>> {
    let mut ids: HashSet<u32> =
        tokens.get("eos_token").and_then(|token| tokenizer.id(token)).into_iter().collect();
    for value in files.iter().filter_map(|file| file.get("eos_token_id")) {
        let single = std::slice::from_ref(value);
        let listed = value.as_array().map_or(single, Vec::as_slice);
        ids.extend(listed.iter().filter_map(Value::as_u64).filter_map(|id| u32::try_from(id).ok()));
    }
    Arc::new(ids)
}

#[cfg(test)]
mod tests;
