//! GLM 4.5 to 4.7: Llama with partial rotary embeddings, and a mixture of experts with a shared one in all but the first layers.
//!
//! GLM Team 2025 (<https://arxiv.org/abs/2508.06471>); reference: `glm4_moe.py` of mlx-lm 0.32.2. The layers that predict further
//! tokens are not used.

use serde::Deserialize;

use super::llama::{self, Args};
use super::variant::{QueryKeyNorms, Sparse, Variant};
use crate::layers::attention::Biases;
use crate::layers::mlp::Activation;
use crate::layers::moe::{MoeNames, MoeShape, SigmoidRouting, Weighting};
use crate::weights::LoadError;
use crate::weights::loader::Loader;

/// The rotated fraction of a head in files that do not state it, as in Transformers.
const ROTATED: f32 = 0.5;

/// The fields of config.json about experts.
#[derive(Debug, Deserialize)]
struct Experts {
    n_routed_experts: i32,
    num_experts_per_tok: i32,
    moe_intermediate_size: i32,
    n_shared_experts: Option<i32>,
    n_group: Option<i32>,
    norm_topk_prob: bool,
    routed_scaling_factor: f32,
    first_k_dense_replace: usize,
    scoring_func: Option<String>,
    #[serde(default)]
    use_qk_norm: bool,
}

impl Experts {
    fn check(&self) -> Result<(), String> {
        if let Some(groups) = self.n_group.filter(|groups| *groups != 1) {
            return Err(format!("{groups} groups of experts (n_group) are not supported"));
        }
        match self.scoring_func.as_deref() {
            None | Some("sigmoid") => Ok(()),
            Some(other) => Err(format!("scoring_func \"{other}\" is not supported")),
        }
    }

    /// Width of the shared experts together; `None` if there are none.
    fn shared_width(&self) -> Result<Option<i32>, String> {
        let Some(shared) = self.n_shared_experts.filter(|shared| *shared != 0) else { return Ok(None) };
        let width = self.moe_intermediate_size.checked_mul(shared).filter(|width| *width > 0);
        width.map(Some).ok_or_else(|| format!("{shared} shared experts (n_shared_experts) cannot be"))
    }
}

/// Loads a `glm4_moe` folder.
///
/// # Errors
/// Those of the loader.
pub fn load(loader: &Loader) -> Result<llama::Model, LoadError> {
    let args: Args = loader.config().args()?;
    let experts: Experts = loader.config().args()?;
    let problem = |problem| loader.config().problem(problem);
    experts.check().map_err(problem)?;
    let width = args.rotary_width(ROTATED).map_err(problem)?;
    let shared = experts.shared_width().map_err(problem)?;
    let sparse = Sparse {
        path: "mlp",
        names: MoeNames {
            router: "gate",
            stacked: "switch_mlp",
            each: ["gate_proj", "up_proj", "down_proj"],
        },
        shape: MoeShape {
            size: args.hidden_size,
            hidden: experts.moe_intermediate_size,
            experts: experts.n_routed_experts,
            chosen: experts.num_experts_per_tok,
            weighting: Weighting::Sigmoid(SigmoidRouting {
                bias: "gate.e_score_correction_bias",
                normalized: experts.norm_topk_prob && experts.num_experts_per_tok > 1,
                factor: experts.routed_scaling_factor,
                plain_router: true,
            }),
            activation: super::activation(loader.config(), Activation::Silu)?,
            biases: false,
        },
        step: 1,
        dense_layers: (0..experts.first_k_dense_replace.min(args.num_hidden_layers)).collect(),
        shared: shared.map(|width| ("shared_experts", width)),
    };
    let variant = Variant {
        biases: Some(Biases { qkv: args.attention_bias, output: false }),
        head_norms: experts.use_qk_norm.then_some(QueryKeyNorms::HEADS),
        rope: Some(args.rope(width).map_err(problem)?),
        tied: Some(false),
        sparse: Some(sparse),
        ..Variant::default()
    };
    llama::Model::load_variant(loader, args, variant)
}
