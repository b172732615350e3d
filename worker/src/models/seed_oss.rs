//! Seed-OSS: Llama with biases on query, key and value, and a setting of its own for those of the output.
//!
//! ByteDance Seed Team 2025 (<https://github.com/ByteDance-Seed/seed-oss>); reference: `seed_oss.py` of mlx-lm 0.32.2.

use serde::Deserialize;

use super::llama::{self, Args};
use super::variant::Variant;
use crate::layers::attention::Biases;
use crate::weights::LoadError;
use crate::weights::loader::Loader;

/// The field of config.json that Llama lacks.
#[derive(Debug, Deserialize)]
struct OutputBias {
    #[serde(default)]
    attention_out_bias: bool,
}

/// Loads a `seed_oss` folder.
///
/// # Errors
/// Those of the loader.
pub fn load(loader: &Loader) -> Result<llama::Model, LoadError> {
    let args: Args = loader.config().args()?;
    let OutputBias { attention_out_bias } = loader.config().args()?;
    let biases = Some(Biases { qkv: args.attention_bias, output: attention_out_bias });
    llama::Model::load_variant(loader, args, Variant { biases, ..Variant::default() })
}
