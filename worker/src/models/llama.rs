//! Llama 2 and 3, SmolLM2 and similar models, and the base of other families.
//!
//! Touvron et al. 2023 (<https://arxiv.org/abs/2302.13971>); reference: `llama.py` of mlx-lm 0.32.2.

use mlx_rs::Array;
use serde::Deserialize;

use crate::kv::{KvShape, KvStep};
use crate::layers::Result;
use crate::layers::attention::{Attention, AttentionShape, Biases, HeadNorms};
use crate::layers::embedding::Embedding;
use crate::layers::linear::{Input, Linear};
use crate::layers::mlp::{Activation, GatedMlp};
use crate::layers::moe::{self, SparseMoe};
use crate::layers::norm::rms_norm;
use crate::layers::rope::{ContextLengths, Positions, Rope, RopeScaling, Rotation};
use crate::weights::LoadError;
use crate::weights::loader::Loader;

/// Differences of a family from Llama.
#[derive(Debug, Clone)]
pub(super) struct Variant {
    /// Biases of the attention projections; `None` follows config.json.
    pub(super) biases: Option<Biases>,
    /// Norms over each query and key head.
    pub(super) head_norms: bool,
    /// Norm weights are stored minus one.
    pub(super) norms_from_one: bool,
    /// Embeddings are multiplied by the square root of their width.
    pub(super) scaled_embedding: bool,
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
    /// Mixture-of-experts layers.
    pub(super) sparse: Option<Sparse>,
}

/// Mixture of experts in place of MLPs.
#[derive(Debug, Clone)]
pub(super) struct Sparse {
    /// Path of the mixture within a layer.
    pub(super) path: &'static str,
    /// Tensor names below `path`.
    pub(super) names: moe::MoeNames,
    /// Sizes and activation.
    pub(super) shape: moe::MoeShape,
    /// Every `step`-th layer is sparse.
    pub(super) step: usize,
    /// Layers that are dense nevertheless.
    pub(super) dense_layers: Vec<usize>,
}

impl Sparse {
    fn applies_to(&self, layer: usize) -> bool {
        (layer + 1).is_multiple_of(self.step) && !self.dense_layers.contains(&layer)
    }
}

impl Default for Variant {
    fn default() -> Self {
        Self {
            biases: None,
            head_norms: false,
            norms_from_one: false,
            scaled_embedding: false,
            activation: Activation::Silu,
            sliding_by_default: false,
            sinks: false,
            uses_rope: |_, _| true,
            tied: None,
            rope: None,
            sparse: None,
        }
    }
}

/// The fields of config.json.
#[derive(Debug, Clone, Deserialize)]
pub struct Args {
    pub(super) hidden_size: i32,
    num_hidden_layers: usize,
    pub(super) intermediate_size: i32,
    num_attention_heads: i32,
    num_key_value_heads: Option<i32>,
    head_dim: Option<i32>,
    rms_norm_eps: f32,
    vocab_size: i32,
    #[serde(default)]
    attention_bias: bool,
    #[serde(default)]
    mlp_bias: bool,
    rope_theta: Option<f32>,
    rope_scaling: Option<RopeScaling>,
    rope_parameters: Option<RopeScaling>,
    max_position_embeddings: Option<f32>,
    original_max_position_embeddings: Option<f32>,
    tie_word_embeddings: Option<bool>,
    pub(super) layer_types: Option<Vec<String>>,
    sliding_window: Option<u32>,
    /// SmolLM 3: 1 if a layer has rotary embeddings.
    pub(super) no_rope_layers: Option<Vec<u8>>,
    /// SmolLM 3: every n-th layer has none, if there is no list.
    pub(super) no_rope_layer_interval: Option<usize>,
}

impl Args {
    /// Width of a head.
    pub(super) fn head_dim(&self) -> i32 {
        self.head_dim.unwrap_or(self.hidden_size / self.num_attention_heads.max(1))
    }

    /// The rotary base.
    pub(super) fn theta(&self) -> f32 {
        let nested = self.rope_parameters.as_ref().and_then(|p| p.rope_theta);
        self.rope_theta.or(nested).unwrap_or(10_000.0)
    }

    /// The lengths of the context, as config.json states them.
    pub(super) fn context_lengths(&self) -> ContextLengths {
        ContextLengths {
            maximum: self.max_position_embeddings,
            original: self.original_max_position_embeddings,
        }
    }

    fn attention_shape(&self, layer: usize, variant: &Variant) -> AttentionShape {
        let head_dim = self.head_dim();
        let slides = match &self.layer_types {
            Some(types) => types.get(layer).is_some_and(|kind| kind == "sliding_attention"),
            None => variant.sliding_by_default,
        };
        AttentionShape {
            size: self.hidden_size,
            heads: self.num_attention_heads,
            kv_heads: self.num_key_value_heads.unwrap_or(self.num_attention_heads),
            head_dim,
            scale: (head_dim as f32).powf(-0.5),
            window: self.sliding_window.filter(|_| slides),
            softcap: None,
            sinks: variant.sinks,
        }
    }

    fn rope(&self) -> Result<Rope, String> {
        let scaling = self.rope_scaling.as_ref().or(self.rope_parameters.as_ref());
        let scaling = scaling.map(|scaling| scaling.with_lengths(self.context_lengths()));
        Rope::new(self.head_dim(), self.theta(), scaling.as_ref())
    }
}

/// The block after attention.
#[derive(Debug)]
enum FeedForward {
    Dense(GatedMlp),
    Sparse(Box<SparseMoe>),
}

impl FeedForward {
    fn load(loader: &Loader, args: &Args, variant: &Variant, layer: usize) -> Result<Self, LoadError> {
        let path = format!("model.layers.{layer}");
        match &variant.sparse {
            Some(sparse) if sparse.applies_to(layer) => {
                let path = format!("{path}.{}", sparse.path);
                let moe = SparseMoe::load(loader, &path, sparse.names, sparse.shape)?;
                Ok(Self::Sparse(Box::new(moe)))
            }
            _ => {
                let (path, sizes) = (format!("{path}.mlp"), (args.hidden_size, args.intermediate_size));
                GatedMlp::load(loader, &path, sizes, args.mlp_bias, variant.activation).map(Self::Dense)
            }
        }
    }

    /// `residual` plus the output for `input`: `[T, D]`.
    fn forward_residual(&self, residual: &Array, input: Input) -> Result<Array> {
        match self {
            Self::Dense(mlp) => mlp.forward_residual(residual, input),
            Self::Sparse(moe) => residual.add(moe.forward(&input.to_array()?)?),
        }
    }
}

#[derive(Debug)]
struct TransformerBlock {
    self_attn: Attention,
    mlp: FeedForward,
    input_layernorm: Array,
    post_attention_layernorm: Array,
    eps: f32,
}

/// Loads a norm's weight; adds one if it is stored minus one.
pub(super) fn norm(loader: &Loader, name: &str, size: i32, from_one: bool) -> Result<Array, LoadError> {
    let stored = loader.tensor(name, &[size])?;
    if !from_one {
        return Ok(stored);
    }
    Ok(stored.add(Array::from_f32(1.0).as_dtype(stored.dtype())?)?)
}

impl TransformerBlock {
    fn load(loader: &Loader, args: &Args, variant: &Variant, layer: usize) -> Result<Self, LoadError> {
        let path = format!("model.layers.{layer}");
        let (size, eps) = (args.hidden_size, args.rms_norm_eps);
        let load_norm =
            |name: &str, size| norm(loader, &format!("{path}.{name}.weight"), size, variant.norms_from_one);
        let shape = args.attention_shape(layer, variant);
        let biases =
            variant.biases.unwrap_or(Biases { qkv: args.attention_bias, output: args.attention_bias });
        let heads = if variant.head_norms {
            let q_norm = load_norm("self_attn.q_norm", shape.head_dim)?;
            Some(HeadNorms { q_norm, k_norm: load_norm("self_attn.k_norm", shape.head_dim)?, eps })
        } else {
            None
        };
        Ok(Self {
            self_attn: Attention::load(loader, &format!("{path}.self_attn"), shape, biases, heads)?,
            mlp: FeedForward::load(loader, args, variant, layer)?,
            input_layernorm: load_norm("input_layernorm", size)?,
            post_attention_layernorm: load_norm("post_attention_layernorm", size)?,
            eps,
        })
    }

    fn forward(
        &self,
        x: &Array,
        layer: usize,
        rotation: Option<&Rotation>,
        kv: &mut KvStep,
    ) -> Result<Array> {
        let normed = Input::Normed(x, &self.input_layernorm, self.eps);
        let x = self.self_attn.forward_residual(x, normed, layer, rotation, kv)?;
        self.mlp.forward_residual(&x, Input::Normed(&x, &self.post_attention_layernorm, self.eps))
    }
}

/// The whole model.
#[derive(Debug)]
pub struct Model {
    embed_tokens: Embedding,
    layers: Vec<TransformerBlock>,
    norm: Array,
    lm_head: Linear,
    rope: Rope,
    args: Args,
    variant: Variant,
}

impl Model {
    /// Loads a `llama` folder.
    ///
    /// # Errors
    /// Those of the loader.
    pub fn load(loader: &Loader) -> Result<Self, LoadError> {
        Self::load_variant(loader, loader.config().args()?, Variant::default())
    }

    /// Loads a variant of Llama.
    ///
    /// # Errors
    /// Those of the loader.
    pub(super) fn load_variant(loader: &Loader, args: Args, mut variant: Variant) -> Result<Self, LoadError> {
        let embed_tokens = Embedding::load(loader, "model.embed_tokens", args.vocab_size, args.hidden_size)?;
        // Without the setting, the output layer is tied if the files lack its weight.
        let tied = args.tie_word_embeddings.or(variant.tied).unwrap_or(!loader.has("lm_head.weight"));
        let lm_head = if tied || loader.is_headless() {
            embed_tokens.as_output()
        } else {
            Linear::load(loader, "lm_head", args.hidden_size, args.vocab_size, false)?
        };
        variant.activation = super::activation(loader.config(), variant.activation)?;
        let layers = 0..args.num_hidden_layers;
        let layers = layers.map(|layer| TransformerBlock::load(loader, &args, &variant, layer));
        let layers = layers.collect::<Result<_, _>>()?;
        let rope = match variant.rope.take() {
            Some(rope) => rope,
            None => args.rope().map_err(|problem| loader.config().problem(problem))?,
        };
        let norm = norm(loader, "model.norm.weight", args.hidden_size, variant.norms_from_one)?;
        Ok(Self { embed_tokens, layers, norm, lm_head, rope, args, variant })
    }
}

impl super::Model for Model {
    fn kv_shape(&self) -> Result<KvShape> {
        let AttentionShape { kv_heads, head_dim, .. } = self.args.attention_shape(0, &self.variant);
        let dtype = self.final_norm(&self.embed_tokens.forward(&Array::from_slice(&[0u32], &[1]))?)?.dtype();
        Ok(KvShape { layers: self.layers.len(), kv_heads, head_dim, dtype })
    }

    fn window(&self) -> Option<u32> {
        let windows =
            (0..self.layers.len()).map(|layer| self.args.attention_shape(layer, &self.variant).window);
        windows.reduce(|one, other| Some(one?.max(other?))).flatten()
    }

    fn original_context(&self) -> Option<u32> {
        self.rope.original_context()
    }

    fn hidden(&self, ids: &Array, positions: &Positions, kv: &mut KvStep) -> Result<Array> {
        let mut x = self.embed_tokens.forward(ids)?;
        if self.variant.scaled_embedding {
            x = x.multiply(Array::from_f32((self.args.hidden_size as f32).sqrt()).as_dtype(x.dtype())?)?;
        }
        let rotation = self.rope.rotation(positions, &x)?;
        for (layer, block) in self.layers.iter().enumerate() {
            let rotation = (self.variant.uses_rope)(&self.args, layer).then_some(&rotation);
            x = block.forward(&x, layer, rotation, kv)?;
        }
        Ok(x)
    }

    fn final_norm(&self, hidden: &Array) -> Result<Array> {
        rms_norm(hidden, &self.norm, self.args.rms_norm_eps)
    }

    fn logits(&self, hidden: &Array) -> Result<Array> {
        self.lm_head.forward(Input::Normed(hidden, &self.norm, self.args.rms_norm_eps))
    }
}
