//! Mistral 7B and Nemo: Llama, in the first version with a sliding window in every layer.
//!
//! Jiang et al. 2023 (<https://arxiv.org/abs/2310.06825>); reference: `llama.py` of mlx-lm 0.32.2, which leaves the window
//! out, and `modeling_mistral.py` of Transformers, which has it.

use super::llama::{self, Variant};
use crate::weights::LoadError;
use crate::weights::loader::Loader;

/// Loads a `mistral` folder.
///
/// # Errors
/// As the loader's.
pub fn load(loader: &Loader) -> Result<llama::Model, LoadError> {
    llama::Model::varied(loader, loader.config().args()?, Variant { windows: true, ..Variant::default() })
}
