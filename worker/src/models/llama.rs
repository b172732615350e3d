//! Llama 2 and 3, SmolLM2 and similar models, and the base of other families.
//!
//! Touvron et al. 2023 (<https://arxiv.org/abs/2302.13971>); reference: `llama.py` of mlx-lm 0.32.2.

use ipc_proto::families;
use mlx_rs::Array;
use serde::Deserialize;

use super::StepInput;
use super::variant::{BlockNorms, QueryKeyNorms, Variant};
use crate::kv::{KvShape, KvStep};
use crate::layers::Result;
use crate::layers::attention::{Attention, AttentionShape, Biases, HeadNorms, NormSpan};
use crate::layers::embedding::Embedding;
use crate::layers::feed_forward::{Dense, FeedForward};
use crate::layers::linear::{Input, Linear};
use crate::layers::norm::rms_norm;
use crate::layers::rope::{self, ContextLengths, Rope, RopeScaling, Rotation};
use crate::weights::LoadError;
use crate::weights::loader::Loader;

/// The fields of config.json.
#[derive(Debug, Clone, Deserialize)]
pub struct Args {
    pub(super) hidden_size: i32,
    pub(super) num_hidden_layers: usize,
    pub(super) intermediate_size: i32,
    num_attention_heads: i32,
    num_key_value_heads: Option<i32>,
    head_dim: Option<i32>,
    rms_norm_eps: f32,
    vocab_size: i32,
    #[serde(default)]
    pub(super) attention_bias: bool,
    #[serde(default)]
    pub(super) mlp_bias: bool,
    rope_theta: Option<f32>,
    pub(super) rope_scaling: Option<RopeScaling>,
    pub(super) rope_parameters: Option<RopeScaling>,
    max_position_embeddings: Option<f32>,
    original_max_position_embeddings: Option<f32>,
    tie_word_embeddings: Option<bool>,
    pub(super) layer_types: Option<Vec<String>>,
    pub(super) sliding_window: Option<u32>,
    /// The fraction of a head that is rotated. Newer files have it in `rope_parameters`.
    partial_rotary_factor: Option<f32>,
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
        let nested = self.rope_parameters.as_ref().and_then(|p| p.full().rope_theta);
        self.rope_theta.or(nested).unwrap_or(10_000.0)
    }

    /// The number of a head's coordinates that are rotated. `part` is the fraction if config.json does not state it.
    ///
    /// # Errors
    /// A sentence, if they cannot be rotated.
    pub(super) fn rotary_width(&self, part: f32) -> Result<i32, String> {
        let nested = self.rope_parameters.as_ref().and_then(|p| p.partial_rotary_factor);
        let part = self.partial_rotary_factor.or(nested).unwrap_or(part);
        rope::check_width((self.head_dim() as f32 * part) as i32, self.head_dim())
    }

    /// Gives all layers but every `step`-th one a window, if config.json does not name the layers.
    pub(super) fn default_layer_types(&mut self, step: usize) {
        let layers = self.num_hidden_layers;
        self.layer_types.get_or_insert_with(|| layer_types(layers, step));
    }

    /// Checks that every layer attends to the whole text or to a window of it.
    fn check_layers(&self) -> Result<(), String> {
        let Some(types) = &self.layer_types else { return Ok(()) };
        super::check_layer_types(types, self.num_hidden_layers, ["full_attention", "sliding_attention"])
    }

    /// Whether `layer_types` gives the layer a window.
    pub(super) fn slides(&self, layer: usize) -> bool {
        let kind = self.layer_types.as_ref().and_then(|types| types.get(layer));
        kind.is_some_and(|kind| kind == "sliding_attention")
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
        let slides = self.slides(layer) || (self.layer_types.is_none() && variant.sliding_by_default);
        AttentionShape {
            size: self.hidden_size,
            heads: self.num_attention_heads,
            kv_heads: self.num_key_value_heads.unwrap_or(self.num_attention_heads),
            head_dim,
            scale: variant.factors.scores.unwrap_or((head_dim as f32).powf(-0.5)),
            window: self.sliding_window.filter(|_| slides),
            softcap: None,
            sinks: variant.sinks,
        }
    }

    /// `rope_scaling`, or `rope_parameters` of newer files.
    pub(super) fn scaling(&self) -> Option<&RopeScaling> {
        self.rope_scaling.as_ref().or(self.rope_parameters.as_ref())
    }

    /// The rotary embedding of the first `width` coordinates of a head, as config.json describes it.
    ///
    /// # Errors
    /// A sentence, if it is not supported or a field is missing.
    pub(super) fn rope(&self, width: i32) -> Result<Rope, String> {
        let scaling = self.scaling().map(|scaling| scaling.with_lengths(self.context_lengths()));
        Rope::new(width, self.theta(), scaling.as_ref())
    }
}

/// `layer_types` for a window in all of `layers` layers but every `step`-th one.
pub(super) fn layer_types(layers: usize, step: usize) -> Vec<String> {
    (1..=layers).map(|number| layer_type(!number.is_multiple_of(step.max(1)))).collect()
}

/// An entry of `layer_types`.
pub(super) fn layer_type(slides: bool) -> String {
    if slides { "sliding_attention" } else { "full_attention" }.to_owned()
}

#[derive(Debug)]
struct TransformerBlock {
    self_attn: Attention,
    mlp: FeedForward,
    norms: LoadedNorms,
    residual_factor: Option<f32>,
}

/// A layer's norms, `[D]` each.
#[derive(Debug)]
struct LoadedNorms {
    attention_input: Option<Array>,
    attention_output: Option<Array>,
    mlp_input: Option<Array>,
    mlp_output: Option<Array>,
    eps: f32,
}

impl LoadedNorms {
    /// A layer's input, with its norm if there is one.
    fn input<'a>(&self, x: &'a Array, norm: Option<&'a Array>) -> Input<'a> {
        norm.map_or(Input::Plain(x), |weight| Input::Normed(x, weight, self.eps))
    }
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
        let block_norm = |name: Option<&str>| name.map(|name| load_norm(name, size)).transpose();
        let BlockNorms { attention_input, attention_output, mlp_input, mlp_output } = variant.block_norms;
        let (hidden, activation) = (args.intermediate_size, variant.activation);
        let dense = Dense { path: "mlp", size, hidden, bias: args.mlp_bias, activation };
        Ok(Self {
            self_attn: load_attention(loader, args, variant, layer)?,
            mlp: FeedForward::load(loader, layer, dense, variant.sparse.as_ref())?,
            norms: LoadedNorms {
                attention_input: block_norm(attention_input)?,
                attention_output: block_norm(attention_output)?,
                mlp_input: block_norm(mlp_input)?,
                mlp_output: block_norm(mlp_output)?,
                eps,
            },
            residual_factor: variant.factors.residual,
        })
    }

    fn forward(
        &self,
        x: &Array,
        layer: usize,
        rotation: Option<&Rotation>,
        kv: &mut KvStep,
    ) -> Result<Array> {
        let LoadedNorms { attention_input, attention_output, mlp_input, mlp_output, .. } = &self.norms;
        let input = self.norms.input(x, attention_input.as_ref());
        let x = if attention_output.is_none() && self.residual_factor.is_none() {
            self.self_attn.forward_residual(x, input, layer, rotation, kv)?
        } else {
            self.add(x, &self.self_attn.forward(input, layer, rotation, kv)?, attention_output.as_ref())?
        };
        let input = self.norms.input(&x, mlp_input.as_ref());
        if mlp_output.is_none() && self.residual_factor.is_none() {
            return self.mlp.forward_residual(&x, input);
        }
        self.add(&x, &self.mlp.forward(input)?, mlp_output.as_ref())
    }

    /// Adds the output of attention or MLP, after its norm and times the layer's factor.
    fn add(&self, x: &Array, output: &Array, norm: Option<&Array>) -> Result<Array> {
        let output = self.norms.input(output, norm).to_array()?;
        match self.residual_factor {
            Some(factor) => x.add(times(&output, factor)?),
            None => x.add(output),
        }
    }
}

fn load_attention(
    loader: &Loader,
    args: &Args,
    variant: &Variant,
    layer: usize,
) -> Result<Attention, LoadError> {
    let path = format!("model.layers.{layer}.self_attn");
    let shape = args.attention_shape(layer, variant);
    let biases = variant.biases.unwrap_or(Biases { qkv: args.attention_bias, output: args.attention_bias });
    let span = variant.head_norms.map_or(NormSpan::Head, |norms| norms.span);
    let load_norm = |name: &str, heads: i32| {
        let heads = if span == NormSpan::Projection { heads } else { 1 };
        let size = heads.saturating_mul(shape.head_dim);
        norm(loader, &format!("{path}.{name}.weight"), size, variant.norms_from_one)
    };
    let norms = match variant.head_norms {
        Some(QueryKeyNorms { names: [q_norm, k_norm], .. }) => Some(HeadNorms {
            q_norm: load_norm(q_norm, shape.heads)?,
            k_norm: load_norm(k_norm, shape.kv_heads)?,
            eps: args.rms_norm_eps,
        }),
        None => None,
    };
    let attention = Attention::load(loader, &path, shape, biases, norms)?.with_norm_span(span);
    match variant.neighbours {
        Some(width) => attention.with_neighbours_rotated(loader, width),
        None => Ok(attention),
    }
}

/// `x` times a constant of the type of `x`.
fn times(x: &Array, factor: f32) -> Result<Array> {
    x.multiply(Array::from_f32(factor).as_dtype(x.dtype())?)
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
        args.check_layers().map_err(|problem| loader.config().problem(problem))?;
        let embed_tokens = Embedding::load(loader, "model.embed_tokens", args.vocab_size, args.hidden_size)?;
        // Without the setting, the output layer is tied if the files lack its weight.
        // So do multimodal models, whose files state it for the whole, for the language model, or for both and differently.
        let stated = args.tie_word_embeddings.or(variant.tied);
        let stated = stated.filter(|_| !families::is_part(&loader.config().model_type));
        let tied = stated.unwrap_or(!loader.has("lm_head.weight"));
        let sizes = (args.hidden_size, args.vocab_size);
        let lm_head = super::output_layer(loader, &embed_tokens, tied, sizes)?;
        variant.activation = super::activation(loader.config(), variant.activation)?;
        let layers = 0..args.num_hidden_layers;
        let layers = layers.map(|layer| TransformerBlock::load(loader, &args, &variant, layer));
        let layers = layers.collect::<Result<_, _>>()?;
        let rope = match variant.rope.take() {
            Some(rope) => rope,
            None => args.rope(args.head_dim()).map_err(|problem| loader.config().problem(problem))?,
        };
        let norm = norm(loader, "model.norm.weight", args.hidden_size, variant.norms_from_one)?;
        Ok(Self { embed_tokens, layers, norm, lm_head, rope, args, variant })
    }
}

impl super::Model for Model {
    fn kv_shape(&self) -> Result<KvShape> {
        let AttentionShape { kv_heads, head_dim, .. } = self.args.attention_shape(0, &self.variant);
        let dtype = super::computed_dtype(self, &self.embed_tokens)?;
        Ok(KvShape { layers: self.layers.len(), kv_heads, head_dim, value_dim: None, dtype })
    }

    fn window(&self) -> Option<u32> {
        let windows =
            (0..self.layers.len()).map(|layer| self.args.attention_shape(layer, &self.variant).window);
        windows.reduce(|one, other| Some(one?.max(other?))).flatten()
    }

    fn original_context(&self) -> Option<u32> {
        self.rope.original_context()
    }

    fn hidden(&self, input: &StepInput, kv: &mut KvStep) -> Result<Array> {
        let mut x = self.embed_tokens.forward(&input.ids)?;
        let Variant { factors, scaled_embedding, sliding_rope, uses_rope, .. } = &self.variant;
        let scale = scaled_embedding.then(|| (self.args.hidden_size as f32).sqrt());
        if let Some(factor) = scale.or(factors.embedding) {
            x = times(&x, factor)?;
        }
        x = input.with_images(x)?;
        let full = self.rope.rotation(&input.positions, &x)?;
        let sliding = sliding_rope.as_ref().map(|rope| rope.rotation(&input.positions, &x)).transpose()?;
        for (layer, block) in self.layers.iter().enumerate() {
            let rotation = sliding.as_ref().filter(|_| self.args.slides(layer)).unwrap_or(&full);
            let rotation = uses_rope(&self.args, layer).then_some(rotation);
            x = input.with_deep_features(block.forward(&x, layer, rotation, kv)?, layer)?;
        }
        Ok(x)
    }

    fn final_norm(&self, hidden: &Array) -> Result<Array> {
        rms_norm(hidden, &self.norm, self.args.rms_norm_eps)
    }

    fn logits(&self, hidden: &Array) -> Result<Array> {
        let logits = self.lm_head.forward(Input::Normed(hidden, &self.norm, self.args.rms_norm_eps))?;
        match self.variant.factors.logits_divisor {
            Some(divisor) => logits.divide(Array::from_f32(divisor).as_dtype(logits.dtype())?),
            None => Ok(logits),
        }
    }
}
