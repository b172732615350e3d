//! Qwen 3.5 and Qwen3-Next: linear attention by the gated delta rule in most layers, gated attention in the others; MLPs or
//! mixtures of experts.
//!
//! Reference: `qwen3_5.py` and `qwen3_next.py` of mlx-lm 0.32.2. Of the vision models mlxd serves the language model. The layers
//! that predict further tokens are not used.

use mlx_rs::ops::indexing::TryIndexOp;
use mlx_rs::{Array, fast, ops};
use serde::Deserialize;

use super::StepInput;
use crate::kernels::{HeadTransform, PagedAttentionParams};
use crate::kv::{AttentionParams, ConvolutionShape, KvShape, KvStep, StateShape};
use crate::layers::Result;
use crate::layers::embedding::Embedding;
use crate::layers::feed_forward::{Dense, FeedForward, SharedExpert, Sparse};
use crate::layers::gated_delta_net::{DeltaNetShape, GatedDeltaNet};
use crate::layers::linear::{Fused, Input, Linear};
use crate::layers::mlp::Activation;
use crate::layers::moe::{MoeNames, MoeShape, Weighting};
use crate::layers::norm::rms_norm;
use crate::layers::rope::{self, Rope, RopeScaling, Rotation};
use crate::weights::LoadError;
use crate::weights::loader::Loader;

/// The fields of config.json.
#[derive(Debug, Clone, Deserialize)]
struct Args {
    hidden_size: i32,
    /// Files of models whose layers all have experts may omit it.
    intermediate_size: Option<i32>,
    num_hidden_layers: usize,
    num_attention_heads: i32,
    num_key_value_heads: i32,
    head_dim: Option<i32>,
    rms_norm_eps: f32,
    vocab_size: i32,
    linear_num_value_heads: i32,
    linear_num_key_heads: i32,
    linear_key_head_dim: i32,
    linear_value_head_dim: i32,
    linear_conv_kernel_dim: i32,
    #[serde(default)]
    tie_word_embeddings: bool,
    #[serde(default)]
    attention_bias: bool,
    #[serde(default)]
    num_experts: i32,
    layer_types: Option<Vec<String>>,
    full_attention_interval: Option<usize>,
    rope_parameters: Option<RopeScaling>,
    /// Qwen3-Next's files have these three outside.
    rope_scaling: Option<RopeScaling>,
    rope_theta: Option<f32>,
    partial_rotary_factor: Option<f32>,
}

/// The fields of config.json about experts.
#[derive(Debug, Clone, Deserialize)]
struct Experts {
    num_experts_per_tok: i32,
    moe_intermediate_size: i32,
    shared_expert_intermediate_size: i32,
    norm_topk_prob: Option<bool>,
    #[serde(default)]
    mlp_only_layers: Vec<usize>,
    decoder_sparse_step: Option<usize>,
}

impl Experts {
    /// The experts of a family whose weights are `normalized` if config.json does not state it.
    fn sparse(self, args: &Args, normalized: bool) -> Sparse {
        Sparse {
            path: "mlp",
            names: MoeNames { whole: Some("experts"), ..MoeNames::SWITCH_MLP },
            shape: MoeShape {
                size: args.hidden_size,
                hidden: self.moe_intermediate_size,
                experts: args.num_experts,
                chosen: self.num_experts_per_tok,
                weighting: Weighting::All {
                    normalized: self.norm_topk_prob.unwrap_or(normalized),
                    factor: 1.0,
                },
                activation: Activation::Silu,
                biases: false,
            },
            step: self.decoder_sparse_step.unwrap_or(1).max(1),
            dense_layers: self.mlp_only_layers,
            shared: Some(SharedExpert {
                path: "shared_expert",
                hidden: self.shared_expert_intermediate_size,
                gate: Some("shared_expert_gate"),
            }),
        }
    }
}

impl Args {
    fn head_dim(&self) -> i32 {
        self.head_dim.unwrap_or(self.hidden_size / self.num_attention_heads.max(1))
    }

    fn delta_net(&self) -> DeltaNetShape {
        DeltaNetShape {
            size: self.hidden_size,
            key_heads: self.linear_num_key_heads,
            value_heads: self.linear_num_value_heads,
            key_dim: self.linear_key_head_dim,
            value_dim: self.linear_value_head_dim,
            kernel: self.linear_conv_kernel_dim,
            eps: self.rms_norm_eps,
        }
    }

    /// Checks the fields that the loader does not.
    fn check(&self) -> Result<(), String> {
        self.delta_net().check()?;
        let (heads, kv_heads, head_dim) =
            (self.num_attention_heads, self.num_key_value_heads, self.head_dim());
        let width = heads.checked_mul(head_dim).and_then(|width| width.checked_mul(2));
        if heads < 1 || kv_heads < 1 || heads % kv_heads != 0 || head_dim < 2 || width.is_none() {
            return Err(format!("{heads} heads over {kv_heads} of keys, of width {head_dim}, cannot be"));
        }
        if self.attention_bias {
            return Err("attention_bias is not supported for this architecture".into());
        }
        let Some(types) = &self.layer_types else { return Ok(()) };
        super::check_layer_types(types, self.num_hidden_layers, ["full_attention", "linear_attention"])
    }

    fn attends(&self, layer: usize) -> bool {
        match &self.layer_types {
            Some(types) => types.get(layer).is_some_and(|kind| kind == "full_attention"),
            None => (layer + 1).is_multiple_of(self.full_attention_interval.unwrap_or(4).max(1)),
        }
    }

    fn attention_layers(&self) -> usize {
        (0..self.num_hidden_layers).filter(|layer| self.attends(*layer)).count()
    }

    fn linear_layers(&self) -> usize {
        self.num_hidden_layers - self.attention_layers()
    }

    /// Texts have the same position in each of the sections that images distinguish.
    fn rope(&self) -> Result<Rope, String> {
        let settings = self.rope_parameters.as_ref().or(self.rope_scaling.as_ref());
        let part = settings.and_then(|settings| settings.partial_rotary_factor);
        let part = part.or(self.partial_rotary_factor).unwrap_or(0.25);
        let theta =
            settings.and_then(|settings| settings.rope_theta).or(self.rope_theta).unwrap_or(100_000.0);
        let width = rope::check_width((self.head_dim() as f32 * part) as i32, self.head_dim())?;
        Rope::new(width, theta, settings)
    }
}

/// Loads a norm's weight. Original files have it minus one; those of mlx-lm are known by the form of their convolutions.
struct Norms<'a, 'l> {
    loader: &'a Loader<'l>,
    from_one: bool,
    eps: f32,
}

impl Norms<'_, '_> {
    fn load(&self, name: &str, size: i32) -> Result<Norm, LoadError> {
        let name = format!("{name}.weight");
        let load = if self.from_one { Loader::tensor_plus_one } else { Loader::tensor };
        Ok(Norm { weight: load(self.loader, &name, &[size])?, eps: self.eps })
    }
}

#[derive(Debug)]
struct Norm {
    weight: Array,
    eps: f32,
}

impl Norm {
    fn input<'a>(&'a self, x: &'a Array) -> Input<'a> {
        Input::Normed(x, &self.weight, self.eps)
    }
}

/// Attention whose outputs are gated.
#[derive(Debug)]
struct GatedAttention {
    /// Query and gate of each head.
    q_proj: Linear,
    kv_proj: Fused,
    o_proj: Linear,
    q_norm: Norm,
    k_norm: Norm,
    heads: i32,
    kv_heads: i32,
    head_dim: i32,
}

impl GatedAttention {
    fn load(loader: &Loader, path: &str, args: &Args, norms: &Norms) -> Result<Self, LoadError> {
        let (heads, kv_heads, head_dim) =
            (args.num_attention_heads, args.num_key_value_heads, args.head_dim());
        let size = args.hidden_size;
        let part = |name: &str, inputs: i32, outputs: i32| {
            Linear::load(loader, &format!("{path}.{name}_proj"), inputs, outputs, false)
        };
        Ok(Self {
            q_proj: part("q", size, 2 * heads * head_dim)?,
            kv_proj: Fused::new(vec![
                part("k", size, kv_heads * head_dim)?,
                part("v", size, kv_heads * head_dim)?,
            ])?,
            o_proj: part("o", heads * head_dim, size)?,
            q_norm: norms.load(&format!("{path}.q_norm"), head_dim)?,
            k_norm: norms.load(&format!("{path}.k_norm"), head_dim)?,
            heads,
            kv_heads,
            head_dim,
        })
    }

    fn forward_residual(
        &self,
        x: &Array,
        input: Input,
        layer: usize,
        rotation: &Rotation,
        kv: &mut KvStep,
    ) -> Result<Array> {
        let Self { heads, head_dim, .. } = *self;
        let input = input.to_array()?;
        let both = self.q_proj.forward(&input)?.reshape(&[-1, heads, 2 * head_dim])?;
        let queries = both.try_index((.., .., ..head_dim))?;
        let gates = both.try_index((.., .., head_dim..))?.reshape(&[-1, heads * head_dim])?;
        let keys_values = self.kv_proj.forward(&input)?;
        let attended = self.attend(&queries, &keys_values, layer, rotation, kv)?;
        let output = attended.multiply(ops::sigmoid(gates)?)?;
        self.o_proj.forward_residual(x, Input::Plain(&output))
    }

    /// Queries `[T, H, d]`, keys and values `[T, 2 kv_heads d]` → `[T, H d]`.
    fn attend(
        &self,
        queries: &Array,
        keys_values: &Array,
        layer: usize,
        rotation: &Rotation,
        kv: &mut KvStep,
    ) -> Result<Array> {
        let Self { heads, kv_heads, head_dim, .. } = *self;
        let scale = (head_dim as f32).powf(-0.5);
        let all = [queries.reshape(&[-1, heads * head_dim])?, keys_values.clone()];
        let all = ops::concatenate(&all, 1)?;
        let norms = Some(([&self.q_norm.weight, &self.k_norm.weight], self.q_norm.eps));
        let transform = HeadTransform { norms, rotary: Some(rotation.cos_sin()) };
        let params = PagedAttentionParams { heads, scale, window: None };
        if let Some(attended) = kv.write_and_attend(layer, &all, transform, params) {
            return attended;
        }
        let parts = keys_values.reshape(&[-1, 2 * kv_heads, head_dim])?;
        let prepare =
            |x: &Array, norm: &Norm| rotation.apply(&fast::rms_norm(x, Some(&norm.weight), norm.eps)?);
        let keys = prepare(&parts.try_index((.., ..kv_heads))?, &self.k_norm)?;
        kv.write(layer, &keys, &parts.try_index((.., kv_heads..))?)?;
        let params = AttentionParams { scale, window: None, softcap: None, sinks: None };
        kv.attend(layer, &prepare(queries, &self.q_norm)?, params)
    }
}

/// What mixes the tokens of a layer. The numbers count the layers of their kind.
#[derive(Debug)]
enum Mixer {
    Attention(usize, GatedAttention),
    Linear(usize, GatedDeltaNet),
}

#[derive(Debug)]
struct DecoderLayer {
    mixer: Mixer,
    mlp: FeedForward,
    input_layernorm: Norm,
    post_attention_layernorm: Norm,
}

impl DecoderLayer {
    /// Loads `layer`, before which `attention_layers` have attention.
    fn load(
        loader: &Loader,
        (args, sparse): (&Args, Option<&Sparse>),
        norms: &Norms,
        layer: usize,
        attention_layers: usize,
    ) -> Result<Self, LoadError> {
        let path = format!("model.layers.{layer}");
        let norm = |name: &str| norms.load(&format!("{path}.{name}"), args.hidden_size);
        let mixer = if args.attends(layer) {
            let attention = GatedAttention::load(loader, &format!("{path}.self_attn"), args, norms)?;
            Mixer::Attention(attention_layers, attention)
        } else {
            let net = GatedDeltaNet::load(loader, &format!("{path}.linear_attn"), args.delta_net())?;
            Mixer::Linear(layer - attention_layers, net)
        };
        let (size, hidden) = (args.hidden_size, args.intermediate_size.unwrap_or(0));
        let dense = Dense { path: "mlp", size, hidden, bias: false, activation: Activation::Silu };
        Ok(Self {
            mixer,
            mlp: FeedForward::load(loader, layer, dense, sparse)?,
            input_layernorm: norm("input_layernorm")?,
            post_attention_layernorm: norm("post_attention_layernorm")?,
        })
    }

    fn forward(&self, x: &Array, rotation: &Rotation, kv: &mut KvStep) -> Result<Array> {
        let normed = self.input_layernorm.input(x);
        let x = match &self.mixer {
            Mixer::Attention(layer, attention) => {
                attention.forward_residual(x, normed, *layer, rotation, kv)?
            }
            Mixer::Linear(layer, net) => net.forward_residual(x, normed, *layer, kv)?,
        };
        self.mlp.forward_residual(&x, self.post_attention_layernorm.input(&x))
    }
}

/// The whole model.
#[derive(Debug)]
pub struct Model {
    embed_tokens: Embedding,
    layers: Vec<DecoderLayer>,
    norm: Norm,
    lm_head: Linear,
    rope: Rope,
    args: Args,
}

impl Model {
    /// Loads a folder of one of the Qwen 3.5 families, or of `qwen3_next`.
    ///
    /// # Errors
    /// Those of the loader.
    pub fn load(loader: &Loader) -> Result<Self, LoadError> {
        let args: Args = loader.config().args()?;
        let problem = |problem: String| loader.config().problem(problem);
        args.check().map_err(problem)?;
        let sparse = load_experts(loader, &args)?;
        if sparse.is_none() && args.intermediate_size.is_none() {
            return Err(problem("intermediate_size is missing".into()));
        }
        let embed_tokens = Embedding::load(loader, "model.embed_tokens", args.vocab_size, args.hidden_size)?;
        let sizes = (args.hidden_size, args.vocab_size);
        let lm_head = super::output_layer(loader, &embed_tokens, args.tie_word_embeddings, sizes)?;
        let norms = Norms { loader, from_one: is_original(loader, &args), eps: args.rms_norm_eps };
        let (mut attention_layers, mut layers) = (0, Vec::new());
        for layer in 0..args.num_hidden_layers {
            layers.push(DecoderLayer::load(
                loader,
                (&args, sparse.as_ref()),
                &norms,
                layer,
                attention_layers,
            )?);
            attention_layers += usize::from(args.attends(layer));
        }
        let norm = norms.load("model.norm", args.hidden_size)?;
        let rope = args.rope().map_err(problem)?;
        Ok(Self { embed_tokens, layers, norm, lm_head, rope, args })
    }
}

/// The mixtures of experts, if config.json has any.
fn load_experts(loader: &Loader, args: &Args) -> Result<Option<Sparse>, LoadError> {
    if args.num_experts == 0 {
        return Ok(None);
    }
    let experts: Experts = loader.config().args()?;
    Ok(Some(experts.sparse(args, loader.config().model_type != "qwen3_next")))
}

/// Whether the files have PyTorch's form.
fn is_original(loader: &Loader, args: &Args) -> bool {
    let DeltaNetShape { kernel, .. } = args.delta_net();
    let shape = [args.delta_net().channels(), 1, kernel];
    let mut layers = (0..args.num_hidden_layers).filter(|layer| !args.attends(*layer));
    layers.any(|layer| loader.has_shape(&format!("model.layers.{layer}.linear_attn.conv1d.weight"), &shape))
}

impl super::Model for Model {
    fn kv_shape(&self) -> Result<KvShape> {
        let dtype = super::computed_dtype(self, &self.embed_tokens)?;
        let (kv_heads, head_dim) = (self.args.num_key_value_heads, self.args.head_dim());
        Ok(KvShape { layers: self.args.attention_layers(), kv_heads, head_dim, value_dim: None, dtype })
    }

    fn convolutions(&self) -> Option<ConvolutionShape> {
        let shape = self.args.delta_net();
        let (layers, kernel) = (self.args.linear_layers(), shape.kernel.unsigned_abs());
        Some(ConvolutionShape { layers, width: shape.channels(), kernel })
    }

    fn states(&self) -> Option<StateShape> {
        Some(self.args.delta_net().states(self.args.linear_layers()))
    }

    fn hidden(&self, input: &StepInput, kv: &mut KvStep) -> Result<Array> {
        let mut x = input.with_images(self.embed_tokens.forward(&input.ids)?)?;
        let rotation = self.rope.rotation(&input.positions, &x)?;
        for layer in &self.layers {
            x = layer.forward(&x, &rotation, kv)?;
        }
        Ok(x)
    }

    fn final_norm(&self, hidden: &Array) -> Result<Array> {
        rms_norm(hidden, &self.norm.weight, self.norm.eps)
    }

    fn logits(&self, hidden: &Array) -> Result<Array> {
        self.lm_head.forward(self.norm.input(hidden))
    }
}
