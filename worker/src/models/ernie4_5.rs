//! ERNIE 4.5, dense: Llama with one setting for all biases, and rotary embeddings of neighbouring coordinates.
//!
//! Baidu 2025 (<https://ernie.baidu.com/blog/publication/ERNIE_Technical_Report.pdf>); reference: `ernie4_5.py` of mlx-lm 0.32.2.

use serde::Deserialize;

use super::llama::{self, Args};
use super::variant::Variant;
use crate::weights::LoadError;
use crate::weights::loader::Loader;

/// The field of config.json that Llama lacks.
#[derive(Debug, Deserialize)]
struct AllBiases {
    #[serde(default)]
    use_bias: bool,
}

/// Loads an `ernie4_5` folder.
///
/// # Errors
/// Those of the loader.
pub fn load(loader: &Loader) -> Result<llama::Model, LoadError> {
    let AllBiases { use_bias } = loader.config().args()?;
    let mut args: Args = loader.config().args()?;
    (args.attention_bias, args.mlp_bias) = (use_bias, use_bias);
    let variant = Variant { neighbours: Some(args.head_dim()), ..Variant::default() };
    llama::Model::load_variant(loader, args, variant)
}
