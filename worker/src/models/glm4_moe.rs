//! GLM 4.5 to 4.7: Llama with partial rotary embeddings, and a mixture of experts with a shared one in all but the first layers.
//!
//! GLM Team 2025 (<https://arxiv.org/abs/2508.06471>); reference: `glm4_moe.py` of mlx-lm 0.32.2. The layers that predict further
//! tokens are not used.

use serde::Deserialize;

use super::deepseek_experts::{Experts, Scoring};
use super::llama::{self, Args};
use super::variant::{QueryKeyNorms, Variant};
use crate::layers::attention::Biases;
use crate::weights::LoadError;
use crate::weights::loader::Loader;

/// The rotated fraction of a head in files that do not state it, as in Transformers.
const ROTATED: f32 = 0.5;

/// The field of config.json that Llama lacks.
#[derive(Debug, Deserialize)]
struct Fields {
    #[serde(default)]
    use_qk_norm: bool,
}

/// Loads a `glm4_moe` folder.
///
/// # Errors
/// Those of the loader.
pub fn load(loader: &Loader) -> Result<llama::Model, LoadError> {
    let args: Args = loader.config().args()?;
    let fields: Fields = loader.config().args()?;
    let problem = |problem| loader.config().problem(problem);
    let width = args.rotary_width(ROTATED).map_err(problem)?;
    let sizes = (args.hidden_size, args.num_hidden_layers);
    let sparse = Experts::read(loader)?.sparse(sizes, Scoring::Sigmoid).map_err(problem)?;
    let variant = Variant {
        biases: Some(Biases { qkv: args.attention_bias, output: false }),
        head_norms: fields.use_qk_norm.then_some(QueryKeyNorms::HEADS),
        rope: Some(args.rope(width).map_err(problem)?),
        tied: Some(false),
        sparse,
        ..Variant::default()
    };
    llama::Model::load_variant(loader, args, variant)
}
