//! BERT, RoBERTa and XLM-RoBERTa: MiniLM, BGE, E5, GTE and similar models, and cross-encoders based on them.
//!
//! Devlin et al. 2018 (<https://arxiv.org/abs/1810.04805>), Liu et al. 2019 (<https://arxiv.org/abs/1907.11692>); reference:
//! `modeling_bert.py` and `modeling_roberta.py` of Transformers.

use mlx_rs::Array;
use mlx_rs::ops::indexing::TryIndexOp;
use serde::Deserialize;

use super::classifier::{ClassifierPooling, Head, HeadActivation};
use super::encoder::{Encoder, LoadedEncoder, Tokens};
use crate::kv::{AttentionDirection, AttentionParams, KvStep};
use crate::layers::Result;
use crate::layers::embedding::Embedding;
use crate::layers::linear::{Fused, Linear};
use crate::layers::mlp::Activation;
use crate::layers::norm::LayerNorm;
use crate::weights::LoadError;
use crate::weights::loader::Loader;

/// The fields of config.json.
#[derive(Debug, Clone, Deserialize)]
struct Args {
    hidden_size: i32,
    num_hidden_layers: usize,
    num_attention_heads: i32,
    intermediate_size: i32,
    vocab_size: i32,
    max_position_embeddings: i32,
    #[serde(default = "default_type_vocab_size")]
    type_vocab_size: i32,
    #[serde(default = "default_layer_norm_eps")]
    layer_norm_eps: f32,
    #[serde(default = "default_hidden_act")]
    hidden_act: String,
    position_embedding_type: Option<String>,
    #[serde(default)]
    pad_token_id: i32,
}

fn default_type_vocab_size() -> i32 {
    1
}

fn default_layer_norm_eps() -> f32 {
    1e-12
}

fn default_hidden_act() -> String {
    "gelu".into()
}

impl Args {
    fn check(&self) -> Result<(), String> {
        let Self { hidden_size: size, num_attention_heads: heads, .. } = *self;
        if heads < 1 || size < 1 || size % heads != 0 {
            return Err(format!("hidden_size ({size}) must be a multiple of num_attention_heads ({heads})"));
        }
        if self.type_vocab_size < 1 {
            return Err(format!("type_vocab_size is {}", self.type_vocab_size));
        }
        match self.position_embedding_type.as_deref() {
            None | Some("absolute") => Ok(()),
            Some(other) => Err(format!("position_embedding_type \"{other}\" is not supported")),
        }
    }
}

/// A layer: attention, then an MLP, with a norm after each.
#[derive(Debug)]
struct Layer {
    qkv: Fused,
    attention_output: Linear,
    attention_norm: LayerNorm,
    intermediate: Linear,
    output: Linear,
    output_norm: LayerNorm,
    activation: Activation,
    heads: i32,
}

impl Layer {
    fn load(loader: &Loader, args: &Args, path: &str) -> Result<Self, LoadError> {
        let (size, hidden) = (args.hidden_size, args.intermediate_size);
        let linear = |name: &str, inputs: i32, outputs: i32| {
            Linear::load(loader, &format!("{path}.{name}"), inputs, outputs, true)
        };
        let norm =
            |name: &str| LayerNorm::load(loader, &format!("{path}.{name}"), size, true, args.layer_norm_eps);
        let part = |name: &str| linear(&format!("attention.self.{name}"), size, size);
        Ok(Self {
            qkv: Fused::new(vec![part("query")?, part("key")?, part("value")?])?,
            attention_output: linear("attention.output.dense", size, size)?,
            attention_norm: norm("attention.output.LayerNorm")?,
            intermediate: linear("intermediate.dense", size, hidden)?,
            output: linear("output.dense", hidden, size)?,
            output_norm: norm("output.LayerNorm")?,
            activation: Activation::from_name(&args.hidden_act)
                .map_err(|problem| loader.config().problem(problem))?,
            heads: args.num_attention_heads,
        })
    }

    fn forward(&self, x: &Array, layer: usize, kv: &mut KvStep) -> Result<Array> {
        let width = x.dim(1) / self.heads;
        let qkv = self.qkv.forward(x)?.reshape(&[-1, 3 * self.heads, width])?;
        let part = |at: i32| qkv.try_index((.., at * self.heads..(at + 1) * self.heads));
        kv.write(layer, &part(1)?, &part(2)?)?;
        let params =
            AttentionParams { scale: (width as f32).powf(-0.5), window: None, softcap: None, sinks: None };
        let attended = self.attention_output.forward(&kv.attend(layer, &part(0)?, params)?)?;
        let x = self.attention_norm.forward_sum(x, &attended)?;
        let wide = self.intermediate.forward_activated(&x, self.activation)?;
        self.output_norm.forward_sum(&x, &self.output.forward(&wide)?)
    }
}

/// The whole model.
#[derive(Debug)]
struct Model {
    word_embeddings: Embedding,
    /// `[positions, D]`, starting at the first text position.
    position_embeddings: Array,
    /// `[types, D]`.
    token_type_embeddings: Array,
    norm: LayerNorm,
    layers: Vec<Layer>,
}

/// Loads a `bert`, `roberta` or `xlm-roberta` folder; if `classifies`, with its head.
///
/// # Errors
/// Those of the loader.
pub(super) fn load(loader: &Loader, classifies: bool) -> Result<LoadedEncoder, LoadError> {
    let args: Args = loader.config().args()?;
    let problem = |problem: String| loader.config().problem(problem);
    args.check().map_err(problem)?;
    let roberta = loader.config().model_type != "bert";
    // Models saved with a head keep the encoder under a prefix.
    let prefix = ["bert.", "roberta."].into_iter();
    let prefix = prefix.filter(|prefix| loader.has(&format!("{prefix}embeddings.LayerNorm.weight")));
    let prefix = prefix.last().unwrap_or("");
    let size = args.hidden_size;
    let table =
        |name: &str, rows: i32| loader.tensor(&format!("{prefix}embeddings.{name}.weight"), &[rows, size]);
    let positions = table("position_embeddings", args.max_position_embeddings)?;
    // RoBERTa's positions start after that of the padding.
    let first = if roberta { args.pad_token_id + 1 } else { 0 };
    if !(0..args.max_position_embeddings).contains(&first) {
        return Err(problem(format!("pad_token_id is {}", args.pad_token_id)));
    }
    let layers = (0..args.num_hidden_layers)
        .map(|layer| Layer::load(loader, &args, &format!("{prefix}encoder.layer.{layer}")));
    let model = Model {
        word_embeddings: Embedding::load(
            loader,
            &format!("{prefix}embeddings.word_embeddings"),
            args.vocab_size,
            size,
        )?,
        position_embeddings: if first == 0 || loader.is_checking() {
            positions
        } else {
            positions.try_index(first..)?
        },
        token_type_embeddings: table("token_type_embeddings", args.type_vocab_size)?,
        norm: LayerNorm::load(
            loader,
            &format!("{prefix}embeddings.LayerNorm"),
            size,
            true,
            args.layer_norm_eps,
        )?,
        layers: layers.collect::<Result<_, _>>()?,
    };
    let head = match (classifies, roberta) {
        (false, _) => None,
        (true, true) => Some(["classifier.dense", "classifier.out_proj"].map(str::to_owned)),
        (true, false) => Some([format!("{prefix}pooler.dense"), "classifier".to_owned()]),
    };
    let head = head.map(|[dense, out]| {
        Head::load(loader, [&dense, &out], size, true, (HeadActivation::Tanh, ClassifierPooling::First))
    });
    Ok(LoadedEncoder {
        encoder: Box::new(model),
        head: head.transpose()?,
        direction: AttentionDirection::Bidirectional,
    })
}

impl Encoder for Model {
    fn encode(&self, tokens: &Tokens, kv: &mut KvStep) -> Result<Array> {
        let words = self.word_embeddings.forward(&tokens.ids)?;
        let size = words.dim(1);
        let embeddings = self.position_embeddings.try_index(..tokens.length)?;
        let embeddings = match &tokens.types {
            None => embeddings.add(self.token_type_embeddings.try_index(..1)?)?,
            Some(types) if self.token_type_embeddings.dim(0) > 1 => {
                let types = self.token_type_embeddings.take_axis(types, 0)?;
                embeddings.add(types.reshape(&[tokens.rows, tokens.length, size])?)?
            }
            // RoBERTa has one token type; a separator divides two texts.
            Some(_) => embeddings.add(self.token_type_embeddings.try_index(..1)?)?,
        };
        let embedded = words.reshape(&[tokens.rows, tokens.length, size])?.add(embeddings)?;
        let mut x = self.norm.forward(&embedded)?.reshape(&[-1, size])?;
        for (layer, block) in self.layers.iter().enumerate() {
            x = block.forward(&x, layer, kv)?;
        }
        Ok(x)
    }
}
