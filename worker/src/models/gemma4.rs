//! Gemma 4: layers with a window between global ones, whose heads are wider. The last layers read the keys and values of earlier
//! ones. Small models add an embedding of the token to each layer; others have a mixture of experts beside the MLP, or values
//! that are the keys. Of the multimodal models mlxd serves the language model. Reference: `gemma4_text.py` of mlx-lm 0.32.2.

use mlx_rs::ops::indexing::TryIndexOp;
use mlx_rs::{Array, fast, ops};
use serde::Deserialize;

use super::StepInput;
use crate::kernels::{HeadTransform, PagedAttentionParams};
use crate::kv::{AttentionParams, KvShape, KvStep};
use crate::layers::Result;
use crate::layers::embedding::Embedding;
use crate::layers::linear::{Fused, Input, Linear};
use crate::layers::mlp::{Activation, GatedMlp};
use crate::layers::moe::{MoeNames, MoeShape, SparseMoe, Weighting};
use crate::layers::norm::rms_norm;
use crate::layers::rope::{Rope, RopeScaling, Rotation};
use crate::weights::LoadError;
use crate::weights::loader::Loader;

/// The names of layers with a window.
const SLIDING: &str = "sliding_attention";
/// The names of global layers.
const FULL: &str = "full_attention";

/// The fields of config.json. The defaults are those of the reference, because Gemma's files omit many.
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
struct Args {
    hidden_size: i32,
    num_hidden_layers: usize,
    intermediate_size: i32,
    num_attention_heads: i32,
    head_dim: i32,
    global_head_dim: Option<i32>,
    rms_norm_eps: f32,
    vocab_size: i32,
    vocab_size_per_layer_input: i32,
    num_key_value_heads: i32,
    num_global_key_value_heads: Option<i32>,
    num_kv_shared_layers: usize,
    /// Width of the embedding of each layer; 0 for none.
    hidden_size_per_layer_input: Option<i32>,
    rope_parameters: Option<RopeScaling>,
    sliding_window: u32,
    sliding_window_pattern: usize,
    attention_k_eq_v: bool,
    final_logit_softcapping: Option<f32>,
    use_double_wide_mlp: bool,
    enable_moe_block: bool,
    num_experts: Option<i32>,
    top_k_experts: Option<i32>,
    moe_intermediate_size: Option<i32>,
    layer_types: Option<Vec<String>>,
    tie_word_embeddings: bool,
}

impl Default for Args {
    fn default() -> Self {
        Self {
            hidden_size: 1536,
            num_hidden_layers: 35,
            intermediate_size: 6144,
            num_attention_heads: 8,
            head_dim: 256,
            global_head_dim: Some(512),
            rms_norm_eps: 1e-6,
            vocab_size: 262_144,
            vocab_size_per_layer_input: 262_144,
            num_key_value_heads: 1,
            num_global_key_value_heads: None,
            num_kv_shared_layers: 20,
            hidden_size_per_layer_input: Some(256),
            rope_parameters: None,
            sliding_window: 512,
            sliding_window_pattern: 5,
            attention_k_eq_v: false,
            final_logit_softcapping: Some(30.0),
            use_double_wide_mlp: true,
            enable_moe_block: false,
            num_experts: None,
            top_k_experts: None,
            moe_intermediate_size: None,
            layer_types: None,
            tie_word_embeddings: true,
        }
    }
}

/// The sizes of a layer's heads.
#[derive(Debug, Clone, Copy)]
struct Heads {
    queries: i32,
    keys: i32,
    width: i32,
}

impl Heads {
    /// Checks that they can be computed: they come from a file.
    fn check(self) -> Result<(), String> {
        let Self { queries, keys, width } = self;
        let all = queries.checked_add(keys).and_then(|n| n.checked_add(keys)?.checked_mul(width));
        if queries < 1 || keys < 1 || queries % keys != 0 || width < 2 || width % 2 != 0 || all.is_none() {
            return Err(format!("{queries} heads over {keys} of keys, of width {width}, cannot be"));
        }
        Ok(())
    }
}

impl Args {
    /// Checks the fields that the loader does not.
    fn check(&self) -> Result<(), String> {
        if let Some(types) = &self.layer_types {
            super::check_layer_types(types, self.num_hidden_layers, [FULL, SLIDING])?;
        }
        self.heads(true).check()?;
        self.heads(false).check()?;
        let own = self.own_layers();
        match (own..self.num_hidden_layers).find(|layer| self.keys_of(*layer).is_none()) {
            Some(layer) => Err(format!(
                "num_kv_shared_layers is {}: layer {layer} has no earlier one of its kind to share keys with",
                self.num_kv_shared_layers
            )),
            None => Ok(()),
        }
    }

    /// Whether a layer has a window.
    fn slides(&self, layer: usize) -> bool {
        match &self.layer_types {
            Some(types) => types.get(layer).is_some_and(|kind| kind == SLIDING),
            None => !(layer + 1).is_multiple_of(self.sliding_window_pattern.max(1)),
        }
    }

    /// The layers with keys and values of their own come first.
    fn own_layers(&self) -> usize {
        self.num_hidden_layers.saturating_sub(self.num_kv_shared_layers)
    }

    /// The layers with keys of their own and a window, or without one.
    fn own_of_kind(&self, slides: bool) -> usize {
        (0..self.own_layers()).filter(|layer| self.slides(*layer) == slides).count()
    }

    /// The layer whose keys and values `layer` reads: its own, or those of the last one of its kind that has any.
    fn keys_of(&self, layer: usize) -> Option<usize> {
        let own = self.own_layers();
        if layer < own {
            return Some(layer);
        }
        (0..own).rfind(|other| self.slides(*other) == self.slides(layer))
    }

    /// The index in the KV of a layer with keys of its own. Layers with a window come first.
    fn kv_index(&self, layer: usize) -> usize {
        let slides = self.slides(layer);
        let before = (0..layer).filter(|other| self.slides(*other) == slides).count();
        if slides { before } else { self.own_of_kind(true) + before }
    }

    fn heads(&self, slides: bool) -> Heads {
        let width = self.global_head_dim.filter(|width| !slides && *width != 0).unwrap_or(self.head_dim);
        let global = self.num_global_key_value_heads.filter(|_| self.attention_k_eq_v && !slides);
        let keys = global.unwrap_or(self.num_key_value_heads);
        Heads { queries: self.num_attention_heads, keys, width }
    }

    /// The width of a layer's MLP.
    fn mlp_width(&self, layer: usize) -> i32 {
        let own = self.own_layers();
        let is_wide = self.use_double_wide_mlp && own > 0 && layer >= own;
        if is_wide { self.intermediate_size.saturating_mul(2) } else { self.intermediate_size }
    }

    /// Width of the embedding of each layer, if there are any.
    fn layer_embedding_width(&self) -> Option<i32> {
        self.hidden_size_per_layer_input.filter(|width| *width != 0)
    }

    /// Rotary embeddings of layers with a window and of global ones.
    fn ropes(&self) -> Result<[Rope; 2], String> {
        let stated = self.rope_parameters.as_ref();
        let sliding = stated.and_then(RopeScaling::sliding);
        let theta = |scaling: Option<&RopeScaling>, default| {
            scaling.and_then(|scaling| scaling.rope_theta).unwrap_or(default)
        };
        let full = stated.map_or_else(|| RopeScaling::proportional(0.25), |stated| stated.full().clone());
        Ok([
            Rope::new(self.heads(true).width, theta(sliding, 10_000.0), sliding)?,
            Rope::new(self.heads(false).width, theta(Some(&full), 1_000_000.0), Some(&full))?,
        ])
    }

    fn experts(&self) -> Result<Option<MoeShape>, String> {
        if !self.enable_moe_block {
            return Ok(None);
        }
        let (Some(experts), Some(chosen), Some(hidden)) =
            (self.num_experts, self.top_k_experts, self.moe_intermediate_size)
        else {
            return Err("num_experts, top_k_experts or moe_intermediate_size is missing".into());
        };
        Ok(Some(MoeShape {
            size: self.hidden_size,
            hidden,
            experts,
            chosen,
            weighting: Weighting::ChosenScaled { factors: "router.per_expert_scale" },
            activation: Activation::GeluTanh,
            biases: false,
        }))
    }
}

/// Where a layer's attention finds its keys and what it sees of them.
#[derive(Debug, Clone, Copy)]
struct Reach {
    /// Index of the layer in the KV.
    kv_layer: usize,
    window: Option<u32>,
}

/// Attention over keys and values of the layer's own, or over those of an earlier layer.
#[derive(Debug)]
struct Attention {
    /// Queries, and the layer's own keys and values. Without values, those are the keys.
    qkv_proj: Fused,
    o_proj: Linear,
    q_norm: Array,
    /// `None` without own keys.
    k_norm: Option<Array>,
    heads: Heads,
    reach: Reach,
    /// Whether values are the keys.
    shares_values: bool,
    eps: f32,
}

impl Attention {
    fn load(loader: &Loader, path: &str, args: &Args, layer: usize) -> Result<Self, LoadError> {
        let slides = args.slides(layer);
        let heads = args.heads(slides);
        let own = layer < args.own_layers();
        let shares_values = args.attention_k_eq_v && !slides;
        let part = |name: &str, count: i32| {
            let path = format!("{path}.{name}_proj");
            Linear::load(loader, &path, args.hidden_size, count * heads.width, false)
        };
        let mut parts = vec![part("q", heads.queries)?];
        if own {
            parts.push(part("k", heads.keys)?);
        }
        if own && !shares_values {
            parts.push(part("v", heads.keys)?);
        }
        let norm = |name: &str| loader.tensor(&format!("{path}.{name}.weight"), &[heads.width]);
        let o_proj = format!("{path}.o_proj");
        Ok(Self {
            qkv_proj: Fused::new(parts)?,
            o_proj: Linear::load(loader, &o_proj, heads.queries * heads.width, args.hidden_size, false)?,
            q_norm: norm("q_norm")?,
            k_norm: own.then(|| norm("k_norm")).transpose()?,
            heads,
            reach: Reach {
                kv_layer: args.kv_index(args.keys_of(layer).unwrap_or(layer)),
                window: slides.then_some(args.sliding_window),
            },
            shares_values,
            eps: args.rms_norm_eps,
        })
    }

    /// `[T, D]` → `[T, D]`.
    fn forward(&self, input: Input, rotation: &Rotation, kv: &mut KvStep) -> Result<Array> {
        let projected = self.qkv_proj.forward(input)?;
        let attended = match &self.k_norm {
            Some(k_norm) => self.attend(&projected, k_norm, rotation, kv)?,
            None => {
                let queries = self.split(&projected)?;
                self.attend_to_written(&queries, rotation, kv)?
            }
        };
        self.o_proj.forward(&attended)
    }

    /// `[T, n d]` → `[T, n, d]`.
    fn split(&self, heads: &Array) -> Result<Array> {
        heads.reshape(&[heads.dim(0), -1, self.heads.width])
    }

    /// Writes the layer's keys and values and attends: projections `[T, n d]` → `[T, H d]`.
    fn attend(
        &self,
        projected: &Array,
        k_norm: &Array,
        rotation: &Rotation,
        kv: &mut KvStep,
    ) -> Result<Array> {
        let Heads { queries, keys, width } = self.heads;
        let parts = self.split(projected)?;
        let first_value = if self.shares_values { queries } else { queries + keys };
        let values = fast::rms_norm(parts.try_index((.., first_value..))?, None, self.eps)?;
        let all = ops::concatenate(&[&parts.try_index((.., ..queries + keys))?, &values], 1)?;
        let all = all.reshape(&[-1, (queries + 2 * keys) * width])?;
        let norms = Some(([&self.q_norm, k_norm], self.eps));
        let transform = HeadTransform { norms, rotary: Some(rotation.cos_sin()) };
        let Reach { kv_layer, window } = self.reach;
        let params = PagedAttentionParams { heads: queries, scale: 1.0, window };
        if let Some(attended) = kv.write_and_attend(kv_layer, &all, transform, params) {
            return attended;
        }
        let raw_keys = parts.try_index((.., queries..queries + keys))?;
        let keys = rotation.apply(&fast::rms_norm(raw_keys, Some(k_norm), self.eps)?)?;
        kv.write(kv_layer, &keys, &values)?;
        self.attend_to_written(&parts.try_index((.., ..queries))?, rotation, kv)
    }

    /// Attends to keys that are in the KV: queries `[T, H, d]` → `[T, H d]`.
    fn attend_to_written(&self, queries: &Array, rotation: &Rotation, kv: &mut KvStep) -> Result<Array> {
        let queries = rotation.apply(&fast::rms_norm(queries, Some(&self.q_norm), self.eps)?)?;
        let params = AttentionParams { scale: 1.0, window: self.reach.window, softcap: None, sinks: None };
        kv.attend(self.reach.kv_layer, &queries, params)
    }
}

/// A mixture of experts beside the MLP, with norms around both.
#[derive(Debug)]
struct Experts {
    moe: SparseMoe,
    /// The router's own norm, of the hidden state.
    router_norm: Array,
    input_norm: Array,
    output_norm: Array,
    mlp_output_norm: Array,
}

impl Experts {
    fn load(loader: &Loader, path: &str, shape: MoeShape) -> Result<Self, LoadError> {
        let names = MoeNames {
            router: "router.proj",
            stacked: "experts.switch_glu",
            whole: Some("experts"),
            ..MoeNames::SWITCH_MLP
        };
        let size = shape.size;
        let norm = |name: &str| loader.tensor(&format!("{path}.{name}.weight"), &[size]);
        let scale = loader.tensor(&format!("{path}.router.scale"), &[size])?;
        let root = Array::from_f32((size as f32).powf(-0.5)).as_dtype(scale.dtype())?;
        Ok(Self {
            moe: SparseMoe::load(loader, path, names, shape)?,
            router_norm: scale.multiply(root)?,
            input_norm: norm("pre_feedforward_layernorm_2")?,
            output_norm: norm("post_feedforward_layernorm_2")?,
            mlp_output_norm: norm("post_feedforward_layernorm_1")?,
        })
    }

    /// Adds the experts' output for `x` to that of the MLP: `[T, D]` each.
    fn add_to(&self, mlp: &Array, x: &Array, eps: f32) -> Result<Array> {
        let routed = rms_norm(x, &self.router_norm, eps)?;
        let mixed = self.moe.forward_routed(&routed, &rms_norm(x, &self.input_norm, eps)?)?;
        rms_norm(mlp, &self.mlp_output_norm, eps)?.add(rms_norm(&mixed, &self.output_norm, eps)?)
    }
}

/// Adds the layer's embedding of the token, behind a gate.
#[derive(Debug)]
struct EmbeddingGate {
    gate: Linear,
    projection: Linear,
    norm: Array,
}

impl EmbeddingGate {
    fn load(loader: &Loader, path: &str, (size, width): (i32, i32)) -> Result<Self, LoadError> {
        let linear = |name: &str, inputs: i32, outputs: i32| {
            Linear::load(loader, &format!("{path}.{name}"), inputs, outputs, false)
        };
        Ok(Self {
            gate: linear("per_layer_input_gate", size, width)?,
            projection: linear("per_layer_projection", width, size)?,
            norm: loader.tensor(&format!("{path}.post_per_layer_input_norm.weight"), &[size])?,
        })
    }

    /// `x` `[T, D]` and the layer's embeddings `[T, P]` → `[T, D]`.
    fn forward(&self, x: &Array, embeddings: &Array, eps: f32) -> Result<Array> {
        let gated = self.gate.forward_activated(x, Activation::GeluTanh)?.multiply(embeddings)?;
        x.add(rms_norm(&self.projection.forward(&gated)?, &self.norm, eps)?)
    }
}

#[derive(Debug)]
struct DecoderLayer {
    self_attn: Attention,
    mlp: GatedMlp,
    experts: Option<Experts>,
    embedding_gate: Option<EmbeddingGate>,
    input_layernorm: Array,
    post_attention_layernorm: Array,
    pre_feedforward_layernorm: Array,
    post_feedforward_layernorm: Array,
    /// Factor of the layer's output, `[1]`.
    layer_scalar: Array,
    slides: bool,
    eps: f32,
}

impl DecoderLayer {
    fn load(
        loader: &Loader,
        args: &Args,
        experts: Option<MoeShape>,
        layer: usize,
    ) -> Result<Self, LoadError> {
        let path = format!("model.layers.{layer}");
        let size = args.hidden_size;
        let norm = |name: &str| loader.tensor(&format!("{path}.{name}.weight"), &[size]);
        let sizes = (size, args.mlp_width(layer));
        let gate =
            args.layer_embedding_width().map(|width| EmbeddingGate::load(loader, &path, (size, width)));
        Ok(Self {
            self_attn: Attention::load(loader, &format!("{path}.self_attn"), args, layer)?,
            mlp: GatedMlp::load(loader, &format!("{path}.mlp"), sizes, false, Activation::GeluTanh)?,
            experts: experts.map(|shape| Experts::load(loader, &path, shape)).transpose()?,
            embedding_gate: gate.transpose()?,
            input_layernorm: norm("input_layernorm")?,
            post_attention_layernorm: norm("post_attention_layernorm")?,
            pre_feedforward_layernorm: norm("pre_feedforward_layernorm")?,
            post_feedforward_layernorm: norm("post_feedforward_layernorm")?,
            layer_scalar: loader.tensor(&format!("{path}.layer_scalar"), &[1])?,
            slides: args.slides(layer),
            eps: args.rms_norm_eps,
        })
    }

    /// `x` `[T, D]`, with the layer's embeddings `[T, P]` if there are any → `[T, D]`.
    fn forward(
        &self,
        x: &Array,
        embeddings: Option<&Array>,
        rotation: &Rotation,
        kv: &mut KvStep,
    ) -> Result<Array> {
        let eps = self.eps;
        let attended = self.self_attn.forward(Input::Normed(x, &self.input_layernorm, eps), rotation, kv)?;
        let x = x.add(rms_norm(&attended, &self.post_attention_layernorm, eps)?)?;
        let mut fed = self.mlp.forward(Input::Normed(&x, &self.pre_feedforward_layernorm, eps))?;
        if let Some(experts) = &self.experts {
            fed = experts.add_to(&fed, &x, eps)?;
        }
        let mut x = x.add(rms_norm(&fed, &self.post_feedforward_layernorm, eps)?)?;
        if let (Some(gate), Some(embeddings)) = (&self.embedding_gate, embeddings) {
            x = gate.forward(&x, embeddings, eps)?;
        }
        x.multiply(&self.layer_scalar)
    }
}

/// Embeddings of a token for each layer: a table of their own, plus a projection of the token's embedding.
#[derive(Debug)]
struct LayerEmbeddings {
    table: Embedding,
    projection: Linear,
    norm: Array,
    layers: i32,
    /// Width P of a layer's embedding.
    width: i32,
    /// Model width D.
    size: i32,
    eps: f32,
}

impl LayerEmbeddings {
    fn load(loader: &Loader, args: &Args, width: i32) -> Result<Self, LoadError> {
        let layers = i32::try_from(args.num_hidden_layers).unwrap_or(i32::MAX);
        let (all, size) = (layers.saturating_mul(width), args.hidden_size);
        let (vocabulary, eps) = (args.vocab_size_per_layer_input, args.rms_norm_eps);
        let projection = Linear::load(loader, "model.per_layer_model_projection", size, all, false)?;
        Ok(Self {
            table: Embedding::load(loader, "model.embed_tokens_per_layer", vocabulary, all)?,
            projection,
            norm: loader.tensor("model.per_layer_projection_norm.weight", &[width])?,
            layers,
            width,
            size,
            eps,
        })
    }

    /// Ids `[T]` and their embeddings `x` `[T, D]` → `[T, layers, P]`.
    fn forward(&self, ids: &Array, x: &Array) -> Result<Array> {
        let number = |value: f32| Array::from_f32(value).as_dtype(x.dtype());
        let by_layer = |numbers: Array| numbers.reshape(&[-1, self.layers, self.width]);
        let own = by_layer(self.table.forward(ids)?.multiply(number((self.width as f32).sqrt())?)?)?;
        let projected = self.projection.forward(x)?.multiply(number((self.size as f32).powf(-0.5))?)?;
        let projected = fast::rms_norm(by_layer(projected)?, Some(&self.norm), self.eps)?;
        projected.add(own)?.multiply(number(0.5_f32.sqrt())?)
    }
}

/// The whole model.
#[derive(Debug)]
pub struct Model {
    embed_tokens: Embedding,
    layer_embeddings: Option<LayerEmbeddings>,
    layers: Vec<DecoderLayer>,
    norm: Array,
    lm_head: Linear,
    /// Of layers with a window, and of global ones.
    ropes: [Rope; 2],
    args: Args,
}

impl Model {
    /// Loads a `gemma4_text` folder, or the language model of a `gemma4` or `gemma4_unified` one.
    ///
    /// # Errors
    /// Those of the loader.
    pub fn load(loader: &Loader) -> Result<Self, LoadError> {
        let args: Args = loader.config().args()?;
        let problem = |problem: String| loader.config().problem(problem);
        args.check().map_err(problem)?;
        if loader.is_headless() && args.num_kv_shared_layers > 0 {
            return Err(problem("embedding models whose layers share keys are not supported".into()));
        }
        let experts = args.experts().map_err(problem)?;
        let sizes = (args.hidden_size, args.vocab_size);
        let embed_tokens = Embedding::load(loader, "model.embed_tokens", args.vocab_size, args.hidden_size)?;
        let layers =
            (0..args.num_hidden_layers).map(|layer| DecoderLayer::load(loader, &args, experts, layer));
        let layer_embeddings =
            args.layer_embedding_width().map(|width| LayerEmbeddings::load(loader, &args, width));
        Ok(Self {
            layer_embeddings: layer_embeddings.transpose()?,
            layers: layers.collect::<Result<_, _>>()?,
            norm: loader.tensor("model.norm.weight", &[args.hidden_size])?,
            lm_head: super::output_layer(loader, &embed_tokens, args.tie_word_embeddings, sizes)?,
            ropes: args.ropes().map_err(problem)?,
            embed_tokens,
            args,
        })
    }

    /// Sizes of the layers with keys of their own that have a window, or that have none.
    fn kind(&self, slides: bool) -> Result<KvShape> {
        let Heads { keys, width, .. } = self.args.heads(slides);
        let dtype = super::computed_dtype(self, &self.embed_tokens)?;
        Ok(KvShape {
            layers: self.args.own_of_kind(slides),
            kv_heads: keys,
            head_dim: width,
            value_dim: None,
            dtype,
        })
    }
}

impl super::Model for Model {
    fn kv_shape(&self) -> Result<KvShape> {
        self.kind(true)
    }

    fn other_kv_shape(&self) -> Result<Option<KvShape>> {
        self.kind(false).map(Some)
    }

    fn hidden(&self, input: &StepInput, kv: &mut KvStep) -> Result<Array> {
        let embedded = self.embed_tokens.forward(&input.ids)?;
        let factor = Array::from_f32((self.args.hidden_size as f32).sqrt()).as_dtype(embedded.dtype())?;
        let mut x = embedded.multiply(factor)?;
        let [sliding, full] = &self.ropes;
        let (sliding, full) = (sliding.rotation(&input.positions, &x)?, full.rotation(&input.positions, &x)?);
        let all = self
            .layer_embeddings
            .as_ref()
            .map(|embeddings| embeddings.forward(&input.ids, &x))
            .transpose()?;
        for (at, layer) in (0..).zip(&self.layers) {
            let own = all.as_ref().map(|all| all.try_index((.., at))).transpose()?;
            let rotation = if layer.slides { &sliding } else { &full };
            x = layer.forward(&x, own.as_ref(), rotation, kv)?;
        }
        Ok(x)
    }

    fn final_norm(&self, hidden: &Array) -> Result<Array> {
        rms_norm(hidden, &self.norm, self.args.rms_norm_eps)
    }

    fn logits(&self, hidden: &Array) -> Result<Array> {
        let logits = self.lm_head.forward(Input::Normed(hidden, &self.norm, self.args.rms_norm_eps))?;
        let Some(cap) = self.args.final_logit_softcapping else { return Ok(logits) };
        let cap = Array::from_f32(cap).as_dtype(logits.dtype())?;
        ops::tanh(logits.divide(&cap)?)?.multiply(cap)
    }
}
