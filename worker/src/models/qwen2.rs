//! Qwen 2 and 2.5: Llama with biases on query, key and value.
//!
//! Yang et al. 2024 (<https://arxiv.org/abs/2407.10671>); reference: `qwen2.py` of mlx-lm 0.32.2.

use super::llama;
use super::variant::Variant;
use crate::layers::attention::Biases;
use crate::weights::LoadError;
use crate::weights::loader::Loader;

/// Loads a `qwen2` folder.
///
/// # Errors
/// Those of the loader.
pub fn load(loader: &Loader) -> Result<llama::Model, LoadError> {
    let biases = Some(Biases { qkv: true, output: false });
    llama::Model::load_variant(loader, loader.config().args()?, Variant { biases, ..Variant::default() })
}
