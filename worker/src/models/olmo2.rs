//! OLMo 2: Llama with norms after attention and MLP instead of before, and norms over all query and all key heads.
//!
//! OLMo Team 2025 (<https://arxiv.org/abs/2501.00656>); reference: `olmo2.py` of mlx-lm 0.32.2.

use super::llama;
use super::variant::{BlockNorms, QueryKeyNorms, Variant};
use crate::weights::LoadError;
use crate::weights::loader::Loader;

/// Loads an `olmo2` folder.
///
/// # Errors
/// Those of the loader.
pub fn load(loader: &Loader) -> Result<llama::Model, LoadError> {
    llama::Model::load_variant(loader, loader.config().args()?, variant())
}

/// The differences from Llama, which OLMo 3 has too.
pub(super) fn variant() -> Variant {
    Variant {
        block_norms: BlockNorms::OUTPUTS,
        head_norms: Some(QueryKeyNorms::PROJECTIONS),
        ..Variant::default()
    }
}
