//! DeepSeek V2 and V3, Kimi K2 and GLM 4.7 Flash: latent attention, and a mixture of experts in all but the first layers.
//!
//! DeepSeek-AI 2024 (<https://arxiv.org/abs/2412.19437>); reference: `deepseek_v2.py`, `deepseek_v3.py` and `glm4_moe_lite.py` of
//! mlx-lm 0.32.2. The layers that predict further tokens are not used.

use mlx_rs::Array;
use serde::Deserialize;

use super::StepInput;
use super::deepseek_experts::{Experts, Scoring};
use crate::kv::{KvShape, KvStep};
use crate::layers::Result;
use crate::layers::embedding::Embedding;
use crate::layers::feed_forward::{Dense, FeedForward, Sparse};
use crate::layers::latent_attention::{LatentAttention, LatentShape};
use crate::layers::linear::{Input, Linear};
use crate::layers::mlp::Activation;
use crate::layers::norm::rms_norm;
use crate::layers::rope::{ContextLengths, Rope, RopeScaling, Rotation};
use crate::weights::LoadError;
use crate::weights::loader::Loader;

/// Epsilon of the norms within DeepSeek's attention, whatever config.json has for the others.
const INNER_EPS: f32 = 1e-6;

/// The fields of config.json.
#[derive(Debug, Clone, Deserialize)]
struct Args {
    hidden_size: i32,
    intermediate_size: i32,
    num_hidden_layers: usize,
    num_attention_heads: i32,
    rms_norm_eps: f32,
    vocab_size: i32,
    kv_lora_rank: i32,
    q_lora_rank: Option<i32>,
    qk_rope_head_dim: i32,
    qk_nope_head_dim: i32,
    v_head_dim: i32,
    #[serde(default)]
    attention_bias: bool,
    rope_theta: Option<f32>,
    rope_scaling: Option<RopeScaling>,
    rope_parameters: Option<RopeScaling>,
    max_position_embeddings: Option<f32>,
    #[serde(default)]
    tie_word_embeddings: bool,
}

impl Args {
    fn scaling(&self) -> Option<RopeScaling> {
        let stated = self.rope_scaling.as_ref().or(self.rope_parameters.as_ref())?;
        Some(stated.with_lengths(ContextLengths { maximum: self.max_position_embeddings, original: None }))
    }

    fn rope(&self) -> Result<Rope, String> {
        let scaling = self.scaling();
        let nested = scaling.as_ref().and_then(|scaling| scaling.rope_theta);
        Rope::new(self.qk_rope_head_dim, self.rope_theta.or(nested).unwrap_or(10_000.0), scaling.as_ref())
    }

    fn attention(&self, eps: f32) -> LatentShape {
        let growth = self.scaling().map_or(1.0, |scaling| scaling.score_growth());
        let width = self.qk_nope_head_dim.saturating_add(self.qk_rope_head_dim);
        LatentShape {
            size: self.hidden_size,
            heads: self.num_attention_heads,
            query_rank: self.q_lora_rank,
            rank: self.kv_lora_rank,
            plain: self.qk_nope_head_dim,
            rotated: self.qk_rope_head_dim,
            value: self.v_head_dim,
            scale: (width as f32).powf(-0.5) * growth * growth,
            bias: self.attention_bias,
            eps,
        }
    }
}

#[derive(Debug)]
struct DecoderLayer {
    self_attn: LatentAttention,
    mlp: FeedForward,
    input_layernorm: Array,
    post_attention_layernorm: Array,
    eps: f32,
}

impl DecoderLayer {
    fn load(
        loader: &Loader,
        args: &Args,
        (attention, sparse): (LatentShape, Option<&Sparse>),
        layer: usize,
    ) -> Result<Self, LoadError> {
        let path = format!("model.layers.{layer}");
        let norm = |name: &str| loader.tensor(&format!("{path}.{name}.weight"), &[args.hidden_size]);
        let (size, hidden, activation) = (args.hidden_size, args.intermediate_size, Activation::Silu);
        let dense = Dense { path: "mlp", size, hidden, bias: false, activation };
        Ok(Self {
            self_attn: LatentAttention::load(loader, &format!("{path}.self_attn"), attention)?,
            mlp: FeedForward::load(loader, layer, dense, sparse)?,
            input_layernorm: norm("input_layernorm")?,
            post_attention_layernorm: norm("post_attention_layernorm")?,
            eps: args.rms_norm_eps,
        })
    }

    fn forward(&self, x: &Array, layer: usize, rotation: &Rotation, kv: &mut KvStep) -> Result<Array> {
        let input = Input::Normed(x, &self.input_layernorm, self.eps);
        let x = self.self_attn.forward_residual(x, input, layer, rotation, kv)?;
        self.mlp.forward_residual(&x, Input::Normed(&x, &self.post_attention_layernorm, self.eps))
    }
}

/// The whole model.
#[derive(Debug)]
pub struct Model {
    embed_tokens: Embedding,
    layers: Vec<DecoderLayer>,
    norm: Array,
    lm_head: Linear,
    rope: Rope,
    args: Args,
}

impl Model {
    /// Loads a `deepseek_v2` folder.
    ///
    /// # Errors
    /// Those of the loader.
    pub fn load_v2(loader: &Loader) -> Result<Self, LoadError> {
        Self::load_with(loader, Scoring::Softmax, Some(INNER_EPS))
    }

    /// Loads a `deepseek_v3` folder, or one of a model that is of the same form.
    ///
    /// # Errors
    /// Those of the loader.
    pub fn load(loader: &Loader) -> Result<Self, LoadError> {
        Self::load_with(loader, Scoring::Sigmoid, Some(INNER_EPS))
    }

    /// Loads a `glm4_moe_lite` folder.
    ///
    /// # Errors
    /// Those of the loader.
    pub fn load_glm(loader: &Loader) -> Result<Self, LoadError> {
        Self::load_with(loader, Scoring::Sigmoid, None)
    }

    /// `inner_eps` is that of the norms within attention; `None` if it is that of all norms.
    fn load_with(loader: &Loader, scoring: Scoring, inner_eps: Option<f32>) -> Result<Self, LoadError> {
        let args: Args = loader.config().args()?;
        let problem = |problem: String| loader.config().problem(problem);
        let attention = args.attention(inner_eps.unwrap_or(args.rms_norm_eps));
        attention.check().map_err(problem)?;
        if loader.is_headless() {
            return Err(problem("embedding models of this architecture are not supported".into()));
        }
        let sizes = (args.hidden_size, args.num_hidden_layers);
        let sparse = Experts::read(loader)?.sparse(sizes, scoring).map_err(problem)?;
        let embed_tokens = Embedding::load(loader, "model.embed_tokens", args.vocab_size, args.hidden_size)?;
        let sizes = (args.hidden_size, args.vocab_size);
        let layers = (0..args.num_hidden_layers)
            .map(|layer| DecoderLayer::load(loader, &args, (attention, sparse.as_ref()), layer));
        Ok(Self {
            layers: layers.collect::<Result<_, _>>()?,
            norm: loader.tensor("model.norm.weight", &[args.hidden_size])?,
            lm_head: super::output_layer(loader, &embed_tokens, args.tie_word_embeddings, sizes)?,
            rope: args.rope().map_err(problem)?,
            embed_tokens,
            args,
        })
    }
}

impl super::Model for Model {
    fn kv_shape(&self) -> Result<KvShape> {
        let Args { kv_lora_rank, qk_rope_head_dim, .. } = self.args;
        let dtype = super::computed_dtype(self, &self.embed_tokens)?;
        let (layers, head_dim) = (self.layers.len(), kv_lora_rank + qk_rope_head_dim);
        Ok(KvShape { layers, kv_heads: 1, head_dim, value_dim: Some(kv_lora_rank), dtype })
    }

    fn hidden(&self, input: &StepInput, kv: &mut KvStep) -> Result<Array> {
        let mut x = self.embed_tokens.forward(&input.ids)?;
        let rotation = self.rope.rotation(&input.positions, &x)?;
        for (at, layer) in self.layers.iter().enumerate() {
            x = layer.forward(&x, at, &rotation, kv)?;
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
