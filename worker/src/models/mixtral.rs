//! Mixtral: Mistral with a mixture of experts in every layer.
//!
//! Jiang et al. 2024 (<https://arxiv.org/abs/2401.04088>); reference: `mixtral.py` of mlx-lm 0.32.2, which omits the sliding
//! window, and `modeling_mixtral.py` of Transformers, which has it.

use serde::Deserialize;

use super::llama::{self, Args};
use super::variant::Variant;
use crate::layers::feed_forward::Sparse;
use crate::layers::mlp::Activation;
use crate::layers::moe::{MoeNames, MoeShape, Weighting};
use crate::weights::LoadError;
use crate::weights::loader::Loader;

/// The fields of config.json about experts.
#[derive(Debug, Deserialize)]
struct Experts {
    num_local_experts: i32,
    num_experts_per_tok: i32,
}

/// Loads a `mixtral` folder.
///
/// # Errors
/// Those of the loader.
pub fn load(loader: &Loader) -> Result<llama::Model, LoadError> {
    let args: Args = loader.config().args()?;
    let experts: Experts = loader.config().args()?;
    let sparse = Sparse {
        path: "block_sparse_moe",
        names: MoeNames { each: ["w1", "w3", "w2"], ..MoeNames::SWITCH_MLP },
        shape: MoeShape {
            size: args.hidden_size,
            hidden: args.intermediate_size,
            experts: experts.num_local_experts,
            chosen: experts.num_experts_per_tok,
            weighting: Weighting::Chosen,
            activation: super::activation(loader.config(), Activation::Silu)?,
            biases: false,
        },
        step: 1,
        dense_layers: Vec::new(),
        shared: None,
    };
    let variant = Variant { sliding_by_default: true, sparse: Some(sparse), ..Variant::default() };
    llama::Model::load_variant(loader, args, variant)
}
