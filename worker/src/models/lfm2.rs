//! LFM2: short convolutions in most layers, attention in the others; MLPs or, in all but the first layers, mixtures of experts.
//!
//! Liquid AI 2025 (<https://arxiv.org/abs/2511.23404>); reference: `lfm2.py` and `lfm2_moe.py` of mlx-lm 0.32.2.

use mlx_rs::Array;
use serde::Deserialize;

use super::StepInput;
use crate::kv::{ConvolutionShape, KvShape, KvStep};
use crate::layers::Result;
use crate::layers::attention::{Attention, AttentionShape, Biases, HeadNorms};
use crate::layers::embedding::Embedding;
use crate::layers::feed_forward::{Dense, FeedForward, Sparse};
use crate::layers::linear::{Input, Linear};
use crate::layers::mlp::Activation;
use crate::layers::moe::{MoeNames, MoeShape, SigmoidRouting, Weighting};
use crate::layers::norm::rms_norm;
use crate::layers::rope::{Rope, RopeScaling, Rotation};
use crate::layers::short_convolution::ShortConvolution;
use crate::weights::LoadError;
use crate::weights::loader::Loader;

/// The tokens of a kernel that are supported.
const KERNELS: std::ops::RangeInclusive<i32> = 2..=16;

/// The fields of config.json.
#[derive(Debug, Clone, Deserialize)]
struct Args {
    hidden_size: i32,
    num_hidden_layers: usize,
    num_attention_heads: i32,
    num_key_value_heads: Option<i32>,
    norm_eps: f32,
    vocab_size: i32,
    #[serde(rename = "conv_L_cache")]
    kernel: i32,
    #[serde(default)]
    conv_bias: bool,
    block_ff_dim: Option<i64>,
    intermediate_size: Option<i64>,
    block_auto_adjust_ff_dim: Option<bool>,
    block_ffn_dim_multiplier: Option<f64>,
    block_multiple_of: Option<i64>,
    rope_theta: Option<f32>,
    rope_parameters: Option<RopeScaling>,
    /// Layers with attention. Newer files have `layer_types`.
    full_attn_idxs: Option<Vec<usize>>,
    layer_types: Option<Vec<String>>,
    tie_word_embeddings: Option<bool>,
    /// The older name.
    tie_embedding: Option<bool>,
}

/// The fields of config.json about experts.
#[derive(Debug, Deserialize)]
struct Experts {
    num_experts: i32,
    num_experts_per_tok: i32,
    moe_intermediate_size: i32,
    num_dense_layers: usize,
    norm_topk_prob: bool,
    use_expert_bias: bool,
    routed_scaling_factor: Option<f32>,
}

impl Experts {
    fn sparse(&self, args: &Args) -> Sparse {
        Sparse {
            path: "feed_forward",
            names: MoeNames { each: ["w1", "w3", "w2"], ..MoeNames::SWITCH_MLP },
            shape: MoeShape {
                size: args.hidden_size,
                hidden: self.moe_intermediate_size,
                experts: self.num_experts,
                chosen: self.num_experts_per_tok,
                weighting: Weighting::Sigmoid(SigmoidRouting {
                    bias: self.use_expert_bias.then_some("expert_bias"),
                    normalized: self.norm_topk_prob,
                    added: 1e-6,
                    factor: self.routed_scaling_factor.unwrap_or(1.0),
                    groups: None,
                }),
                activation: Activation::Silu,
                biases: false,
            },
            step: 1,
            dense_layers: (0..self.num_dense_layers.min(args.num_hidden_layers)).collect(),
            shared: None,
        }
    }
}

impl Args {
    /// Checks the fields that the loader does not.
    fn check(&self) -> Result<(), String> {
        if !KERNELS.contains(&self.kernel) {
            let (first, last) = (KERNELS.start(), KERNELS.end());
            return Err(format!("conv_L_cache is {}: it must be between {first} and {last}", self.kernel));
        }
        let is_listed = self.full_attn_idxs.is_some();
        match &self.layer_types {
            Some(types) => {
                let layers = if is_listed { 0 } else { self.num_hidden_layers };
                super::check_layer_types(types, layers, ["full_attention", "conv"])
            }
            None if is_listed => Ok(()),
            None => Err("layer_types is missing".into()),
        }
    }

    fn attends(&self, layer: usize) -> bool {
        match (&self.full_attn_idxs, &self.layer_types) {
            (Some(layers), _) => layers.contains(&layer),
            (None, types) => {
                types.as_ref().and_then(|types| types.get(layer)).is_some_and(|kind| kind == "full_attention")
            }
        }
    }

    fn attention_layers(&self) -> usize {
        (0..self.num_hidden_layers).filter(|layer| self.attends(*layer)).count()
    }

    fn attention_shape(&self) -> AttentionShape {
        let (size, heads) = (self.hidden_size, self.num_attention_heads);
        let head_dim = size / heads.max(1);
        AttentionShape {
            size,
            heads,
            kv_heads: self.num_key_value_heads.unwrap_or(heads),
            head_dim,
            scale: (head_dim as f32).powf(-0.5),
            window: None,
            softcap: None,
            sinks: false,
        }
    }

    /// Inner width of the MLPs. Beside experts it is the stated one.
    fn inner_width(&self, has_experts: bool) -> Result<i32, String> {
        let stated = self.block_ff_dim.or(self.intermediate_size).ok_or("block_ff_dim is missing")?;
        let mut width = stated;
        if !has_experts && self.block_auto_adjust_ff_dim.ok_or("block_auto_adjust_ff_dim is missing")? {
            width = width.saturating_mul(2) / 3;
            width = (self.block_ffn_dim_multiplier.unwrap_or(1.0) * width as f64) as i64;
            let multiple = self.block_multiple_of.ok_or("block_multiple_of is missing")?.max(1);
            width = width.saturating_add(multiple - 1) / multiple * multiple;
        }
        let width = i32::try_from(width).ok().filter(|width| (1..=1 << 24).contains(width));
        width.ok_or_else(|| format!("block_ff_dim ({stated}) gives no width of the feed-forward blocks"))
    }

    fn rope(&self) -> Result<Rope, String> {
        let nested = self.rope_parameters.as_ref();
        let theta = self.rope_theta.or(nested.and_then(|nested| nested.rope_theta)).unwrap_or(1_000_000.0);
        Rope::new(self.attention_shape().head_dim, theta, nested)
    }
}

/// What mixes the tokens of a layer. The numbers count the layers of their kind.
#[derive(Debug)]
enum Operator {
    Attention(usize, Attention),
    Convolution(usize, ShortConvolution),
}

impl Operator {
    /// Loads that of `layer`, before which `attention_layers` have attention.
    fn load(loader: &Loader, args: &Args, layer: usize, attention_layers: usize) -> Result<Self, LoadError> {
        let path = format!("model.layers.{layer}");
        if !args.attends(layer) {
            let sizes = (args.hidden_size, args.kernel);
            let conv = ShortConvolution::load(loader, &format!("{path}.conv"), sizes, args.conv_bias)?;
            return Ok(Self::Convolution(layer - attention_layers, conv));
        }
        let (shape, path) = (args.attention_shape(), format!("{path}.self_attn"));
        let norm = |name: &str| loader.tensor(&format!("{path}.{name}.weight"), &[shape.head_dim]);
        let norms =
            HeadNorms { q_norm: norm("q_layernorm")?, k_norm: norm("k_layernorm")?, eps: args.norm_eps };
        let attention =
            Attention::load(loader, &path, shape, Biases { qkv: false, output: false }, Some(norms))?;
        Ok(Self::Attention(attention_layers, attention))
    }
}

#[derive(Debug)]
struct DecoderLayer {
    operator: Operator,
    feed_forward: FeedForward,
    operator_norm: Array,
    ffn_norm: Array,
    eps: f32,
}

impl DecoderLayer {
    fn load(
        loader: &Loader,
        (args, sparse): (&Args, Option<&Sparse>),
        layer: usize,
        attention_layers: usize,
    ) -> Result<Self, LoadError> {
        let path = format!("model.layers.{layer}");
        let norm = |name: &str| loader.tensor(&format!("{path}.{name}.weight"), &[args.hidden_size]);
        let hidden =
            args.inner_width(sparse.is_some()).map_err(|problem| loader.config().problem(problem))?;
        let (path, size, activation) = ("feed_forward", args.hidden_size, Activation::Silu);
        let dense = Dense { path, size, hidden, bias: false, activation };
        Ok(Self {
            operator: Operator::load(loader, args, layer, attention_layers)?,
            feed_forward: FeedForward::load(loader, layer, dense, sparse)?,
            operator_norm: norm("operator_norm")?,
            ffn_norm: norm("ffn_norm")?,
            eps: args.norm_eps,
        })
    }

    fn forward(&self, x: &Array, rotation: &Rotation, kv: &mut KvStep) -> Result<Array> {
        let normed = Input::Normed(x, &self.operator_norm, self.eps);
        let x = match &self.operator {
            Operator::Attention(layer, attention) => {
                attention.forward_residual(x, normed, *layer, Some(rotation), kv)?
            }
            Operator::Convolution(layer, conv) => conv.forward_residual(x, normed, *layer, kv)?,
        };
        self.feed_forward.forward_residual(&x, Input::Normed(&x, &self.ffn_norm, self.eps))
    }
}

/// The whole model.
#[derive(Debug)]
pub struct Model {
    embed_tokens: Embedding,
    layers: Vec<DecoderLayer>,
    embedding_norm: Array,
    lm_head: Linear,
    rope: Rope,
    args: Args,
}

impl Model {
    /// Loads an `lfm2` folder.
    ///
    /// # Errors
    /// Those of the loader.
    pub fn load(loader: &Loader) -> Result<Self, LoadError> {
        Self::with_experts(loader, loader.config().args()?, None)
    }

    /// Loads an `lfm2_moe` folder.
    ///
    /// # Errors
    /// Those of the loader.
    pub fn load_sparse(loader: &Loader) -> Result<Self, LoadError> {
        let (args, experts): (Args, Experts) = (loader.config().args()?, loader.config().args()?);
        let sparse = experts.sparse(&args);
        Self::with_experts(loader, args, Some(&sparse))
    }

    fn with_experts(loader: &Loader, args: Args, sparse: Option<&Sparse>) -> Result<Self, LoadError> {
        args.check().map_err(|problem| loader.config().problem(problem))?;
        let embed_tokens = Embedding::load(loader, "model.embed_tokens", args.vocab_size, args.hidden_size)?;
        let tied = args.tie_word_embeddings.or(args.tie_embedding).unwrap_or(true);
        let sizes = (args.hidden_size, args.vocab_size);
        let lm_head = super::output_layer(loader, &embed_tokens, tied, sizes)?;
        let mut attention_layers = 0;
        let mut layers = Vec::new();
        for layer in 0..args.num_hidden_layers {
            layers.push(DecoderLayer::load(loader, (&args, sparse), layer, attention_layers)?);
            attention_layers += usize::from(args.attends(layer));
        }
        let embedding_norm = loader.tensor("model.embedding_norm.weight", &[args.hidden_size])?;
        let rope = args.rope().map_err(|problem| loader.config().problem(problem))?;
        Ok(Self { embed_tokens, layers, embedding_norm, lm_head, rope, args })
    }
}

impl super::Model for Model {
    fn kv_shape(&self) -> Result<KvShape> {
        let AttentionShape { kv_heads, head_dim, .. } = self.args.attention_shape();
        let dtype = super::computed_dtype(self, &self.embed_tokens)?;
        Ok(KvShape { layers: self.args.attention_layers(), kv_heads, head_dim, value_dim: None, dtype })
    }

    fn convolutions(&self) -> Option<ConvolutionShape> {
        let layers = self.args.num_hidden_layers - self.args.attention_layers();
        let (width, kernel) = (self.args.hidden_size, self.args.kernel.unsigned_abs());
        Some(ConvolutionShape { layers, width, kernel })
    }

    fn hidden(&self, input: &StepInput, kv: &mut KvStep) -> Result<Array> {
        let mut x = self.embed_tokens.forward(&input.ids)?;
        let rotation = self.rope.rotation(&input.positions, &x)?;
        for layer in &self.layers {
            x = layer.forward(&x, &rotation, kv)?;
        }
        Ok(x)
    }

    fn final_norm(&self, hidden: &Array) -> Result<Array> {
        rms_norm(hidden, &self.embedding_norm, self.args.norm_eps)
    }

    fn logits(&self, hidden: &Array) -> Result<Array> {
        self.lm_head.forward(Input::Normed(hidden, &self.embedding_norm, self.args.norm_eps))
    }
}
