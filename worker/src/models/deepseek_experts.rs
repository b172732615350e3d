//! The mixtures of experts of DeepSeek, which GLM and Kimi have too.
//!
//! Reference: `deepseek_v2.py`, `deepseek_v3.py` and `glm4_moe.py` of mlx-lm 0.32.2.

use serde::Deserialize;

use crate::layers::feed_forward::{SharedExpert, Sparse};
use crate::layers::mlp::Activation;
use crate::layers::moe::{ExpertGroups, MoeNames, MoeShape, SigmoidRouting, Weighting};
use crate::weights::LoadError;
use crate::weights::loader::Loader;

/// How a family turns a router's scores into weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scoring {
    /// DeepSeek V2's.
    Softmax,
    /// That of DeepSeek V3 and GLM.
    Sigmoid,
}

impl Scoring {
    /// Its name in config.json.
    fn name(self) -> &'static str {
        match self {
            Self::Softmax => "softmax",
            Self::Sigmoid => "sigmoid",
        }
    }
}

/// The fields of config.json about experts.
#[derive(Debug, Deserialize)]
pub(super) struct Experts {
    n_routed_experts: Option<i32>,
    num_experts_per_tok: Option<i32>,
    #[serde(default)]
    moe_intermediate_size: i32,
    n_shared_experts: Option<i32>,
    n_group: Option<i32>,
    topk_group: Option<i32>,
    norm_topk_prob: Option<bool>,
    routed_scaling_factor: Option<f32>,
    #[serde(default)]
    first_k_dense_replace: usize,
    moe_layer_freq: Option<usize>,
    scoring_func: Option<String>,
    topk_method: Option<String>,
}

impl Experts {
    /// Reads config.json.
    ///
    /// # Errors
    /// A field has the wrong type.
    pub(super) fn read(loader: &Loader) -> Result<Self, LoadError> {
        loader.config().args()
    }

    /// The mixtures of a model of width `size` with so many layers; `None` if it has none.
    ///
    /// # Errors
    /// A sentence, for routing that is not supported.
    pub(super) fn sparse(
        &self,
        (size, layers): (i32, usize),
        scoring: Scoring,
    ) -> Result<Option<Sparse>, String> {
        let Some(experts) = self.n_routed_experts else { return Ok(None) };
        if let Some(step) = self.moe_layer_freq.filter(|step| *step != 1) {
            return Err(format!("experts in every {step}th layer (moe_layer_freq) are not supported"));
        }
        let shared = self.shared_width()?;
        Ok(Some(Sparse {
            path: "mlp",
            names: MoeNames { plain_router: true, ..MoeNames::SWITCH_MLP },
            shape: MoeShape {
                size,
                hidden: self.moe_intermediate_size,
                experts,
                chosen: self.num_experts_per_tok.unwrap_or(1),
                weighting: self.weighting(scoring)?,
                activation: Activation::Silu,
                biases: false,
            },
            step: 1,
            dense_layers: (0..self.first_k_dense_replace.min(layers)).collect(),
            shared: shared.map(|hidden| SharedExpert { path: "shared_experts", hidden, gate: None }),
        }))
    }

    fn weighting(&self, scoring: Scoring) -> Result<Weighting, String> {
        let factor = self.routed_scaling_factor.unwrap_or(1.0);
        if let Some(other) = self.scoring_func.as_deref().filter(|name| *name != scoring.name()) {
            return Err(format!("scoring_func \"{other}\" is not supported for this architecture"));
        }
        let groups = match (self.n_group, self.topk_group) {
            (Some(count), chosen) if count != 1 => Some(ExpertGroups { count, chosen: chosen.unwrap_or(1) }),
            _ => None,
        };
        match (scoring, self.topk_method.as_deref()) {
            (Scoring::Softmax, Some("group_limited_greedy")) => {
                Err("topk_method \"group_limited_greedy\" is not supported".into())
            }
            (Scoring::Softmax, _) => Ok(Weighting::All { normalized: false, factor }),
            (Scoring::Sigmoid, None | Some("noaux_tc")) => {
                let chosen = self.num_experts_per_tok.unwrap_or(1);
                Ok(Weighting::Sigmoid(SigmoidRouting {
                    bias: Some("gate.e_score_correction_bias"),
                    normalized: self.norm_topk_prob.unwrap_or(true) && chosen > 1,
                    added: 0.0,
                    factor,
                    groups,
                }))
            }
            (Scoring::Sigmoid, Some(other)) => Err(format!("topk_method \"{other}\" is not supported")),
        }
    }

    /// Width of the shared experts together; `None` if there are none.
    fn shared_width(&self) -> Result<Option<i32>, String> {
        let Some(shared) = self.n_shared_experts.filter(|shared| *shared != 0) else { return Ok(None) };
        let width = self.moe_intermediate_size.checked_mul(shared).filter(|width| *width > 0);
        width.map(Some).ok_or_else(|| format!("{shared} shared experts (n_shared_experts) cannot be"))
    }
}
