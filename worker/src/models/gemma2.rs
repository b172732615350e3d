//! Gemma 2: norms before and after attention and MLP, soft-capped scores and logits, a sliding window in every other layer.
//!
//! Gemma Team 2024 (<https://arxiv.org/abs/2408.00118>); reference: `gemma2.py` of mlx-lm 0.32.2, which omits the window, and
//! `modeling_gemma2.py` of Transformers, which has it.

use mlx_rs::{Array, ops};
use serde::Deserialize;

use super::StepInput;
use super::llama::norm;
use crate::kv::{KvShape, KvStep};
use crate::layers::Result;
use crate::layers::attention::{Attention, AttentionShape, Biases, HeadNorms};
use crate::layers::embedding::Embedding;
use crate::layers::linear::{Input, Linear};
use crate::layers::mlp::{Activation, GatedMlp};
use crate::layers::norm::rms_norm;
use crate::layers::rope::{Rope, RopeScaling, Rotation};
use crate::weights::LoadError;
use crate::weights::loader::Loader;

/// The fields of config.json.
#[derive(Debug, Clone, Deserialize)]
struct Args {
    hidden_size: i32,
    num_hidden_layers: usize,
    intermediate_size: i32,
    num_attention_heads: i32,
    num_key_value_heads: i32,
    head_dim: i32,
    rms_norm_eps: f32,
    vocab_size: i32,
    rope_theta: Option<f32>,
    /// Newer files have the base here.
    rope_parameters: Option<RopeScaling>,
    attn_logit_softcapping: Option<f32>,
    final_logit_softcapping: Option<f32>,
    query_pre_attn_scalar: Option<f32>,
    sliding_window: Option<u32>,
    layer_types: Option<Vec<String>>,
}

impl Args {
    fn is_sliding(&self, layer: usize) -> bool {
        match &self.layer_types {
            Some(types) => types.get(layer).is_some_and(|kind| kind == "sliding_attention"),
            None => layer.is_multiple_of(2),
        }
    }

    fn attention_shape(&self, layer: usize) -> AttentionShape {
        AttentionShape {
            size: self.hidden_size,
            heads: self.num_attention_heads,
            kv_heads: self.num_key_value_heads,
            head_dim: self.head_dim,
            scale: self.query_pre_attn_scalar.unwrap_or(144.0).powf(-0.5),
            window: self.sliding_window.filter(|_| self.is_sliding(layer)),
            softcap: Some(self.attn_logit_softcapping.unwrap_or(50.0)),
            sinks: false,
        }
    }
}

/// A layer with norms before and after attention and MLP; also used by Gemma 3.
#[derive(Debug)]
pub(super) struct TransformerBlock {
    self_attn: Attention,
    mlp: GatedMlp,
    input_layernorm: Array,
    post_attention_layernorm: Array,
    pre_feedforward_layernorm: Array,
    post_feedforward_layernorm: Array,
    eps: f32,
}

impl TransformerBlock {
    /// Loads from `path`: attention of `shape`, optional norms over the heads, and an MLP of width `hidden`.
    ///
    /// # Errors
    /// Those of the loader.
    pub(super) fn load(
        loader: &Loader,
        path: &str,
        shape: AttentionShape,
        heads: Option<HeadNorms>,
        (hidden, eps): (i32, f32),
    ) -> Result<Self, LoadError> {
        let load_norm = |name: &str| norm(loader, &format!("{path}.{name}.weight"), shape.size, true);
        let biases = Biases { qkv: false, output: false };
        let sizes = (shape.size, hidden);
        let activation = super::activation(loader.config(), Activation::GeluTanh)?;
        Ok(Self {
            self_attn: Attention::load(loader, &format!("{path}.self_attn"), shape, biases, heads)?,
            mlp: GatedMlp::load(loader, &format!("{path}.mlp"), sizes, false, activation)?,
            input_layernorm: load_norm("input_layernorm")?,
            post_attention_layernorm: load_norm("post_attention_layernorm")?,
            pre_feedforward_layernorm: load_norm("pre_feedforward_layernorm")?,
            post_feedforward_layernorm: load_norm("post_feedforward_layernorm")?,
            eps,
        })
    }

    /// `[T, D]` → `[T, D]`.
    pub(super) fn forward(
        &self,
        x: &Array,
        layer: usize,
        rotation: &Rotation,
        kv: &mut KvStep,
    ) -> Result<Array> {
        let norm = |x: &Array, weight: &Array| rms_norm(x, weight, self.eps);
        let normed = Input::Normed(x, &self.input_layernorm, self.eps);
        let attended = self.self_attn.forward(normed, layer, Some(rotation), kv)?;
        let x = x.add(norm(&attended, &self.post_attention_layernorm)?)?;
        let fed = self.mlp.forward(Input::Normed(&x, &self.pre_feedforward_layernorm, self.eps))?;
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
    rope: Rope,
    args: Args,
}

impl Model {
    /// Loads a `gemma2` folder.
    ///
    /// # Errors
    /// Those of the loader.
    pub fn load(loader: &Loader) -> Result<Self, LoadError> {
        let args: Args = loader.config().args()?;
        let embed_tokens = Embedding::load(loader, "model.embed_tokens", args.vocab_size, args.hidden_size)?;
        let sizes = (args.intermediate_size, args.rms_norm_eps);
        let layers = (0..args.num_hidden_layers).map(|layer| {
            let path = format!("model.layers.{layer}");
            TransformerBlock::load(loader, &path, args.attention_shape(layer), None, sizes)
        });
        let newer = args.rope_parameters.as_ref();
        let theta = args.rope_theta.or(newer.and_then(|rope| rope.rope_theta)).unwrap_or(10_000.0);
        let rope = Rope::new(args.head_dim, theta, newer);
        Ok(Self {
            layers: layers.collect::<Result<_, _>>()?,
            norm: norm(loader, "model.norm.weight", args.hidden_size, true)?,
            lm_head: embed_tokens.as_output(),
            rope: rope.map_err(|problem| loader.config().problem(problem))?,
            embed_tokens,
            args,
        })
    }
}

impl super::Model for Model {
    fn kv_shape(&self) -> Result<KvShape> {
        let (kv_heads, head_dim) = (self.args.num_key_value_heads, self.args.head_dim);
        let dtype = super::computed_dtype(self, &self.embed_tokens)?;
        Ok(KvShape { layers: self.layers.len(), kv_heads, head_dim, value_dim: None, dtype })
    }

    fn hidden(&self, input: &StepInput, kv: &mut KvStep) -> Result<Array> {
        let embedded = self.embed_tokens.forward(&input.ids)?;
        let factor = Array::from_f32((self.args.hidden_size as f32).sqrt()).as_dtype(embedded.dtype())?;
        let mut x = embedded.multiply(factor)?;
        let rotation = self.rope.rotation(&input.positions, &x)?;
        for (layer, block) in self.layers.iter().enumerate() {
            x = block.forward(&x, layer, &rotation, kv)?;
        }
        Ok(x)
    }

    fn final_norm(&self, hidden: &Array) -> Result<Array> {
        rms_norm(hidden, &self.norm, self.args.rms_norm_eps)
    }

    fn logits(&self, hidden: &Array) -> Result<Array> {
        let logits = self.lm_head.forward(Input::Normed(hidden, &self.norm, self.args.rms_norm_eps))?;
        let cap = self.args.final_logit_softcapping.unwrap_or(30.0);
        let cap = Array::from_f32(cap).as_dtype(logits.dtype())?;
        ops::tanh(logits.divide(&cap)?)?.multiply(cap)
    }
}
