//! Adapters in mlx-lm's format: changes by fine-tuning, applied to a base model while it is loaded.
//!
//! A folder holds `adapter_config.json` and `adapters.safetensors`. Low rank (Hu et al. 2021,
//! <https://arxiv.org/abs/2106.09685>): W + scale · (A B)ᵀ. With magnitudes (DoRA; Liu et al. 2024,
//! <https://arxiv.org/abs/2402.09353>): each row of that is scaled to a learned length. Full: tensors that replace those
//! of the base. Reference: `tuner/{lora,dora,utils}.py` of mlx-lm 0.32.2. PEFT's format is refused.

use std::path::Path;

use mlx_rs::{Array, Dtype, ops};
use model_folder::files;
use serde::Deserialize;

use super::LoadError;
use super::safetensors::Shards;

/// The method of the fine-tuning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FineTuneType {
    /// Low rank.
    Lora,
    /// Low rank and magnitudes.
    Dora,
    /// Whole tensors.
    Full,
}

/// An adapter, mapped.
pub struct Adapter {
    /// The method that produced it.
    pub fine_tune_type: FineTuneType,
    /// Inner width of low-rank layers; 0 if there are none.
    pub rank: i32,
    /// Factor of their outputs.
    pub scale: f32,
    /// The tensors.
    pub shards: Shards,
}

/// `adapter_config.json`.
#[derive(Deserialize)]
struct Config {
    #[serde(default = "low_rank")]
    fine_tune_type: FineTuneType,
    lora_parameters: Option<Parameters>,
}

#[derive(Deserialize)]
struct Parameters {
    rank: i32,
    scale: f32,
}

fn low_rank() -> FineTuneType {
    FineTuneType::Lora
}

impl Adapter {
    /// Maps the adapter in `folder`.
    ///
    /// # Errors
    /// Names the missing or wrong file or tensor.
    pub fn open(folder: &Path) -> Result<Self, LoadError> {
        let path = folder.join("adapter_config.json");
        let text = files::read_text(&path, files::MAX_TEXT)
            .map_err(|cause| LoadError::Io { path: path.clone(), cause })?;
        let problem = |problem: String| LoadError::File { path: path.clone(), problem };
        let value = model_folder::json::parse(&text).map_err(|e| problem(e.to_string()))?;
        if value.get("peft_type").is_some() {
            return Err(problem("this is an adapter of PEFT's, only mlx-lm's are supported".into()));
        }
        let config = Config::deserialize(value).map_err(|e| problem(e.to_string()))?;
        let fine_tune_type = config.fine_tune_type;
        let parameters = match (fine_tune_type, config.lora_parameters) {
            (FineTuneType::Full, _) => Parameters { rank: 0, scale: 0.0 },
            (_, Some(parameters)) if parameters.rank > 0 => parameters,
            (_, Some(Parameters { rank, .. })) => return Err(problem(format!("a rank of {rank} cannot be"))),
            (_, None) => return Err(problem("\"lora_parameters\" is missing".into())),
        };
        let shards = Shards::single(folder.join("adapters.safetensors"))?;
        let adapter = Self { fine_tune_type, rank: parameters.rank, scale: parameters.scale, shards };
        if let Some(name) = adapter.shards.names().find(|name| !adapter.may_hold(name)) {
            let text =
                format!("adapters.safetensors has {name}, which is nothing that {fine_tune_type:?} makes");
            return Err(problem(text));
        }
        Ok(adapter)
    }

    /// Whether an adapter of this type may hold the tensor. Any other would silently replace one of the base.
    fn may_hold(&self, name: &str) -> bool {
        let last = name.rsplit('.').next().unwrap_or(name);
        match self.fine_tune_type {
            FineTuneType::Lora => matches!(last, "lora_a" | "lora_b"),
            FineTuneType::Dora => matches!(last, "lora_a" | "lora_b" | "m"),
            FineTuneType::Full => !matches!(last, "lora_a" | "lora_b"),
        }
    }

    /// Whether it has low-rank tensors for the layer at `path`.
    pub fn adapts(&self, path: &str) -> bool {
        self.fine_tune_type != FineTuneType::Full
            && ["lora_a", "lora_b", "m"]
                .iter()
                .any(|part| self.shards.get(&format!("{path}.{part}")).is_some())
    }
}

/// Scales the rows of `weight` `[.., outputs, inputs]` to the lengths `magnitudes` `[outputs]`.
///
/// # Errors
/// When the device fails.
pub fn with_magnitudes(weight: &Array, magnitudes: &Array) -> Result<Array, mlx_rs::error::Exception> {
    let wide = weight.as_dtype(Dtype::Float32)?;
    let lengths = ops::sqrt(wide.multiply(&wide)?.sum_axis(-1, true)?)?;
    wide.multiply(magnitudes.expand_dims(-1)?.divide(lengths)?)?.as_dtype(weight.dtype())
}
