//! Adapters in mlx-lm's format: what a fine-tuning changed, to be laid over a base model while that is loaded.
//!
//! A folder holds `adapter_config.json` and `adapters.safetensors`. Low rank (Hu et al. 2021,
//! <https://arxiv.org/abs/2106.09685>): W + scale · (A B)ᵀ. With magnitudes (DoRA; Liu et al. 2024,
//! <https://arxiv.org/abs/2402.09353>): each row of that scaled to a length that was learned. Full: tensors that take
//! the places of the base's. Reference: `tuner/{lora,dora,utils}.py` of mlx-lm 0.32.2. PEFT's format is refused.

use std::fs;
use std::path::Path;

use mlx_rs::{Array, Dtype, ops};
use serde::Deserialize;
use serde_json::Value;

use super::LoadError;
use super::safetensors::Shards;

/// What a fine-tuning was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Low rank.
    Lora,
    /// Low rank and magnitudes.
    Dora,
    /// Of the tensors themselves.
    Full,
}

/// An adapter, mapped.
pub struct Adapter {
    /// What it was made by.
    pub kind: Kind,
    /// The inner width of low-rank layers; 0 where there are none.
    pub rank: i32,
    /// Multiplies what they give.
    pub scale: f32,
    /// Its tensors.
    pub shards: Shards,
}

/// `adapter_config.json`.
#[derive(Deserialize)]
struct Config {
    #[serde(default = "low_rank")]
    fine_tune_type: Kind,
    lora_parameters: Option<Parameters>,
}

#[derive(Deserialize)]
struct Parameters {
    rank: i32,
    scale: f32,
}

fn low_rank() -> Kind {
    Kind::Lora
}

impl Adapter {
    /// Maps the adapter in `folder`.
    ///
    /// # Errors
    /// With the file or tensor that is missing or wrong.
    pub fn open(folder: &Path) -> Result<Self, LoadError> {
        let path = folder.join("adapter_config.json");
        let text = fs::read_to_string(&path).map_err(|cause| LoadError::Io { path: path.clone(), cause })?;
        let problem = |problem: String| LoadError::File { path: path.clone(), problem };
        let value: Value = serde_json::from_str(&text).map_err(|e| problem(e.to_string()))?;
        if value.get("peft_type").is_some() {
            return Err(problem("this is an adapter of PEFT's, only mlx-lm's are supported".into()));
        }
        let config = Config::deserialize(value).map_err(|e| problem(e.to_string()))?;
        let (kind, parameters) = (config.fine_tune_type, config.lora_parameters);
        let parameters = match (kind, parameters) {
            (Kind::Full, _) => Parameters { rank: 0, scale: 0.0 },
            (_, Some(parameters)) if parameters.rank > 0 => parameters,
            (_, Some(Parameters { rank, .. })) => return Err(problem(format!("a rank of {rank} cannot be"))),
            (_, None) => return Err(problem("\"lora_parameters\" is missing".into())),
        };
        let shards = Shards::single(folder.join("adapters.safetensors"))?;
        let adapter = Self { kind, rank: parameters.rank, scale: parameters.scale, shards };
        if let Some(name) = adapter.shards.names().find(|name| !adapter.may_hold(name)) {
            let text = format!("adapters.safetensors has {name}, which is nothing that {kind:?} makes");
            return Err(problem(text));
        }
        Ok(adapter)
    }

    /// Whether such an adapter may hold a tensor of this name. Anything else would silently replace one of the base's.
    fn may_hold(&self, name: &str) -> bool {
        let last = name.rsplit('.').next().unwrap_or(name);
        match self.kind {
            Kind::Lora => matches!(last, "lora_a" | "lora_b"),
            Kind::Dora => matches!(last, "lora_a" | "lora_b" | "m"),
            Kind::Full => !matches!(last, "lora_a" | "lora_b"),
        }
    }

    /// Whether it has low-rank parts for the layer at `path`.
    pub fn adapts(&self, path: &str) -> bool {
        self.kind != Kind::Full
            && ["lora_a", "lora_b", "m"]
                .iter()
                .any(|part| self.shards.get(&format!("{path}.{part}")).is_some())
    }
}

/// Rows of `weight` `[.., outputs, inputs]` scaled to the lengths `m` `[outputs]`.
pub fn with_lengths(weight: &Array, m: &Array) -> Result<Array, mlx_rs::error::Exception> {
    let wide = weight.as_dtype(Dtype::Float32)?;
    let lengths = ops::sqrt(wide.multiply(&wide)?.sum_axis(-1, true)?)?;
    wide.multiply(m.expand_dims(-1)?.divide(lengths)?)?.as_dtype(weight.dtype())
}
