//! Qwen 3 with mixtures of experts (such as 30B-A3B and Qwen3-Coder): Qwen 3 whose layers, or most of them, are sparse.
//!
//! Yang et al. 2025 (<https://arxiv.org/abs/2505.09388>); reference: `qwen3_moe.py` of mlx-lm 0.32.2, which ignores
//! `rope_scaling`, and `modeling_qwen3_moe.py` of Transformers, which does not.

use serde::Deserialize;

use super::llama::{self, Args, Sparse, Variant};
use crate::layers::mlp::Activation;
use crate::layers::moe::{Names, Shape, Weighing};
use crate::weights::LoadError;
use crate::weights::loader::Loader;

/// The fields of config.json that concern experts.
#[derive(Debug, Deserialize)]
struct Experts {
    num_experts: i32,
    num_experts_per_tok: i32,
    moe_intermediate_size: i32,
    #[serde(default)]
    norm_topk_prob: bool,
    #[serde(default)]
    mlp_only_layers: Vec<usize>,
    #[serde(default = "every")]
    decoder_sparse_step: usize,
}

fn every() -> usize {
    1
}

/// Loads a `qwen3_moe` folder.
///
/// # Errors
/// As the loader's.
pub fn load(loader: &Loader) -> Result<llama::Model, LoadError> {
    let args: Args = loader.config().args()?;
    let experts: Experts = loader.config().args()?;
    let sparse = Sparse {
        path: "mlp",
        names: Names { router: "gate", stacked: "switch_mlp", each: ["gate_proj", "up_proj", "down_proj"] },
        shape: Shape {
            size: args.hidden_size,
            hidden: experts.moe_intermediate_size,
            experts: experts.num_experts,
            chosen: experts.num_experts_per_tok,
            weighing: Weighing::All { normalized: experts.norm_topk_prob },
            activation: Activation::Silu,
            biases: false,
        },
        step: experts.decoder_sparse_step,
        dense_layers: experts.mlp_only_layers,
    };
    let sparse = Some(sparse).filter(|_| experts.num_experts > 0);
    let variant = Variant { head_norms: true, sparse, ..Variant::default() };
    llama::Model::varied(loader, args, variant)
}
