//! Llama 2 and 3, SmolLM2 and their kin.
//!
//! Touvron et al. 2023 (<https://arxiv.org/abs/2302.13971>); reference: `llama.py` of mlx-lm 0.32.2.

use mlx_rs::{Array, fast};
use serde::Deserialize;

use crate::layers::Result;
use crate::layers::attention::{Attention, Biases, Shape};
use crate::layers::embedding::Embedding;
use crate::layers::linear::Linear;
use crate::layers::mlp::{Activation, GatedMlp};
use crate::layers::rope::{Rope, Rotation, Scaling};
use crate::mlx::kv::{KvShape, KvStep};
use crate::weights::LoadError;
use crate::weights::loader::Loader;

/// The fields of config.json.
#[derive(Debug, Clone, Deserialize)]
pub struct Args {
    hidden_size: i32,
    num_hidden_layers: usize,
    intermediate_size: i32,
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
    rope_scaling: Option<Scaling>,
    rope_parameters: Option<Scaling>,
    tie_word_embeddings: Option<bool>,
    layer_types: Option<Vec<String>>,
    sliding_window: Option<u32>,
}

impl Args {
    fn shape(&self, layer: usize) -> Shape {
        let head_dim = self.head_dim.unwrap_or(self.hidden_size / self.num_attention_heads.max(1));
        let kind = self.layer_types.as_ref().and_then(|types| types.get(layer));
        Shape {
            size: self.hidden_size,
            heads: self.num_attention_heads,
            kv_heads: self.num_key_value_heads.unwrap_or(self.num_attention_heads),
            head_dim,
            scale: (head_dim as f32).powf(-0.5),
            window: self.sliding_window.filter(|_| kind.is_some_and(|kind| kind == "sliding_attention")),
        }
    }

    fn rope(&self) -> std::result::Result<Rope, String> {
        let scaling = self.rope_scaling.as_ref().or(self.rope_parameters.as_ref());
        let theta = self.rope_theta.or(self.rope_parameters.as_ref().and_then(|p| p.rope_theta));
        Rope::new(self.shape(0).head_dim, theta.unwrap_or(10_000.0), scaling)
    }
}

#[derive(Debug)]
struct TransformerBlock {
    self_attn: Attention,
    mlp: GatedMlp,
    input_layernorm: Array,
    post_attention_layernorm: Array,
    eps: f32,
}

impl TransformerBlock {
    fn load(
        loader: &Loader,
        args: &Args,
        biases: Biases,
        layer: usize,
    ) -> std::result::Result<Self, LoadError> {
        let path = format!("model.layers.{layer}");
        let size = args.hidden_size;
        let norm = |name: &str| loader.tensor(&format!("{path}.{name}.weight"), &[size]);
        let attention = format!("{path}.self_attn");
        let sizes = (size, args.intermediate_size);
        Ok(Self {
            self_attn: Attention::load(loader, &attention, args.shape(layer), biases, None)?,
            mlp: GatedMlp::load(loader, &format!("{path}.mlp"), sizes, args.mlp_bias, Activation::Silu)?,
            input_layernorm: norm("input_layernorm")?,
            post_attention_layernorm: norm("post_attention_layernorm")?,
            eps: args.rms_norm_eps,
        })
    }

    fn forward(&self, x: &Array, layer: usize, rotation: &Rotation, kv: &mut KvStep) -> Result<Array> {
        let normed = fast::rms_norm(x, Some(&self.input_layernorm), self.eps)?;
        let x = x.add(self.self_attn.forward(&normed, layer, rotation, kv)?)?;
        let normed = fast::rms_norm(&x, Some(&self.post_attention_layernorm), self.eps)?;
        x.add(self.mlp.forward(&normed)?)
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
}

impl Model {
    /// Loads a `llama` folder.
    ///
    /// # Errors
    /// As the loader's.
    pub fn load(loader: &Loader) -> std::result::Result<Self, LoadError> {
        let args: Args = loader.config().args()?;
        let biases = Biases { qkv: args.attention_bias, output: args.attention_bias };
        Self::with_biases(loader, args, biases)
    }

    /// Loads a model of this form with other biases in attention.
    ///
    /// # Errors
    /// As the loader's.
    pub(super) fn with_biases(
        loader: &Loader,
        args: Args,
        biases: Biases,
    ) -> std::result::Result<Self, LoadError> {
        let embed_tokens = loader.embedding("model.embed_tokens", args.vocab_size, args.hidden_size)?;
        // Files that do not say whether they tie say it by what they carry.
        let lm_head = match args.tie_word_embeddings.unwrap_or(!loader.has("lm_head.weight")) {
            true => embed_tokens.as_output(),
            false => loader.linear("lm_head", args.hidden_size, args.vocab_size, false)?,
        };
        let layers = 0..args.num_hidden_layers;
        let layers = layers.map(|layer| TransformerBlock::load(loader, &args, biases, layer));
        Ok(Self {
            embed_tokens,
            layers: layers.collect::<std::result::Result<_, _>>()?,
            norm: loader.tensor("model.norm.weight", &[args.hidden_size])?,
            lm_head,
            rope: args.rope().map_err(|problem| loader.config().problem(problem))?,
            args,
        })
    }
}

impl super::Model for Model {
    fn kv_shape(&self) -> KvShape {
        let Shape { kv_heads, head_dim, .. } = self.args.shape(0);
        KvShape { layers: self.layers.len(), kv_heads, head_dim }
    }

    fn hidden(&self, ids: &Array, positions: &Array, kv: &mut KvStep) -> Result<Array> {
        let mut x = self.embed_tokens.forward(ids)?;
        let rotation = self.rope.rotation(positions, &x)?;
        for (layer, block) in self.layers.iter().enumerate() {
            x = block.forward(&x, layer, &rotation, kv)?;
        }
        Ok(x)
    }

    fn logits(&self, hidden: &Array) -> Result<Array> {
        self.lm_head.forward(&fast::rms_norm(hidden, Some(&self.norm), self.args.rms_norm_eps)?)
    }
}
