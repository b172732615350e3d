//! Reads the files of sentence-transformers: pooling, dense layers, normalisation, prompts and the maximum length of a text.
//!
//! `modules.json` names the modules and their folders (<https://www.sbert.net>, "Creating Custom Models"). Like that library, a
//! model without one uses mean pooling and no normalisation.

use std::collections::BTreeMap;
use std::path::{Component, Path};

use model_folder::files;
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// How a model embeds a text: the pipeline after its layers, and the prompts before a text.
#[derive(Debug, Clone, PartialEq)]
pub struct SentenceConfig {
    /// Reduces the hidden states of a text to one vector.
    pub pooling: Pooling,
    /// Dense layers after the pooling, in order.
    pub dense: Vec<Dense>,
    /// Whether to scale vectors to length 1.
    pub normalize: bool,
    /// The maximum length of a text in tokens, if the files state one.
    pub max_tokens: Option<u32>,
    /// Whether to convert texts to lower case before tokenising them.
    pub lower_case: bool,
    /// Prefixes for texts, by name.
    pub prompts: BTreeMap<String, String>,
    /// The name of the prompt for requests that name none.
    pub default_prompt: Option<String>,
}

/// Reduces the hidden states of a text's tokens to one vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum Pooling {
    /// The state of the first token.
    #[serde(rename = "cls")]
    First,
    /// The state of the last token.
    #[serde(rename = "lasttoken")]
    Last,
    /// The mean.
    #[serde(rename = "mean")]
    Mean,
    /// The sum divided by the square root of the number of tokens.
    #[serde(rename = "mean_sqrt_len_tokens")]
    MeanSqrt,
    /// The mean, weighted by position.
    #[serde(rename = "weightedmean")]
    Weighted,
    /// The maximum of each coordinate.
    #[serde(rename = "max")]
    Max,
}

/// A linear layer over vectors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dense {
    /// The folder of its weights, relative to the model's.
    pub folder: String,
    /// The width of the input.
    pub inputs: i32,
    /// The width of the output.
    pub outputs: i32,
    /// Whether the layer has a bias.
    pub bias: bool,
    /// Whether the activation is tanh. Otherwise it is the identity.
    pub tanh: bool,
}

/// An entry of modules.json.
#[derive(Debug, Deserialize)]
struct Module {
    path: String,
    r#type: String,
}

/// The config.json of the pooling module: one mode by name, or a flag for each mode in older files.
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
    /// Null means the identity.
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
    /// Null means an empty text.
    #[serde(default)]
    prompts: BTreeMap<String, Option<String>>,
    default_prompt_name: Option<String>,
}

const MODULES: &str = "modules.json";
/// Prompts that every model has. They are empty unless the files set them.
const USUAL_PROMPTS: [&str; 2] = ["query", "document"];

/// Whether the folder contains a model of sentence-transformers.
pub fn has_modules(folder: &Path) -> bool {
    folder.join(MODULES).is_file()
}

impl Default for SentenceConfig {
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

impl SentenceConfig {
    /// Reads the files in `folder`.
    ///
    /// # Errors
    /// A sentence that names the file, for an invalid file and for an unsupported module.
    pub fn read(folder: &Path) -> Result<Self, String> {
        let mut config = Self::default();
        for module in read_json::<Vec<Module>>(folder, MODULES)?.unwrap_or_default() {
            config.add_module(folder, &module)?;
        }
        let transformer: TransformerFile =
            read_json(folder, "sentence_bert_config.json")?.unwrap_or_default();
        config.lower_case = transformer.do_lower_case;
        config.max_tokens = transformer.max_seq_length;
        let prompts: PromptsFile =
            read_json(folder, "config_sentence_transformers.json")?.unwrap_or_default();
        let named = prompts.prompts.into_iter();
        config.prompts.extend(named.map(|(name, text)| (name, text.unwrap_or_default())));
        config.default_prompt = prompts.default_prompt_name;
        if let Some(name) = &config.default_prompt
            && !config.prompts.contains_key(name)
        {
            return Err(format!("config_sentence_transformers.json: there is no prompt \"{name}\""));
        }
        Ok(config)
    }

    fn add_module(&mut self, folder: &Path, module: &Module) -> Result<(), String> {
        let Module { path, r#type } = module;
        if !Path::new(path).components().all(|part| matches!(part, Component::Normal(_))) {
            return Err(format!("{MODULES}: \"{path}\" lies outside the folder"));
        }
        let file = format!("{path}/config.json");
        let missing = || format!("{file} is missing");
        // The library has moved its classes between modules and kept their names.
        match r#type.rsplit('.').next().unwrap_or_default() {
            "Transformer" if path.is_empty() => {}
            "Transformer" => return Err(format!("{MODULES}: weights in \"{path}\" are not supported")),
            "Pooling" => {
                self.pooling = read_json::<PoolingFile>(folder, &file)?.ok_or_else(missing)?.mode(&file)?;
            }
            "Normalize" => self.normalize = true,
            "Dense" => {
                let dense = read_json::<DenseFile>(folder, &file)?.ok_or_else(missing)?;
                self.dense.push(dense.layer(path, &file)?);
            }
            "Dropout" => {}
            other => return Err(format!("{MODULES}: the module {other} is not supported")),
        }
        // A dense layer would change the length of the vector again.
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

/// Parses a JSON file. `None` if it does not exist.
fn read_json<T: DeserializeOwned>(folder: &Path, name: &str) -> Result<Option<T>, String> {
    let path = folder.join(name);
    match files::read_text(&path, files::MAX_TEXT) {
        Ok(text) => model_folder::json::parse(&text)
            .and_then(T::deserialize)
            .map(Some)
            .map_err(|e| format!("{}: {e}", path.display())),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(format!("{}: {e}", path.display())),
    }
}

#[cfg(test)]
mod tests;
