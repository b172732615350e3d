//! Gemma 3, text only: sliding-window layers between global ones, norms before and after every part.
//!
//! Gemma Team 2025 (<https://arxiv.org/abs/2503.19786>); reference: `gemma3_text.py` of mlx-lm 0.32.2.

use half::bf16;
use mlx_rs::{Array, fast};
use serde::Deserialize;

use crate::layers::Result;
use crate::layers::attention::{Attention, Biases, HeadNorms, Shape};
use crate::layers::embedding::Embedding;
use crate::layers::linear::Linear;
use crate::layers::mlp::{Activation, GatedMlp};
use crate::layers::rope::{Rope, Rotation, Scaling};
use crate::mlx::kv::{KvShape, KvStep};
use crate::weights::LoadError;
use crate::weights::loader::Loader;

/// The fields of config.json; the defaults are the reference's, since Gemma's own files leave many out.
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
struct Args {
    hidden_size: i32,
    num_hidden_layers: usize,
    intermediate_size: i32,
    num_attention_heads: i32,
    head_dim: i32,
    rms_norm_eps: f32,
    vocab_size: i32,
    num_key_value_heads: i32,
    rope_theta: f32,
    rope_local_base_freq: f32,
    query_pre_attn_scalar: f32,
    sliding_window: u32,
    sliding_window_pattern: usize,
    rope_scaling: Option<Scaling>,
}

impl Default for Args {
    fn default() -> Self {
        Self {
            hidden_size: 1152,
            num_hidden_layers: 26,
            intermediate_size: 6912,
            num_attention_heads: 4,
            head_dim: 256,
            rms_norm_eps: 1e-6,
            vocab_size: 262_144,
            num_key_value_heads: 1,
            rope_theta: 1_000_000.0,
            rope_local_base_freq: 10_000.0,
            query_pre_attn_scalar: 256.0,
            sliding_window: 512,
            sliding_window_pattern: 6,
            rope_scaling: None,
        }
    }
}

impl Args {
    fn is_global(&self, layer: usize) -> bool {
        (layer + 1).is_multiple_of(self.sliding_window_pattern.max(1))
    }

    fn shape(&self, layer: usize) -> Shape {
        Shape {
            size: self.hidden_size,
            heads: self.num_attention_heads,
            kv_heads: self.num_key_value_heads,
            head_dim: self.head_dim,
            scale: self.query_pre_attn_scalar.powf(-0.5),
            window: (!self.is_global(layer)).then_some(self.sliding_window),
        }
    }
}

/// A norm's weight as Gemma means it: stored as the difference from one.
fn norm(loader: &Loader, name: &str, size: i32) -> std::result::Result<Array, LoadError> {
    let stored = loader.tensor(name, &[size])?;
    Ok(stored.add(Array::from_f32(1.0).as_dtype(stored.dtype())?)?)
}

#[derive(Debug)]
struct TransformerBlock {
    self_attn: Attention,
    mlp: GatedMlp,
    input_layernorm: Array,
    post_attention_layernorm: Array,
    pre_feedforward_layernorm: Array,
    post_feedforward_layernorm: Array,
    eps: f32,
}

impl TransformerBlock {
    fn load(loader: &Loader, args: &Args, layer: usize) -> std::result::Result<Self, LoadError> {
        let path = format!("model.layers.{layer}");
        let of = |name: &str, size: i32| norm(loader, &format!("{path}.{name}.weight"), size);
        let (size, eps) = (args.hidden_size, args.rms_norm_eps);
        let heads = HeadNorms {
            q_norm: of("self_attn.q_norm", args.head_dim)?,
            k_norm: of("self_attn.k_norm", args.head_dim)?,
            eps,
        };
        let biases = Biases { qkv: false, output: false };
        let attention = format!("{path}.self_attn");
        let sizes = (size, args.intermediate_size);
        Ok(Self {
            self_attn: Attention::load(loader, &attention, args.shape(layer), biases, Some(heads))?,
            mlp: GatedMlp::load(loader, &format!("{path}.mlp"), sizes, false, Activation::GeluTanh)?,
            input_layernorm: of("input_layernorm", size)?,
            post_attention_layernorm: of("post_attention_layernorm", size)?,
            pre_feedforward_layernorm: of("pre_feedforward_layernorm", size)?,
            post_feedforward_layernorm: of("post_feedforward_layernorm", size)?,
            eps,
        })
    }

    fn forward(&self, x: &Array, layer: usize, rotation: &Rotation, kv: &mut KvStep) -> Result<Array> {
        let norm = |x: &Array, weight: &Array| fast::rms_norm(x, Some(weight), self.eps);
        let attended = self.self_attn.forward(&norm(x, &self.input_layernorm)?, layer, rotation, kv)?;
        let x = x.add(norm(&attended, &self.post_attention_layernorm)?)?;
        let fed = self.mlp.forward(&norm(&x, &self.pre_feedforward_layernorm)?)?;
        x.add(norm(&fed, &self.post_feedforward_layernorm)?)
    }
}

/// The whole model.
#[derive(Debug)]
pub struct Model {
    embed_tokens: Embedding,
    layers: Vec<TransformerBlock>,
    norm: Array,
    lm_head: Linear,
    rope_global: Rope,
    rope_local: Rope,
    args: Args,
}

impl Model {
    /// Loads a `gemma3_text` folder.
    ///
    /// # Errors
    /// As the loader's.
    pub fn load(loader: &Loader) -> std::result::Result<Self, LoadError> {
        let args: Args = loader.config().args()?;
        let embed_tokens = loader.embedding("model.embed_tokens", args.vocab_size, args.hidden_size)?;
        let lm_head = match loader.has("lm_head.weight") {
            true => loader.linear("lm_head", args.hidden_size, args.vocab_size, false)?,
            false => embed_tokens.as_output(),
        };
        let layers = (0..args.num_hidden_layers).map(|layer| TransformerBlock::load(loader, &args, layer));
        let problem = |problem| loader.config().problem(problem);
        let scaling = args.rope_scaling.as_ref();
        Ok(Self {
            embed_tokens,
            layers: layers.collect::<std::result::Result<_, _>>()?,
            norm: norm(loader, "model.norm.weight", args.hidden_size)?,
            lm_head,
            rope_global: Rope::new(args.head_dim, args.rope_theta, scaling).map_err(problem)?,
            rope_local: Rope::new(args.head_dim, args.rope_local_base_freq, None).map_err(problem)?,
            args,
        })
    }
}

impl super::Model for Model {
    fn kv_shape(&self) -> KvShape {
        let (kv_heads, head_dim) = (self.args.num_key_value_heads, self.args.head_dim);
        KvShape { layers: self.layers.len(), kv_heads, head_dim }
    }

    fn hidden(&self, ids: &Array, positions: &Array, kv: &mut KvStep) -> Result<Array> {
        let embedded = self.embed_tokens.forward(ids)?;
        // The reference rounds this factor to bfloat16 whatever the model computes in.
        let factor = bf16::from_f32((self.args.hidden_size as f32).sqrt()).to_f32();
        let mut x = embedded.multiply(Array::from_f32(factor).as_dtype(embedded.dtype())?)?;
        let global = self.rope_global.rotation(positions, &x)?;
        let local = self.rope_local.rotation(positions, &x)?;
        for (layer, block) in self.layers.iter().enumerate() {
            let rotation = if self.args.is_global(layer) { &global } else { &local };
            x = block.forward(&x, layer, rotation, kv)?;
        }
        Ok(x)
    }

    fn logits(&self, hidden: &Array) -> Result<Array> {
        self.lm_head.forward(&fast::rms_norm(hidden, Some(&self.norm), self.args.rms_norm_eps)?)
    }
}
