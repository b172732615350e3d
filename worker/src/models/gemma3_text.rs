//! Gemma 3: the text-only models, and the language models of the vision ones. Sliding-window layers between global ones, and
//! norms before and after attention and MLP.
//!
//! Gemma Team 2025 (<https://arxiv.org/abs/2503.19786>); reference: `gemma3_text.py` of mlx-lm 0.32.2.

use half::bf16;
use mlx_rs::Array;
use serde::Deserialize;

use super::StepInput;
use super::gemma2::TransformerBlock;
use super::llama::norm;
use crate::kv::{ImageAttention, KvShape, KvStep};
use crate::layers::Result;
use crate::layers::attention::{AttentionShape, HeadNorms};
use crate::layers::embedding::Embedding;
use crate::layers::linear::{Input, Linear};
use crate::layers::norm::rms_norm;
use crate::layers::rope::{Rope, RopeScaling};
use crate::weights::LoadError;
use crate::weights::loader::Loader;

/// The fields of config.json. The defaults are those of the reference, because Gemma's files omit many.
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
    /// Name in newer files; some have both.
    #[serde(rename = "_sliding_window_pattern")]
    pattern: Option<usize>,
    /// The newest files have a list instead.
    layer_types: Option<Vec<String>>,
    rope_scaling: Option<RopeScaling>,
    /// The newest files have both rotary settings here.
    rope_parameters: Option<RopeScaling>,
    /// Of the vision ones.
    mm_tokens_per_image: u32,
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
            pattern: None,
            layer_types: None,
            rope_scaling: None,
            rope_parameters: None,
            mm_tokens_per_image: 256,
        }
    }
}

impl Args {
    fn is_global(&self, layer: usize) -> bool {
        let pattern = self.pattern.unwrap_or(self.sliding_window_pattern).max(1);
        match &self.layer_types {
            Some(types) => types.get(layer).is_none_or(|kind| kind != "sliding_attention"),
            None => (layer + 1).is_multiple_of(pattern),
        }
    }

    /// Rotary embeddings of global layers and of sliding-window layers.
    fn ropes(&self) -> Result<(Rope, Rope), String> {
        let newer = self.rope_parameters.as_ref();
        let (full, sliding) = (newer.map(RopeScaling::full), newer.and_then(RopeScaling::sliding));
        let theta = full.and_then(|rope| rope.rope_theta).unwrap_or(self.rope_theta);
        let local = sliding.and_then(|rope| rope.rope_theta).unwrap_or(self.rope_local_base_freq);
        let global = Rope::new(self.head_dim, theta, self.rope_scaling.as_ref().or(full))?;
        Ok((global, Rope::new(self.head_dim, local, sliding)?))
    }

    fn attention_shape(&self, layer: usize) -> AttentionShape {
        AttentionShape {
            size: self.hidden_size,
            heads: self.num_attention_heads,
            kv_heads: self.num_key_value_heads,
            head_dim: self.head_dim,
            scale: self.query_pre_attn_scalar.powf(-0.5),
            window: (!self.is_global(layer)).then_some(self.sliding_window),
            softcap: None,
            sinks: false,
        }
    }
}

fn block(loader: &Loader, args: &Args, layer: usize) -> Result<TransformerBlock, LoadError> {
    let path = format!("model.layers.{layer}");
    let load_norm =
        |name: &str| norm(loader, &format!("{path}.self_attn.{name}.weight"), args.head_dim, true);
    let heads =
        HeadNorms { q_norm: load_norm("q_norm")?, k_norm: load_norm("k_norm")?, eps: args.rms_norm_eps };
    let sizes = (args.intermediate_size, args.rms_norm_eps);
    TransformerBlock::load(loader, &path, args.attention_shape(layer), Some(heads), sizes)
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
    /// Loads a `gemma3_text` folder, or the language model of a `gemma3` one.
    ///
    /// # Errors
    /// Those of the loader.
    pub fn load(loader: &Loader) -> Result<Self, LoadError> {
        let args: Args = loader.config().args()?;
        let embed_tokens = Embedding::load(loader, "model.embed_tokens", args.vocab_size, args.hidden_size)?;
        let lm_head = if loader.has("lm_head.weight") {
            Linear::load(loader, "lm_head", args.hidden_size, args.vocab_size, false)?
        } else {
            embed_tokens.as_output()
        };
        let layers = (0..args.num_hidden_layers).map(|layer| block(loader, &args, layer));
        let ropes = args.ropes().map_err(|problem| loader.config().problem(problem));
        let (rope_global, rope_local) = ropes?;
        Ok(Self {
            embed_tokens,
            layers: layers.collect::<Result<_, _>>()?,
            norm: norm(loader, "model.norm.weight", args.hidden_size, true)?,
            lm_head,
            rope_global,
            rope_local,
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

    fn image_attention(&self) -> Option<ImageAttention> {
        Some(ImageAttention { tokens: self.args.mm_tokens_per_image, in_windows_only: false })
    }

    fn hidden(&self, input: &StepInput, kv: &mut KvStep) -> Result<Array> {
        let embedded = self.embed_tokens.forward(&input.ids)?;
        // The reference rounds this factor to bfloat16 whatever the model computes in.
        let factor = bf16::from_f32((self.args.hidden_size as f32).sqrt()).to_f32();
        let mut x = embedded.multiply(Array::from_f32(factor).as_dtype(embedded.dtype())?)?;
        x = input.with_images(x)?;
        let global = self.rope_global.rotation(&input.positions, &x)?;
        let local = self.rope_local.rotation(&input.positions, &x)?;
        for (layer, block) in self.layers.iter().enumerate() {
            let rotation = if self.args.is_global(layer) { &global } else { &local };
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
