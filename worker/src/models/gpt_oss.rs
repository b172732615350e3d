//! gpt-oss: mixture-of-experts layers with biases and a clipped gate, attention sinks, a sliding window in every other layer.
//!
//! OpenAI 2025 (<https://arxiv.org/abs/2508.10925>); reference: `gpt_oss.py` of mlx-lm 0.32.2. The loader
//! handles MXFP4.

use serde::Deserialize;

use super::llama::{self, Args};
use super::variant::Variant;
use crate::layers::attention::Biases;
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

/// Loads a `gpt_oss` folder.
///
/// # Errors
/// Those of the loader.
pub fn load(loader: &Loader) -> Result<llama::Model, LoadError> {
    let args: Args = loader.config().args()?;
    let experts: Experts = loader.config().args()?;
    if args.layer_types.is_none() {
        return Err(loader.config().problem("\"layer_types\" is missing: which layers slide is not known"));
    }
    let sparse = Sparse {
        path: "mlp",
        names: MoeNames { router: "router", stacked: "experts", ..MoeNames::SWITCH_MLP },
        shape: MoeShape {
            size: args.hidden_size,
            hidden: args.intermediate_size,
            experts: experts.num_local_experts,
            chosen: experts.num_experts_per_tok,
            weighting: Weighting::Chosen,
            activation: super::activation(loader.config(), Activation::Clipped)?,
            biases: true,
        },
        step: 1,
        dense_layers: Vec::new(),
        shared: None,
    };
    let variant = Variant {
        biases: Some(Biases { qkv: true, output: true }),
        sinks: true,
        tied: Some(false),
        sparse: Some(sparse),
        ..Variant::default()
    };
    llama::Model::load_variant(loader, args, variant)
}
