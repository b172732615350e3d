//! Gemma 1: Llama with scaled embeddings, norms around one and GELU.
//!
//! Gemma Team 2024 (<https://arxiv.org/abs/2403.08295>); reference: `gemma.py` of mlx-lm 0.32.2.

use super::llama;
use super::variant::Variant;
use crate::layers::mlp::Activation;
use crate::weights::LoadError;
use crate::weights::loader::Loader;

/// Loads a `gemma` folder.
///
/// # Errors
/// Those of the loader.
pub fn load(loader: &Loader) -> Result<llama::Model, LoadError> {
    let variant = Variant {
        norms_from_one: true,
        scaled_embedding: true,
        activation: Activation::Gelu,
        tied: Some(true),
        ..Variant::default()
    };
    llama::Model::load_variant(loader, loader.config().args()?, variant)
}
