//! SmolLM 3: Llama with some layers without rotary embeddings (NoPE).
//!
//! Reference: `smollm3.py` of mlx-lm 0.32.2; the idea is Yang et al. 2025 (<https://arxiv.org/abs/2501.18795>).

use super::llama::{self, Args};
use super::variant::Variant;
use crate::weights::LoadError;
use crate::weights::loader::Loader;

/// Loads a `smollm3` folder.
///
/// # Errors
/// Those of the loader.
pub fn load(loader: &Loader) -> Result<llama::Model, LoadError> {
    let variant = Variant { uses_rope, tied: Some(true), ..Variant::default() };
    llama::Model::load_variant(loader, loader.config().args()?, variant)
}

fn uses_rope(args: &Args, layer: usize) -> bool {
    match &args.no_rope_layers {
        Some(list) => list.get(layer) != Some(&0),
        None => !(layer + 1).is_multiple_of(args.no_rope_layer_interval.unwrap_or(4).max(1)),
    }
}
