//! MiniMax M2: Llama with a mixture of experts, norms over all query and all key heads, and partial rotary embeddings.
//!
//! MiniMax 2025 (<https://github.com/MiniMax-AI/MiniMax-M2>); reference: `minimax.py` of mlx-lm 0.32.2. Its `model_type` is
//! `minimax_m2`, and `minimax` in the first files. MiniMax-Text-01, whose layers attend linearly, is refused.

use serde::Deserialize;

use super::llama::{self, Args};
use super::variant::{QueryKeyNorms, Variant};
use crate::layers::feed_forward::Sparse;
use crate::layers::mlp::Activation;
use crate::layers::moe::{MoeNames, MoeShape, SigmoidRouting, Weighting};
use crate::layers::rope;
use crate::weights::LoadError;
use crate::weights::loader::Loader;

/// The fields of config.json that Llama lacks.
#[derive(Debug, Deserialize)]
struct Fields {
    num_local_experts: i32,
    num_experts_per_tok: i32,
    rotary_dim: Option<i32>,
    scoring_func: Option<String>,
    use_qk_norm: Option<bool>,
    /// 1 for a layer with softmax attention.
    attn_type_list: Option<Vec<u8>>,
}

impl Fields {
    fn check(&self) -> Result<(), String> {
        if self.attn_type_list.iter().flatten().any(|kind| *kind != 1) {
            return Err("linear attention (attn_type_list) is not supported".into());
        }
        match self.scoring_func.as_deref() {
            None | Some("sigmoid") => Ok(()),
            Some(other) => Err(format!("scoring_func \"{other}\" is not supported")),
        }
    }
}

/// Loads a `minimax_m2` or `minimax` folder.
///
/// # Errors
/// Those of the loader.
pub fn load(loader: &Loader) -> Result<llama::Model, LoadError> {
    let args: Args = loader.config().args()?;
    let fields: Fields = loader.config().args()?;
    let problem = |problem| loader.config().problem(problem);
    fields.check().map_err(problem)?;
    let width = match fields.rotary_dim {
        Some(width) => rope::check_width(width, args.head_dim()),
        None => args.rotary_width(1.0),
    };
    let width = width.map_err(problem)?;
    let sparse = Sparse {
        path: "block_sparse_moe",
        names: MoeNames { each: ["w1", "w3", "w2"], ..MoeNames::SWITCH_MLP },
        shape: MoeShape {
            size: args.hidden_size,
            hidden: args.intermediate_size,
            experts: fields.num_local_experts,
            chosen: fields.num_experts_per_tok,
            weighting: Weighting::Sigmoid(SigmoidRouting {
                bias: Some("e_score_correction_bias"),
                normalized: true,
                factor: 1.0,
                added: 0.0,
                groups: None,
            }),
            activation: super::activation(loader.config(), Activation::Silu)?,
            biases: false,
        },
        step: 1,
        dense_layers: Vec::new(),
        shared: None,
    };
    let variant = Variant {
        head_norms: fields.use_qk_norm.unwrap_or(true).then_some(QueryKeyNorms::PROJECTIONS),
        rope: Some(args.rope(width).map_err(problem)?),
        tied: Some(false),
        sparse: Some(sparse),
        ..Variant::default()
    };
    llama::Model::load_variant(loader, args, variant)
}
