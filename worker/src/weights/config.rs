//! config.json: the fields that all architectures share, and quantisation. Each model's `Args` has the rest.

use std::fmt;
use std::path::{Path, PathBuf};

use ipc_proto::families;
use model_folder::config::impossible;
use model_folder::{complete, files, quantization};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::LoadError;

pub mod language;

/// A parsed config.json.
#[derive(Debug, Clone)]
pub struct Config {
    path: PathBuf,
    value: Value,
    /// The architecture.
    pub model_type: String,
    /// `None` if weights are not packed.
    pub quantization: Option<Quantization>,
}

/// Layout of packed weights: `group_size` weights of a row share a scale.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Packing {
    /// Weights per scale.
    pub group_size: i32,
    /// Bits per weight.
    pub bits: i32,
    /// Meaning of the bits.
    #[serde(default)]
    pub mode: PackingMode,
}

/// Meaning of the bits of a packed weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum PackingMode {
    /// MLX's: a multiple of the group's scale, plus the group's bias.
    #[default]
    Affine,
    /// OCP's MXFP4: a four-bit number times the group's power of two.
    Mxfp4,
}

impl PackingMode {
    /// Its name in config.json.
    pub fn name(self) -> &'static str {
        match self {
            Self::Affine => "affine",
            Self::Mxfp4 => "mxfp4",
        }
    }
}

impl fmt::Display for PackingMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Packing {
    /// The only packing of MXFP4.
    pub const MXFP4: Self = Self { group_size: 32, bits: 4, mode: PackingMode::Mxfp4 };

    /// Whether MLX, or the loader in its place, can unpack it.
    pub fn is_supported(&self) -> bool {
        match self.mode {
            PackingMode::Affine => matches!(self.bits, 2..=6 | 8) && matches!(self.group_size, 32 | 64 | 128),
            PackingMode::Mxfp4 => *self == Self::MXFP4,
        }
    }
}

/// The default packing and the layers that differ from it.
#[derive(Debug, Clone)]
pub struct Quantization {
    default: Packing,
    overrides: Map<String, Value>,
}

impl Config {
    /// Reads `folder/config.json`.
    ///
    /// # Errors
    /// If the file cannot be read, is no JSON object, or has no `model_type`, or if the download of the folder is incomplete.
    pub fn read(folder: &Path) -> Result<Self, LoadError> {
        complete::check(folder)
            .map_err(|problem| LoadError::File { path: problem.file, problem: problem.text })?;
        let path = folder.join("config.json");
        let text = files::read_text(&path, files::MAX_TEXT)
            .map_err(|cause| LoadError::Io { path: path.clone(), cause })?;
        let problem = |problem: String| LoadError::File { path: path.clone(), problem };
        let value = model_folder::json::parse(&text).map_err(|e| problem(e.to_string()))?;
        let model_type = value.get("model_type").and_then(Value::as_str).map(str::to_owned);
        let model_type = model_type.ok_or_else(|| problem("\"model_type\" is missing".into()))?;
        if let Some(text) = impossible(&value) {
            return Err(problem(text));
        }
        let value = language::language_model_config(value);
        let quantization = quantization(&value).map_err(problem)?;
        Ok(Self { path, value, model_type, quantization })
    }

    /// The architecture's own fields.
    ///
    /// # Errors
    /// If a field is missing or has the wrong type. The message names it.
    pub fn args<T: DeserializeOwned>(&self) -> Result<T, LoadError> {
        T::deserialize(&self.value).map_err(|e| self.problem(e.to_string()))
    }

    /// An error about this file.
    pub fn problem(&self, problem: impl Into<String>) -> LoadError {
        LoadError::File { path: self.path.clone(), problem: problem.into() }
    }

    /// `max_position_embeddings`, if given.
    pub fn max_context(&self) -> Option<u32> {
        self.number("max_position_embeddings")
    }

    /// Whether the field is present and not null.
    pub fn has(&self, name: &str) -> bool {
        self.value.get(name).is_some_and(|value| !value.is_null())
    }

    /// Whether the field is present and true.
    pub fn flag(&self, name: &str) -> bool {
        self.value.get(name).and_then(Value::as_bool).unwrap_or(false)
    }

    /// `hidden_size`, if given.
    pub fn hidden_size(&self) -> Option<u32> {
        self.number("hidden_size")
    }

    /// `pad_token_id`; 0 if not given.
    pub fn pad_token_id(&self) -> u32 {
        self.number("pad_token_id").unwrap_or(0)
    }

    /// Whether prefixes of the vectors are vectors too (matryoshka representation learning).
    pub fn is_matryoshka(&self) -> bool {
        self.flag("is_matryoshka") || self.value.get("matryoshka_dimensions").is_some_and(Value::is_array)
    }

    /// The name of the activation: `hidden_activation`, which newer Gemma files have, or `hidden_act`.
    pub fn activation(&self) -> Option<&str> {
        let name = |field: &str| self.value.get(field).and_then(Value::as_str);
        name("hidden_activation").or_else(|| name("hidden_act"))
    }

    /// `num_hidden_layers`, if given.
    pub fn layers(&self) -> Option<u32> {
        self.number("num_hidden_layers")
    }

    /// The number of layers after the others that only predict further tokens, which nothing here uses.
    pub fn predicting_layers(&self) -> u32 {
        self.number("num_nextn_predict_layers").unwrap_or(0)
    }

    fn number(&self, name: &str) -> Option<u32> {
        self.value.get(name).and_then(Value::as_u64).and_then(|n| u32::try_from(n).ok())
    }

    /// Whether `architectures` names a model with a classification head.
    pub fn classifies(&self) -> bool {
        let names = self.value.get("architectures").and_then(Value::as_array).into_iter().flatten();
        families::classifies(names.filter_map(Value::as_str))
    }
}

fn quantization(config: &Value) -> Result<Option<Quantization>, String> {
    let Some(object) = quantization::settings(config) else { return Ok(None) };
    if let Some(problem) = quantization::refusal(config) {
        return Err(problem);
    }
    // OpenAI's format of gpt-oss. Layers that are not packed have no scales, so their list is not needed.
    if object.contains_key("quant_method") {
        return Ok(Some(Quantization { default: Packing::MXFP4, overrides: Map::new() }));
    }
    let default = packing(&Value::Object(object.clone()))?;
    let overrides =
        object.iter().map(|(path, layer)| (language::language_model_name(path), layer.clone())).collect();
    Ok(Some(Quantization { default, overrides }))
}

fn packing(value: &Value) -> Result<Packing, String> {
    if let Some(problem) = quantization::unsupported_mode(value) {
        return Err(problem);
    }
    let packing = Packing::deserialize(value).map_err(|e| format!("quantization: {e}"))?;
    if packing.is_supported() {
        return Ok(packing);
    }
    let Packing { group_size, bits, .. } = packing;
    Err(format!("quantization: {bits} bits in groups of {group_size} is nothing MLX knows"))
}

impl Quantization {
    /// The packing of the layer at `path` (such as `model.layers.0.mlp.up_proj`); `None` if it is not packed.
    ///
    /// # Errors
    /// A sentence, for packings that MLX does not support.
    pub fn packing_of(&self, path: &str) -> Result<Option<Packing>, String> {
        match self.overrides.get(path) {
            None | Some(Value::Bool(true)) => Ok(Some(self.default)),
            Some(Value::Bool(false)) => Ok(None),
            Some(special) => packing(special).map(Some),
        }
    }
}

#[cfg(test)]
mod tests;
