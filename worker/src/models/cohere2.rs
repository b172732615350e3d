//! Command R7B and Command A: attention and MLP beside each other after one layer norm. Most layers have a sliding window and
//! rotary embeddings of neighbouring coordinates, the others neither.
//!
//! Cohere 2025 (<https://arxiv.org/abs/2504.00698>); reference: `cohere2.py` of mlx-lm 0.32.2.

use mlx_rs::Array;
use serde::Deserialize;

use super::StepInput;
use super::llama::layer_types;
use crate::kv::{KvShape, KvStep};
use crate::layers::Result;
use crate::layers::attention::{Attention, AttentionShape, Biases};
use crate::layers::embedding::Embedding;
use crate::layers::linear::Linear;
use crate::layers::mlp::{Activation, GatedMlp};
use crate::layers::norm::LayerNorm;
use crate::layers::rope::{Rope, RopeScaling, Rotation};
use crate::weights::LoadError;
use crate::weights::loader::Loader;

/// The fields of config.json. The defaults are those of the reference.
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
struct Args {
    hidden_size: i32,
    num_hidden_layers: usize,
    intermediate_size: i32,
    num_attention_heads: i32,
    num_key_value_heads: i32,
    head_dim: Option<i32>,
    vocab_size: i32,
    layer_norm_eps: f32,
    layer_norm_bias: bool,
    attention_bias: bool,
    use_qk_norm: bool,
    rope_theta: f32,
    /// Newer files have the base here.
    rope_parameters: Option<RopeScaling>,
    sliding_window: u32,
    sliding_window_pattern: usize,
    /// Newer files have a list instead.
    layer_types: Option<Vec<String>>,
    logit_scale: f32,
}

impl Default for Args {
    fn default() -> Self {
        Self {
            hidden_size: 4096,
            num_hidden_layers: 32,
            intermediate_size: 14_336,
            num_attention_heads: 32,
            num_key_value_heads: 8,
            head_dim: None,
            vocab_size: 256_000,
            layer_norm_eps: 1e-5,
            layer_norm_bias: false,
            attention_bias: false,
            use_qk_norm: false,
            rope_theta: 50_000.0,
            rope_parameters: None,
            sliding_window: 4096,
            sliding_window_pattern: 4,
            layer_types: None,
            logit_scale: 0.0625,
        }
    }
}

impl Args {
    fn head_dim(&self) -> i32 {
        self.head_dim.unwrap_or(self.hidden_size / self.num_attention_heads.max(1))
    }

    fn slides(&self, layer: usize) -> bool {
        let kind = self.layer_types.as_ref().and_then(|types| types.get(layer));
        kind.is_some_and(|kind| kind == "sliding_attention")
    }

    fn attention_shape(&self, layer: usize) -> AttentionShape {
        AttentionShape {
            size: self.hidden_size,
            heads: self.num_attention_heads,
            kv_heads: self.num_key_value_heads,
            head_dim: self.head_dim(),
            scale: (self.head_dim() as f32).powf(-0.5),
            window: self.slides(layer).then_some(self.sliding_window),
            softcap: None,
            sinks: false,
        }
    }

    fn rope(&self) -> Result<Rope, String> {
        let scaling = self.rope_parameters.as_ref();
        let theta = scaling.and_then(|scaling| scaling.rope_theta).unwrap_or(self.rope_theta);
        Rope::new(self.head_dim(), theta, scaling)
    }

    fn layer_norm(&self, loader: &Loader, path: &str) -> Result<LayerNorm, LoadError> {
        LayerNorm::load(loader, path, self.hidden_size, self.layer_norm_bias, self.layer_norm_eps)
    }
}

#[derive(Debug)]
struct TransformerBlock {
    self_attn: Attention,
    mlp: GatedMlp,
    input_layernorm: LayerNorm,
}

impl TransformerBlock {
    fn load(loader: &Loader, args: &Args, layer: usize) -> Result<Self, LoadError> {
        let path = format!("model.layers.{layer}");
        let biases = Biases { qkv: args.attention_bias, output: args.attention_bias };
        let shape = args.attention_shape(layer);
        let self_attn = Attention::load(loader, &format!("{path}.self_attn"), shape, biases, None)?;
        let sizes = (args.hidden_size, args.intermediate_size);
        let activation = super::activation(loader.config(), Activation::Silu)?;
        Ok(Self {
            self_attn: self_attn.with_neighbours_rotated(loader, args.head_dim())?,
            mlp: GatedMlp::load(loader, &format!("{path}.mlp"), sizes, false, activation)?,
            input_layernorm: args.layer_norm(loader, &format!("{path}.input_layernorm"))?,
        })
    }

    /// `[T, D]` → `[T, D]`.
    fn forward(
        &self,
        x: &Array,
        layer: usize,
        rotation: Option<&Rotation>,
        kv: &mut KvStep,
    ) -> Result<Array> {
        let normed = self.input_layernorm.forward(x)?;
        let attended = self.self_attn.forward(&normed, layer, rotation, kv)?;
        attended.add(self.mlp.forward(&normed)?)?.add(x)
    }
}

/// The whole model.
#[derive(Debug)]
pub struct Model {
    embed_tokens: Embedding,
    layers: Vec<TransformerBlock>,
    norm: LayerNorm,
    lm_head: Linear,
    rope: Rope,
    args: Args,
}

impl Model {
    /// Loads a `cohere2` folder.
    ///
    /// # Errors
    /// Those of the loader.
    pub fn load(loader: &Loader) -> Result<Self, LoadError> {
        let mut args: Args = loader.config().args()?;
        if args.use_qk_norm {
            return Err(loader.config().problem("norms of queries and keys (use_qk_norm) are not supported"));
        }
        let pattern = args.sliding_window_pattern;
        args.layer_types.get_or_insert_with(|| layer_types(args.num_hidden_layers, pattern));
        let embed_tokens = Embedding::load(loader, "model.embed_tokens", args.vocab_size, args.hidden_size)?;
        let layers = (0..args.num_hidden_layers).map(|layer| TransformerBlock::load(loader, &args, layer));
        Ok(Self {
            layers: layers.collect::<Result<_, _>>()?,
            norm: args.layer_norm(loader, "model.norm")?,
            lm_head: embed_tokens.as_output(),
            rope: args.rope().map_err(|problem| loader.config().problem(problem))?,
            embed_tokens,
            args,
        })
    }
}

impl super::Model for Model {
    fn kv_shape(&self) -> Result<KvShape> {
        let (kv_heads, head_dim) = (self.args.num_key_value_heads, self.args.head_dim());
        let dtype = super::computed_dtype(self, &self.embed_tokens)?;
        Ok(KvShape { layers: self.layers.len(), kv_heads, head_dim, value_dim: None, dtype })
    }

    fn hidden(&self, input: &StepInput, kv: &mut KvStep) -> Result<Array> {
        let mut x = self.embed_tokens.forward(&input.ids)?;
        let rotation = self.rope.rotation(&input.positions, &x)?;
        for (layer, block) in self.layers.iter().enumerate() {
            let rotation = self.args.slides(layer).then_some(&rotation);
            x = block.forward(&x, layer, rotation, kv)?;
        }
        Ok(x)
    }

    fn final_norm(&self, hidden: &Array) -> Result<Array> {
        self.norm.forward(hidden)
    }

    fn logits(&self, hidden: &Array) -> Result<Array> {
        let logits = self.lm_head.forward(&self.norm.forward(hidden)?)?;
        logits.multiply(Array::from_f32(self.args.logit_scale).as_dtype(logits.dtype())?)
    }
}
