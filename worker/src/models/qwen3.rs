//! Qwen 3: Llama with norms over every query and key head.
//!
//! Yang et al. 2025 (<https://arxiv.org/abs/2505.09388>); reference: `qwen3.py` of mlx-lm 0.32.2.

use super::llama;
use super::variant::{QueryKeyNorms, Variant};
use crate::weights::LoadError;
use crate::weights::loader::Loader;

/// Loads a `qwen3` folder.
///
/// # Errors
/// Those of the loader.
pub fn load(loader: &Loader) -> Result<llama::Model, LoadError> {
    llama::Model::load_variant(
        loader,
        loader.config().args()?,
        Variant { head_norms: Some(QueryKeyNorms::HEADS), ..Variant::default() },
    )
}
