//! The files of sentence-transformers: how a model's hidden states become one vector, and how long a text may be.
//!
//! Format: `modules.json` names the modules and their folders (<https://www.sbert.net>, "Creating Custom Models"); a model
//! without one is pooled by the mean and not normalised, as that library does.

use std::collections::BTreeMap;
use std::path::{Component, Path};

use serde::Deserialize;
use serde::de::DeserializeOwned;

/// What becomes of hidden states, and what goes before a text.
#[derive(Debug, Clone, PartialEq)]
pub struct Sentence {
    /// From tokens to a text.
    pub pooling: Pooling,
    /// Layers after that, by their folders.
    pub dense: Vec<Dense>,
    /// Whether vectors are brought to length 1.
    pub normalize: bool,
    /// Tokens of a text, at most, where the files say so.
    pub max_tokens: Option<u32>,
    /// Whether texts are written in lower case before they are tokenised.
    pub lower_case: bool,
    /// Texts that go before a text, by name.
    pub prompts: BTreeMap<String, String>,
    /// The one that does where none is named.
    pub default_prompt: Option<String>,
}

/// How the hidden states of a text's tokens become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum Pooling {
    /// The first token's.
    #[serde(rename = "cls")]
    First,
    /// The last token's.
    #[serde(rename = "lasttoken")]
    Last,
    /// Their mean.
    #[serde(rename = "mean")]
    Mean,
    /// Their sum over the root of their number.
    #[serde(rename = "mean_sqrt_len_tokens")]
    MeanSqrt,
    /// Their mean, later ones weighing more.
    #[serde(rename = "weightedmean")]
    Weighted,
    /// The largest of each coordinate.
    #[serde(rename = "max")]
    Max,
}

/// A linear layer over vectors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dense {
    /// Its folder below the model's.
    pub folder: String,
    /// Width before.
    pub inputs: i32,
    /// Width after.
    pub outputs: i32,
    /// Whether it has a bias.
    pub bias: bool,
    /// Whether tanh follows; else nothing does.
    pub tanh: bool,
}

/// An entry of modules.json.
#[derive(Debug, Deserialize)]
struct Module {
    path: String,
    r#type: String,
}

/// The pooling module's config.json: one mode by name, or, in older files, a flag for each.
#[derive(Debug, Deserialize)]
struct PoolingFile {
    pooling_mode: Option<Modes>,
    #[serde(default)]
    pooling_mode_cls_token: bool,
    #[serde(default)]
    pooling_mode_lasttoken: bool,
    #[serde(default)]
    pooling_mode_mean_tokens: bool,
    #[serde(default)]
    pooling_mode_mean_sqrt_len_tokens: bool,
    #[serde(default)]
    pooling_mode_weightedmean_tokens: bool,
    #[serde(default)]
    pooling_mode_max_tokens: bool,
    include_prompt: Option<bool>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Modes {
    One(Pooling),
    Several(Vec<Pooling>),
}

#[derive(Debug, Deserialize)]
struct DenseFile {
    in_features: i32,
    out_features: i32,
    #[serde(default = "yes")]
    bias: bool,
    /// Null is none at all.
    #[serde(default = "tanh")]
    activation_function: Option<String>,
}

fn yes() -> bool {
    true
}

fn tanh() -> Option<String> {
    Some("Tanh".into())
}

#[derive(Debug, Default, Deserialize)]
struct TransformerFile {
    max_seq_length: Option<u32>,
    #[serde(default)]
    do_lower_case: bool,
}

#[derive(Debug, Default, Deserialize)]
struct PromptsFile {
    /// Null is no text.
    #[serde(default)]
    prompts: BTreeMap<String, Option<String>>,
    default_prompt_name: Option<String>,
}

const MODULES: &str = "modules.json";
/// Prompts that every model has, empty where its files do not say otherwise.
const USUAL_PROMPTS: [&str; 2] = ["query", "document"];

/// Whether the folder is one of sentence-transformers'.
pub fn has_modules(folder: &Path) -> bool {
    folder.join(MODULES).is_file()
}

impl Default for Sentence {
    fn default() -> Self {
        Self {
            pooling: Pooling::Mean,
            dense: Vec::new(),
            normalize: false,
            max_tokens: None,
            lower_case: false,
            prompts: USUAL_PROMPTS.map(|name| (name.to_owned(), String::new())).into(),
            default_prompt: None,
        }
    }
}

impl Sentence {
    /// Reads what `folder` says.
    ///
    /// # Errors
    /// A sentence that names the file, for one that makes no sense and for a module that we do not have.
    pub fn read(folder: &Path) -> Result<Self, String> {
        let mut sentence = Self::default();
        for module in file::<Vec<Module>>(folder, MODULES)?.unwrap_or_default() {
            sentence.add(folder, &module)?;
        }
        let transformer: TransformerFile = file(folder, "sentence_bert_config.json")?.unwrap_or_default();
        sentence.lower_case = transformer.do_lower_case;
        sentence.max_tokens = transformer.max_seq_length;
        let prompts: PromptsFile = file(folder, "config_sentence_transformers.json")?.unwrap_or_default();
        let named = prompts.prompts.into_iter();
        sentence.prompts.extend(named.map(|(name, text)| (name, text.unwrap_or_default())));
        sentence.default_prompt = prompts.default_prompt_name;
        if let Some(name) = &sentence.default_prompt
            && !sentence.prompts.contains_key(name)
        {
            return Err(format!("config_sentence_transformers.json: there is no prompt \"{name}\""));
        }
        Ok(sentence)
    }

    fn add(&mut self, folder: &Path, module: &Module) -> Result<(), String> {
        let Module { path, r#type } = module;
        if !Path::new(path).components().all(|part| matches!(part, Component::Normal(_))) {
            return Err(format!("{MODULES}: \"{path}\" lies outside the folder"));
        }
        let config = format!("{path}/config.json");
        let missing = || format!("{config} is missing");
        // The library has moved its classes about; their names have stayed.
        match r#type.rsplit('.').next().unwrap_or_default() {
            "Transformer" if path.is_empty() => {}
            "Transformer" => return Err(format!("{MODULES}: weights in \"{path}\" are not supported")),
            "Pooling" => {
                self.pooling = file::<PoolingFile>(folder, &config)?.ok_or_else(missing)?.mode(&config)?;
            }
            "Normalize" => self.normalize = true,
            "Dense" => {
                let dense = file::<DenseFile>(folder, &config)?.ok_or_else(missing)?;
                self.dense.push(dense.layer(path, &config)?);
            }
            "Dropout" => {}
            other => return Err(format!("{MODULES}: the module {other} is not supported")),
        }
        // Nothing we have keeps a vector's length but what comes last.
        if self.normalize && r#type.ends_with("Dense") {
            return Err(format!("{MODULES}: a Dense after Normalize is not supported"));
        }
        Ok(())
    }
}

impl PoolingFile {
    fn mode(&self, name: &str) -> Result<Pooling, String> {
        if self.include_prompt == Some(false) {
            return Err(format!("{name}: include_prompt: false is not supported"));
        }
        let flags = [
            (self.pooling_mode_cls_token, Pooling::First),
            (self.pooling_mode_max_tokens, Pooling::Max),
            (self.pooling_mode_mean_tokens, Pooling::Mean),
            (self.pooling_mode_mean_sqrt_len_tokens, Pooling::MeanSqrt),
            (self.pooling_mode_weightedmean_tokens, Pooling::Weighted),
            (self.pooling_mode_lasttoken, Pooling::Last),
        ];
        let modes: Vec<Pooling> = match &self.pooling_mode {
            Some(Modes::One(mode)) => vec![*mode],
            Some(Modes::Several(modes)) => modes.clone(),
            None => flags.iter().filter(|(set, _)| *set).map(|(_, mode)| *mode).collect(),
        };
        match modes[..] {
            [] => Ok(Pooling::Mean),
            [mode] => Ok(mode),
            _ => Err(format!("{name}: several pooling modes at once are not supported")),
        }
    }
}

impl DenseFile {
    fn layer(self, folder: &str, name: &str) -> Result<Dense, String> {
        let function = self.activation_function.as_deref().unwrap_or("Identity");
        let tanh = match function.rsplit('.').next() {
            Some("Tanh") => true,
            Some("Identity") => false,
            _ => return Err(format!("{name}: activation_function {function} is not supported")),
        };
        let Self { in_features: inputs, out_features: outputs, bias, .. } = self;
        Ok(Dense { folder: folder.to_owned(), inputs, outputs, bias, tanh })
    }
}

/// A JSON file of `folder`, `None` where it is not there.
fn file<T: DeserializeOwned>(folder: &Path, name: &str) -> Result<Option<T>, String> {
    let path = folder.join(name);
    match std::fs::read_to_string(&path) {
        Ok(text) => serde_json::from_str(&text).map(Some).map_err(|e| format!("{}: {e}", path.display())),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(format!("{}: {e}", path.display())),
    }
}

#[cfg(test)]
mod tests;
