//! GLM 4 (0414): Llama with norms before and after attention and MLP, and rotary embeddings of neighbouring coordinates in a
//! part of each head.
//!
//! GLM Team 2024 (<https://arxiv.org/abs/2406.12793>); reference: `glm4.py` of mlx-lm 0.32.2.

use super::llama::{self, Args};
use super::variant::{BlockNorms, Variant};
use crate::layers::attention::Biases;
use crate::weights::LoadError;
use crate::weights::loader::Loader;

/// The rotated fraction of a head in files that do not state it, as in Transformers.
const ROTATED: f32 = 0.5;

const NORMS: BlockNorms = BlockNorms {
    attention_output: Some("post_self_attn_layernorm"),
    mlp_output: Some("post_mlp_layernorm"),
    ..BlockNorms::INPUTS
};

/// Loads a `glm4` folder.
///
/// # Errors
/// Those of the loader.
pub fn load(loader: &Loader) -> Result<llama::Model, LoadError> {
    let args: Args = loader.config().args()?;
    let problem = |problem| loader.config().problem(problem);
    let width = args.rotary_width(ROTATED).map_err(problem)?;
    let variant = Variant {
        biases: Some(Biases { qkv: args.attention_bias, output: false }),
        block_norms: NORMS,
        rope: Some(args.rope(width).map_err(problem)?),
        neighbours: Some(width),
        tied: Some(false),
        ..Variant::default()
    };
    llama::Model::load_variant(loader, args, variant)
}
