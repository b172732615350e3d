//! ModernBERT: rotary embeddings, gated MLPs, pre-norms, a local attention window in most layers.
//!
//! Warner et al. 2024 (<https://arxiv.org/abs/2412.13663>); reference: `modeling_modernbert.py` of Transformers.

use mlx_rs::Array;
use mlx_rs::ops::indexing::TryIndexOp;
use serde::Deserialize;

use super::classifier::{ClassifierPooling, Head, HeadActivation};
use super::encoder::{Encoder, LoadedEncoder, Tokens};
use crate::kv::{AttentionDirection, AttentionParams, KvStep};
use crate::layers::Result;
use crate::layers::embedding::Embedding;
use crate::layers::linear::Linear;
use crate::layers::mlp::Activation;
use crate::layers::norm::LayerNorm;
use crate::layers::rope::{Rope, Rotation};
use crate::weights::LoadError;
use crate::weights::loader::Loader;

/// The fields of config.json. The defaults are those of the reference.
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
struct Args {
    hidden_size: i32,
    num_hidden_layers: usize,
    num_attention_heads: i32,
    intermediate_size: i32,
    vocab_size: i32,
    norm_eps: f32,
    norm_bias: bool,
    attention_bias: bool,
    mlp_bias: bool,
    classifier_bias: bool,
    hidden_activation: String,
    classifier_activation: String,
    classifier_pooling: String,
    global_attn_every_n_layers: usize,
    local_attention: u32,
    global_rope_theta: f32,
    local_rope_theta: f32,
    /// Newer files list the type of each layer.
    layer_types: Option<Vec<String>>,
    /// Newer files keep the bases here.
    rope_parameters: Option<RopeParameters>,
}

/// One set per layer type.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct RopeParameters {
    full_attention: RopeBase,
    sliding_attention: RopeBase,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct RopeBase {
    rope_theta: Option<f32>,
}

impl Default for Args {
    fn default() -> Self {
        Self {
            hidden_size: 768,
            num_hidden_layers: 22,
            num_attention_heads: 12,
            intermediate_size: 1152,
            vocab_size: 50_368,
            norm_eps: 1e-5,
            norm_bias: false,
            attention_bias: false,
            mlp_bias: false,
            classifier_bias: false,
            hidden_activation: "gelu".into(),
            classifier_activation: "gelu".into(),
            classifier_pooling: "cls".into(),
            global_attn_every_n_layers: 3,
            local_attention: 128,
            global_rope_theta: 160_000.0,
            local_rope_theta: 10_000.0,
            layer_types: None,
            rope_parameters: None,
        }
    }
}

impl Args {
    fn is_global(&self, layer: usize) -> bool {
        match &self.layer_types {
            Some(types) => types.get(layer).is_none_or(|kind| kind == "full_attention"),
            None => layer.is_multiple_of(self.global_attn_every_n_layers.max(1)),
        }
    }

    /// The rotary bases of global and local layers.
    fn bases(&self) -> (f32, f32) {
        let given = self.rope_parameters.clone().unwrap_or_default();
        let global = given.full_attention.rope_theta.unwrap_or(self.global_rope_theta);
        (global, given.sliding_attention.rope_theta.unwrap_or(self.local_rope_theta))
    }

    fn check(&self) -> Result<(), String> {
        let Self { hidden_size: size, num_attention_heads: heads, .. } = *self;
        if heads < 1 || size < 1 || size % (2 * heads) != 0 {
            return Err(format!("hidden_size ({size}) cannot be {heads} heads (num_attention_heads)"));
        }
        Ok(())
    }
}

#[derive(Debug)]
struct Layer {
    /// `None` in the first layer, whose input is already normalised.
    attn_norm: Option<LayerNorm>,
    wqkv: Linear,
    wo: Linear,
    mlp_norm: LayerNorm,
    wi: Linear,
    mlp_wo: Linear,
    activation: Activation,
    heads: i32,
    window: Option<u32>,
}

impl Layer {
    fn load(loader: &Loader, args: &Args, prefix: &str, layer: usize) -> Result<Self, LoadError> {
        let (size, hidden) = (args.hidden_size, args.intermediate_size);
        let path = |name: &str| format!("{prefix}layers.{layer}.{name}");
        let norm = |name: &str| LayerNorm::load(loader, &path(name), size, args.norm_bias, args.norm_eps);
        let problem = |problem| loader.config().problem(problem);
        Ok(Self {
            attn_norm: if layer == 0 { None } else { Some(norm("attn_norm")?) },
            wqkv: Linear::load(loader, &path("attn.Wqkv"), size, 3 * size, args.attention_bias)?,
            wo: Linear::load(loader, &path("attn.Wo"), size, size, args.attention_bias)?,
            mlp_norm: norm("mlp_norm")?,
            wi: Linear::load(loader, &path("mlp.Wi"), size, 2 * hidden, args.mlp_bias)?,
            mlp_wo: Linear::load(loader, &path("mlp.Wo"), hidden, size, args.mlp_bias)?,
            activation: Activation::from_name(&args.hidden_activation).map_err(problem)?,
            heads: args.num_attention_heads,
            window: (!args.is_global(layer)).then_some(args.local_attention),
        })
    }

    fn forward(&self, x: &Array, layer: usize, rotation: &Rotation, kv: &mut KvStep) -> Result<Array> {
        let width = x.dim(1) / self.heads;
        let normed = match &self.attn_norm {
            Some(norm) => norm.forward(x)?,
            None => x.clone(),
        };
        let qkv = self.wqkv.forward(&normed)?.reshape(&[-1, 3 * self.heads, width])?;
        let rotated = rotation.apply(&qkv.try_index((.., ..2 * self.heads))?)?;
        kv.write(layer, &rotated.try_index((.., self.heads..))?, &qkv.try_index((.., 2 * self.heads..))?)?;
        let params = AttentionParams {
            scale: (width as f32).powf(-0.5),
            window: self.window,
            softcap: None,
            sinks: None,
        };
        let attended = kv.attend(layer, &rotated.try_index((.., ..self.heads))?, params)?;
        let x = x.add(self.wo.forward(&attended)?)?;
        let both = self.wi.forward(&self.mlp_norm.forward(&x)?)?;
        let half = both.dim(1) / 2;
        let (input, gate) = (both.try_index((.., ..half))?, both.try_index((.., half..))?);
        x.add(self.mlp_wo.forward(&self.activation.gate(&input, &gate)?)?)
    }
}

/// The whole model.
#[derive(Debug)]
struct Model {
    tok_embeddings: Embedding,
    norm: LayerNorm,
    layers: Vec<Layer>,
    final_norm: LayerNorm,
    rope_global: Rope,
    rope_local: Rope,
    args: Args,
}

/// Loads a `modernbert` folder; if `classifies`, with its head.
///
/// # Errors
/// Those of the loader.
pub(super) fn load(loader: &Loader, classifies: bool) -> Result<LoadedEncoder, LoadError> {
    let args: Args = loader.config().args()?;
    let problem = |problem: String| loader.config().problem(problem);
    args.check().map_err(problem)?;
    // Models saved with a head keep the encoder under a prefix.
    let prefix = if loader.has("model.final_norm.weight") { "model." } else { "" };
    let size = args.hidden_size;
    let norm = |path: &str| LayerNorm::load(loader, path, size, args.norm_bias, args.norm_eps);
    let head = if classifies {
        let pooling = match args.classifier_pooling.as_str() {
            "cls" => ClassifierPooling::First,
            "mean" => ClassifierPooling::Mean,
            other => return Err(problem(format!("classifier_pooling \"{other}\" is not supported"))),
        };
        let activation = Activation::from_name(&args.classifier_activation).map_err(problem)?;
        let activation = HeadActivation::Normed(activation, norm("head.norm")?);
        let names = ["head.dense", "classifier"];
        Some(Head::load(loader, names, size, args.classifier_bias, (activation, pooling))?)
    } else {
        None
    };
    let layers = (0..args.num_hidden_layers).map(|layer| Layer::load(loader, &args, prefix, layer));
    let (global, local) = args.bases();
    let width = size / args.num_attention_heads;
    let model = Model {
        tok_embeddings: Embedding::load(
            loader,
            &format!("{prefix}embeddings.tok_embeddings"),
            args.vocab_size,
            size,
        )?,
        norm: norm(&format!("{prefix}embeddings.norm"))?,
        layers: layers.collect::<Result<_, _>>()?,
        final_norm: norm(&format!("{prefix}final_norm"))?,
        rope_global: Rope::plain(width, global),
        rope_local: Rope::plain(width, local),
        args,
    };
    Ok(LoadedEncoder { encoder: Box::new(model), head, direction: AttentionDirection::Bidirectional })
}

impl Encoder for Model {
    fn encode(&self, tokens: &Tokens, kv: &mut KvStep) -> Result<Array> {
        let mut x = self.norm.forward(&self.tok_embeddings.forward(&tokens.ids)?)?;
        let global = self.rope_global.rotation(&tokens.positions, &x)?;
        let local = self.rope_local.rotation(&tokens.positions, &x)?;
        for (layer, block) in self.layers.iter().enumerate() {
            let rotation = if self.args.is_global(layer) { &global } else { &local };
            x = block.forward(&x, layer, rotation, kv)?;
        }
        self.final_norm.forward(&x)
    }
}
