//! One file for each architecture. A model sees tokens, positions and a KV handle; nothing of requests or scheduling.

use mlx_rs::Array;

use crate::layers::Result;
use crate::mlx::kv::{KvShape, KvStep};
use crate::weights::LoadError;
use crate::weights::loader::Loader;

pub mod gemma;
pub mod gemma2;
pub mod gemma3_text;
pub mod llama;
pub mod mistral;
pub mod phi3;
pub mod qwen2;
pub mod qwen3;
pub mod smollm3;

/// Every `model_type` that can be served.
pub const SUPPORTED: [&str; 9] =
    ["gemma", "gemma2", "gemma3_text", "llama", "mistral", "phi3", "qwen2", "qwen3", "smollm3"];

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
        "gemma" => Ok(Box::new(gemma::load(loader)?)),
        "gemma2" => Ok(Box::new(gemma2::Model::load(loader)?)),
        "gemma3_text" => Ok(Box::new(gemma3_text::Model::load(loader)?)),
        "llama" => Ok(Box::new(llama::Model::load(loader)?)),
        "mistral" => Ok(Box::new(mistral::load(loader)?)),
        "phi3" => Ok(Box::new(phi3::load(loader)?)),
        "qwen2" => Ok(Box::new(qwen2::load(loader)?)),
        "qwen3" => Ok(Box::new(qwen3::load(loader)?)),
        "smollm3" => Ok(Box::new(smollm3::load(loader)?)),
        other => Err(LoadError::Architecture { found: other.to_owned() }),
    }
}
