//! One file per architecture. A model handles tokens, positions and a KV handle; it knows nothing of requests or scheduling.

use mlx_rs::{Array, Dtype};

use crate::kv::{ConvolutionShape, ImageAttention, KvShape, KvStep, StateShape};
use crate::layers::Result;
use crate::layers::embedding::Embedding;
use crate::layers::linear::Linear;
use crate::layers::mlp::Activation;
use crate::weights::LoadError;
use crate::weights::config::Config;
use crate::weights::loader::Loader;

pub mod bert;
pub mod classifier;
pub mod cohere2;
mod deepseek_experts;
pub mod deepseek_v3;
pub mod encoder;
pub mod ernie4_5;
pub mod exaone4;
pub mod gemma;
pub mod gemma2;
pub mod gemma3_text;
pub mod gemma4;
pub mod glm4;
pub mod glm4_moe;
pub mod gpt_oss;
pub mod granite;
pub mod hunyuan_v1_dense;
pub mod lfm2;
pub mod llama;
pub mod minimax;
pub mod ministral3;
pub mod mistral;
pub mod mixtral;
pub mod modernbert;
pub mod olmo2;
pub mod olmo3;
pub mod phi3;
pub mod qwen2;
pub mod qwen3;
pub mod qwen3_5;
pub mod qwen3_moe;
pub mod seed_oss;
pub mod smollm3;
pub mod step_input;
mod variant;
pub mod vision;

pub use step_input::StepInput;

/// Builds a model from its weights. With a checking loader it only checks them.
pub type Build = fn(&Loader) -> Result<Box<dyn Model>, LoadError>;

/// Every supported `model_type` of a decoder.
const ARCHITECTURES: [(&str, Build); 51] = [
    ("cohere2", |loader| Ok(Box::new(cohere2::Model::load(loader)?))),
    ("deepseek_v2", |loader| Ok(Box::new(deepseek_v3::Model::load_v2(loader)?))),
    ("deepseek_v3", |loader| Ok(Box::new(deepseek_v3::Model::load(loader)?))),
    ("ernie4_5", |loader| Ok(Box::new(ernie4_5::load(loader)?))),
    ("exaone4", |loader| Ok(Box::new(exaone4::load(loader)?))),
    ("gemma", |loader| Ok(Box::new(gemma::load(loader)?))),
    ("gemma2", |loader| Ok(Box::new(gemma2::Model::load(loader)?))),
    // Its language model only.
    ("gemma3", |loader| Ok(Box::new(gemma3_text::Model::load(loader)?))),
    ("gemma3_text", |loader| Ok(Box::new(gemma3_text::Model::load(loader)?))),
    // Their language model only.
    ("gemma4", |loader| Ok(Box::new(gemma4::Model::load(loader)?))),
    ("gemma4_text", |loader| Ok(Box::new(gemma4::Model::load(loader)?))),
    ("gemma4_unified", |loader| Ok(Box::new(gemma4::Model::load(loader)?))),
    ("glm4", |loader| Ok(Box::new(glm4::load(loader)?))),
    ("glm4_moe", |loader| Ok(Box::new(glm4_moe::load(loader)?))),
    ("glm4_moe_lite", |loader| Ok(Box::new(deepseek_v3::Model::load_glm(loader)?))),
    ("gpt_oss", |loader| Ok(Box::new(gpt_oss::load(loader)?))),
    ("granite", |loader| Ok(Box::new(granite::load(loader)?))),
    ("hunyuan_v1_dense", |loader| Ok(Box::new(hunyuan_v1_dense::load(loader)?))),
    ("idefics3", |loader| Ok(Box::new(mistral::load_language_model(loader)?))),
    ("iquestcoder", |loader| Ok(Box::new(llama::Model::load(loader)?))),
    ("joyai_llm_flash", |loader| Ok(Box::new(deepseek_v3::Model::load(loader)?))),
    ("kimi_k2", |loader| Ok(Box::new(deepseek_v3::Model::load(loader)?))),
    ("lfm2", |loader| Ok(Box::new(lfm2::Model::load(loader)?))),
    ("lfm2_moe", |loader| Ok(Box::new(lfm2::Model::load_sparse(loader)?))),
    ("llama", |loader| Ok(Box::new(llama::Model::load(loader)?))),
    ("llava", |loader| Ok(Box::new(mistral::load_language_model(loader)?))),
    ("minimax", |loader| Ok(Box::new(minimax::load(loader)?))),
    ("minimax_m2", |loader| Ok(Box::new(minimax::load(loader)?))),
    ("ministral3", |loader| Ok(Box::new(ministral3::load(loader)?))),
    ("mistral", |loader| Ok(Box::new(mistral::load(loader)?))),
    ("mistral3", |loader| Ok(Box::new(mistral::load_language_model(loader)?))),
    ("mixtral", |loader| Ok(Box::new(mixtral::load(loader)?))),
    ("olmo2", |loader| Ok(Box::new(olmo2::load(loader)?))),
    ("olmo3", |loader| Ok(Box::new(olmo3::load(loader)?))),
    ("phi3", |loader| Ok(Box::new(phi3::load(loader)?))),
    ("qwen2", |loader| Ok(Box::new(qwen2::load(loader)?))),
    ("qwen2_5_vl", |loader| Ok(Box::new(qwen2::load(loader)?))),
    ("qwen2_vl", |loader| Ok(Box::new(qwen2::load(loader)?))),
    ("qwen3", |loader| Ok(Box::new(qwen3::load(loader)?))),
    // Their language model only.
    ("qwen3_5", |loader| Ok(Box::new(qwen3_5::Model::load(loader)?))),
    ("qwen3_5_moe", |loader| Ok(Box::new(qwen3_5::Model::load(loader)?))),
    ("qwen3_5_moe_text", |loader| Ok(Box::new(qwen3_5::Model::load(loader)?))),
    ("qwen3_5_text", |loader| Ok(Box::new(qwen3_5::Model::load(loader)?))),
    ("qwen3_moe", |loader| Ok(Box::new(qwen3_moe::load(loader)?))),
    ("qwen3_next", |loader| Ok(Box::new(qwen3_5::Model::load(loader)?))),
    ("qwen3_vl", |loader| Ok(Box::new(qwen3::load(loader)?))),
    ("qwen3_vl_moe", |loader| Ok(Box::new(qwen3_moe::load(loader)?))),
    ("seed_oss", |loader| Ok(Box::new(seed_oss::load(loader)?))),
    ("smollm3", |loader| Ok(Box::new(smollm3::load(loader)?))),
    ("smolvlm", |loader| Ok(Box::new(mistral::load_language_model(loader)?))),
    ("xverse", |loader| Ok(Box::new(llama::Model::load(loader)?))),
];

/// A decoder-only language model.
pub trait Model: std::fmt::Debug {
    /// Sizes and type of the KV of a token.
    fn kv_shape(&self) -> Result<KvShape>;

    /// The same of further layers, if their heads have other sizes. They come after the others in the KV.
    fn other_kv_shape(&self) -> Result<Option<KvShape>> {
        Ok(None)
    }

    /// Sizes of its short convolutions, if it has any.
    fn convolutions(&self) -> Option<ConvolutionShape> {
        None
    }

    /// Sizes of its recurrent states, if it has any.
    fn states(&self) -> Option<StateShape> {
        None
    }

    /// Largest attention window of any layer, in tokens, the newest included; `None` if a layer attends to all.
    fn window(&self) -> Option<u32> {
        None
    }

    /// The longest text, in tokens, with the rotary factors of short texts; `None` if there is one set of factors.
    fn original_context(&self) -> Option<u32> {
        None
    }

    /// How tokens of an image attend to each other; `None` if they attend to those before them, like text.
    fn image_attention(&self) -> Option<ImageAttention> {
        None
    }

    /// Runs all layers: T tokens → hidden states `[T, D]`. Keys and values go to `kv`.
    fn hidden(&self, input: &StepInput, kv: &mut KvStep) -> Result<Array>;

    /// The final norm: `[N, D]` → `[N, D]`.
    fn final_norm(&self, hidden: &Array) -> Result<Array>;

    /// The final norm and the output layer: `[N, D]` → logits `[N, vocabulary]`.
    fn logits(&self, hidden: &Array) -> Result<Array>;
}

/// The type in which a model computes: that of an embedding after the final norm.
fn computed_dtype(model: &impl Model, embedding: &Embedding) -> Result<Dtype> {
    let token = Array::from_slice(&[0u32], &[1]);
    Ok(model.final_norm(&embedding.forward(&token)?)?.dtype())
}

/// Checks that `layer_types` of config.json names at least this many layers, all of these two kinds.
///
/// # Errors
/// A sentence.
fn check_layer_types(types: &[String], layers: usize, kinds: [&str; 2]) -> Result<(), String> {
    if types.len() < layers {
        return Err(format!("layer_types names {} of {layers} layers", types.len()));
    }
    match types.iter().find(|kind| !kinds.contains(&kind.as_str())) {
        Some(other) => Err(format!("layers of the type \"{other}\" (layer_types) are not supported")),
        None => Ok(()),
    }
}

/// The layer that makes logits: the embedding's weights if it is `tied` to them. `sizes` are the width and the vocabulary.
fn output_layer(
    loader: &Loader,
    embedding: &Embedding,
    tied: bool,
    sizes: (i32, i32),
) -> Result<Linear, LoadError> {
    if tied || loader.is_headless() {
        return Ok(embedding.as_output());
    }
    Linear::load(loader, "lm_head", sizes.0, sizes.1, false)
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
