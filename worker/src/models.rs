//! One file for each architecture. A model sees tokens, positions and a KV handle; nothing of requests or scheduling.

use mlx_rs::Array;

use crate::layers::Result;
use crate::mlx::kv::{KvShape, KvStep};
use crate::weights::LoadError;
use crate::weights::loader::Loader;

pub mod gemma3_text;
pub mod llama;
pub mod qwen2;

/// Every `model_type` that can be served.
pub const SUPPORTED: [&str; 3] = ["gemma3_text", "llama", "qwen2"];

/// A decoder-only language model.
pub trait Model: std::fmt::Debug {
    /// What a token's keys and values take.
    fn kv_shape(&self) -> KvShape;

    /// Runs all layers: ids `[T]` and positions `[T]` (float32) → hidden states `[T, D]`. Keys and values go to `kv`.
    fn hidden(&self, ids: &Array, positions: &Array, kv: &mut KvStep) -> Result<Array>;

    /// The final norm and the output layer: `[N, D]` → logits `[N, vocabulary]`.
    fn logits(&self, hidden: &Array) -> Result<Array>;
}

/// The model that `loader`'s configuration names.
///
/// # Errors
/// For an architecture we do not have, and as the loader's.
pub fn build(loader: &Loader) -> std::result::Result<Box<dyn Model>, LoadError> {
    match loader.config().model_type.as_str() {
        "gemma3_text" => Ok(Box::new(gemma3_text::Model::load(loader)?)),
        "llama" => Ok(Box::new(llama::Model::load(loader)?)),
        "qwen2" => Ok(Box::new(qwen2::load(loader)?)),
        other => Err(LoadError::Architecture { found: other.to_owned() }),
    }
}
