//! Granite 3 and dense Granite 4: Llama with constant factors of embeddings, scores, residual sums and logits.
//!
//! Granite Team 2024 (<https://github.com/ibm-granite/granite-3.0-language-models>); reference: `granite.py` of mlx-lm 0.32.2.

use serde::Deserialize;

use super::llama;
use super::variant::{Factors, Variant};
use crate::weights::LoadError;
use crate::weights::loader::Loader;

/// The factors in config.json.
#[derive(Debug, Deserialize)]
struct Multipliers {
    embedding_multiplier: f32,
    attention_multiplier: f32,
    residual_multiplier: f32,
    logits_scaling: f32,
}

/// Loads a `granite` folder.
///
/// # Errors
/// Those of the loader.
pub fn load(loader: &Loader) -> Result<llama::Model, LoadError> {
    let multipliers: Multipliers = loader.config().args()?;
    let factors = Factors {
        embedding: Some(multipliers.embedding_multiplier),
        scores: Some(multipliers.attention_multiplier),
        residual: Some(multipliers.residual_multiplier),
        logits_divisor: Some(multipliers.logits_scaling),
    };
    let variant = Variant { factors, tied: Some(true), ..Variant::default() };
    llama::Model::load_variant(loader, loader.config().args()?, variant)
}
