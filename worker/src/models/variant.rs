//! The points in which families differ from Llama.

use super::llama::Args;
use crate::layers::attention::{Biases, NormSpan};
use crate::layers::feed_forward::Sparse;
use crate::layers::mlp::Activation;
use crate::layers::rope::Rope;

/// Differences of a family from Llama.
#[derive(Debug, Clone)]
pub(super) struct Variant {
    /// Biases of the attention projections; `None` follows config.json.
    pub(super) biases: Option<Biases>,
    /// Norms of queries and keys.
    pub(super) head_norms: Option<QueryKeyNorms>,
    /// Norms of a layer.
    pub(super) block_norms: BlockNorms,
    /// Norm weights are stored minus one.
    pub(super) norms_from_one: bool,
    /// Embeddings are multiplied by the square root of their width.
    pub(super) scaled_embedding: bool,
    /// Constant factors.
    pub(super) factors: Factors,
    /// Activation of the gate.
    pub(super) activation: Activation,
    /// `sliding_window` applies to every layer if config.json has no `layer_types`.
    pub(super) sliding_by_default: bool,
    /// Attention sinks.
    pub(super) sinks: bool,
    /// Whether a layer has rotary embeddings.
    pub(super) uses_rope: fn(&Args, usize) -> bool,
    /// Whether the output layer is tied to the embedding if config.json does not state it.
    pub(super) tied: Option<bool>,
    /// Rotary embedding; `None` follows config.json.
    pub(super) rope: Option<Rope>,
    /// Rotary embedding of layers with a window, if it differs.
    pub(super) sliding_rope: Option<Rope>,
    /// The width in which heads rotate neighbouring coordinates together; `None` if they rotate halves.
    pub(super) neighbours: Option<i32>,
    /// Mixture-of-experts layers.
    pub(super) sparse: Option<Sparse>,
}

/// Norms of queries and keys.
#[derive(Debug, Clone, Copy)]
pub(super) struct QueryKeyNorms {
    /// Names of the two tensors below the attention layer.
    pub(super) names: [&'static str; 2],
    /// What they span.
    pub(super) span: NormSpan,
}

impl QueryKeyNorms {
    /// Qwen 3's: over each head, before its rotation.
    pub(super) const HEADS: Self = Self { names: ["q_norm", "k_norm"], span: NormSpan::Head };
    /// OLMo 2's: over all heads together.
    pub(super) const PROJECTIONS: Self = Self { span: NormSpan::Projection, ..Self::HEADS };
}

/// Names of a layer's norms, on the inputs and outputs of attention and MLP. An output's norm comes before the residual sum.
#[derive(Debug, Clone, Copy)]
pub(super) struct BlockNorms {
    pub(super) attention_input: Option<&'static str>,
    pub(super) attention_output: Option<&'static str>,
    pub(super) mlp_input: Option<&'static str>,
    pub(super) mlp_output: Option<&'static str>,
}

impl BlockNorms {
    /// Llama's.
    pub(super) const INPUTS: Self = Self {
        attention_input: Some("input_layernorm"),
        attention_output: None,
        mlp_input: Some("post_attention_layernorm"),
        mlp_output: None,
    };
    /// OLMo 2's.
    pub(super) const OUTPUTS: Self = Self {
        attention_input: None,
        attention_output: Some("post_attention_layernorm"),
        mlp_input: None,
        mlp_output: Some("post_feedforward_layernorm"),
    };
}

/// Constant factors; `None` for one.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Factors {
    /// Of embeddings.
    pub(super) embedding: Option<f32>,
    /// Of scores, in place of the inverse root of a head's width.
    pub(super) scores: Option<f32>,
    /// Of what attention and MLP add.
    pub(super) residual: Option<f32>,
    /// Divides logits.
    pub(super) logits_divisor: Option<f32>,
}

impl Default for Variant {
    fn default() -> Self {
        Self {
            biases: None,
            head_norms: None,
            block_norms: BlockNorms::INPUTS,
            norms_from_one: false,
            scaled_embedding: false,
            factors: Factors::default(),
            activation: Activation::Silu,
            sliding_by_default: false,
            sinks: false,
            uses_rope: |_, _| true,
            tied: None,
            rope: None,
            sliding_rope: None,
            neighbours: None,
            sparse: None,
        }
    }
}
