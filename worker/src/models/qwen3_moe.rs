//! Qwen 3 with a mixture of experts in all or most layers, such as 30B-A3B and Qwen3-Coder.
//!
//! Yang et al. 2025 (<https://arxiv.org/abs/2505.09388>); reference: `qwen3_moe.py` of mlx-lm 0.32.2, which ignores
//! `rope_scaling`, and `modeling_qwen3_moe.py` of Transformers, which does not.

use serde::Deserialize;

use super::llama::{self, Args};
use super::variant::{QueryKeyNorms, Variant};
use crate::layers::feed_forward::Sparse;
use crate::layers::mlp::Activation;
use crate::layers::moe::{MoeNames, MoeShape, Weighting};
use crate::weights::LoadError;
use crate::weights::loader::Loader;

/// The fields of config.json about experts.
#[derive(Debug, Deserialize)]
struct Experts {
    num_experts: i32,
    num_experts_per_tok: i32,
    moe_intermediate_size: i32,
    #[serde(default)]
    norm_topk_prob: bool,
    #[serde(default)]
    mlp_only_layers: Vec<usize>,
    #[serde(default = "default_sparse_step")]
    decoder_sparse_step: usize,
}

fn default_sparse_step() -> usize {
    1
}

/// Loads a `qwen3_moe` folder.
///
/// # Errors
/// Those of the loader.
pub fn load(loader: &Loader) -> Result<llama::Model, LoadError> {
    let args: Args = loader.config().args()?;
    let experts: Experts = loader.config().args()?;
    let sparse = Sparse {
        path: "mlp",
        names: MoeNames { whole: Some("experts"), ..MoeNames::SWITCH_MLP },
        shape: MoeShape {
            size: args.hidden_size,
            hidden: experts.moe_intermediate_size,
            experts: experts.num_experts,
            chosen: experts.num_experts_per_tok,
            weighting: Weighting::All { normalized: experts.norm_topk_prob, factor: 1.0 },
            activation: super::activation(loader.config(), Activation::Silu)?,
            biases: false,
        },
        step: experts.decoder_sparse_step,
        dense_layers: experts.mlp_only_layers,
        shared: None,
    };
    let sparse = Some(sparse).filter(|_| experts.num_experts > 0);
    let variant = Variant { head_norms: Some(QueryKeyNorms::HEADS), sparse, ..Variant::default() };
    llama::Model::load_variant(loader, args, variant)
}
