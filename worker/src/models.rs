//! One file per architecture. A model handles tokens, positions and a KV handle; it knows nothing of requests or scheduling.

use mlx_rs::Array;

use crate::kv::{KvShape, KvStep};
use crate::layers::Result;
use crate::layers::mlp::Activation;
use crate::layers::rope::Positions;
use crate::weights::LoadError;
use crate::weights::config::Config;
use crate::weights::loader::Loader;

pub mod bert;
pub mod classifier;
pub mod encoder;
pub mod gemma;
pub mod gemma2;
pub mod gemma3_text;
pub mod gpt_oss;
pub mod llama;
pub mod mistral;
pub mod mixtral;
pub mod modernbert;
pub mod phi3;
pub mod qwen2;
pub mod qwen3;
pub mod qwen3_moe;
pub mod smollm3;

/// Builds a model from its weights. With a checking loader it only checks them.
pub type Build = fn(&Loader) -> Result<Box<dyn Model>, LoadError>;

/// Every supported `model_type` of a decoder.
const ARCHITECTURES: [(&str, Build); 14] = [
    ("gemma", |loader| Ok(Box::new(gemma::load(loader)?))),
    ("gemma2", |loader| Ok(Box::new(gemma2::Model::load(loader)?))),
    // Its language model only.
    ("gemma3", |loader| Ok(Box::new(gemma3_text::Model::load(loader)?))),
    ("gemma3_text", |loader| Ok(Box::new(gemma3_text::Model::load(loader)?))),
    ("gpt_oss", |loader| Ok(Box::new(gpt_oss::load(loader)?))),
    ("llama", |loader| Ok(Box::new(llama::Model::load(loader)?))),
    ("mistral", |loader| Ok(Box::new(mistral::load(loader)?))),
    ("mistral3", |loader| Ok(Box::new(mistral::load_language_model(loader)?))),
    ("mixtral", |loader| Ok(Box::new(mixtral::load(loader)?))),
    ("phi3", |loader| Ok(Box::new(phi3::load(loader)?))),
    ("qwen2", |loader| Ok(Box::new(qwen2::load(loader)?))),
    ("qwen3", |loader| Ok(Box::new(qwen3::load(loader)?))),
    ("qwen3_moe", |loader| Ok(Box::new(qwen3_moe::load(loader)?))),
    ("smollm3", |loader| Ok(Box::new(smollm3::load(loader)?))),
];

/// A decoder-only language model.
pub trait Model: std::fmt::Debug {
    /// Sizes and type of the KV of a token.
    fn kv_shape(&self) -> Result<KvShape>;

    /// Largest attention window of any layer, in tokens, the newest included; `None` if a layer attends to all.
    fn window(&self) -> Option<u32> {
        None
    }

    /// The longest text, in tokens, with the rotary factors of short texts; `None` if there is one set of factors.
    fn original_context(&self) -> Option<u32> {
        None
    }

    /// Runs all layers: ids `[T]` and positions → hidden states `[T, D]`. Keys and values go to `kv`.
    fn hidden(&self, ids: &Array, positions: &Positions, kv: &mut KvStep) -> Result<Array>;

    /// The final norm: `[N, D]` → `[N, D]`.
    fn final_norm(&self, hidden: &Array) -> Result<Array>;

    /// The final norm and the output layer: `[N, D]` → logits `[N, vocabulary]`.
    fn logits(&self, hidden: &Array) -> Result<Array>;
}

/// The activation that config.json names, for a family that has `usual`.
///
/// Files of Gemma name one form of GELU or another and mean the same. gpt-oss has an activation of its own, called SiLU.
///
/// # Errors
/// When the activation is unknown, or not one that the family can have.
fn activation(config: &Config, usual: Activation) -> Result<Activation, LoadError> {
    let Some(name) = config.activation() else { return Ok(usual) };
    let named = Activation::from_name(name).map_err(|problem| config.problem(problem))?;
    match (usual, named) {
        (Activation::Silu, named) => Ok(named),
        (Activation::Gelu | Activation::GeluTanh, Activation::Gelu | Activation::GeluTanh)
        | (Activation::Clipped, Activation::Silu) => Ok(usual),
        _ => Err(config.problem(format!("the activation \"{name}\" is not supported for this architecture"))),
    }
}

/// Finds the builder for `model_type`.
///
/// # Errors
/// When the architecture is not supported.
pub fn find(model_type: &str) -> Result<Build, LoadError> {
    let found = ARCHITECTURES.iter().find(|(name, _)| *name == model_type);
    found.map(|(_, build)| *build).ok_or_else(|| LoadError::Architecture { found: model_type.to_owned() })
}

#[cfg(test)]
mod tests {
    use ipc_proto::families;

    use super::*;

    #[test]
    fn architectures_match_the_families_in_ipc_proto() {
        assert_eq!(ARCHITECTURES.map(|(name, _)| name), families::DECODERS);
        assert_eq!(encoder::ENCODERS.map(|(name, _)| name), families::ENCODERS);
    }
}
