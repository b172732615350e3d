//! Models that read texts and generate none: encoders, and decoders that were trained to embed.

pub use ipc_proto::families::is_encoder;
use mlx_rs::Array;

use super::{Model, bert, classifier, modernbert};
use crate::layers::Result;
use crate::mlx::kv::{KvStep, Sight};
use crate::weights::LoadError;
use crate::weights::loader::Loader;

/// Loads an encoder; `classifies` with the head of a cross-encoder.
type Load = fn(&Loader, bool) -> std::result::Result<Built, LoadError>;

/// Every `model_type` that only reads.
pub(super) const ENCODERS: [(&str, Load); 4] = [
    ("bert", bert::load),
    ("roberta", bert::load),
    ("xlm-roberta", bert::load),
    ("modernbert", modernbert::load),
];

/// The tokens of one step: rows padded to one length, one after another.
#[derive(Debug)]
pub struct Tokens {
    /// `[T]`.
    pub ids: Array,
    /// Of each token in its row, `[T]`, float32.
    pub positions: Array,
    /// 0 for tokens of a row's first text, 1 for those of its second, `[T]`; `None`: no row has a second.
    pub types: Option<Array>,
    /// Rows.
    pub rows: i32,
    /// Tokens of each, padding included.
    pub length: i32,
}

/// A model without an output layer over the vocabulary.
pub trait Encoder: std::fmt::Debug {
    /// Runs all layers: hidden states `[T, D]`, after the last norm. Attention is `kv`'s.
    fn encode(&self, tokens: &Tokens, kv: &mut KvStep) -> Result<Array>;
}

/// A decoder as an encoder.
#[derive(Debug)]
struct Decoder(Box<dyn Model>);

impl Encoder for Decoder {
    fn encode(&self, tokens: &Tokens, kv: &mut KvStep) -> Result<Array> {
        self.0.normed(&self.0.hidden(&tokens.ids, &tokens.positions, kv)?)
    }
}

/// A built model, and what it takes.
#[derive(Debug)]
pub struct Built {
    /// The layers.
    pub encoder: Box<dyn Encoder>,
    /// What judges a pair of texts, in a cross-encoder.
    pub head: Option<classifier::Head>,
    /// Which way its tokens look.
    pub sight: Sight,
}

/// Builds the model that config.json describes; `classifies` with the head of a cross-encoder.
///
/// # Errors
/// As the loader's, and for an architecture we do not have.
pub fn build(loader: &Loader, classifies: bool) -> std::result::Result<Built, LoadError> {
    let model_type = loader.config().model_type.as_str();
    if let Some((_, load)) = ENCODERS.iter().find(|(name, _)| *name == model_type) {
        return load(loader, classifies);
    }
    match model_type {
        other if classifies => {
            let text = format!("\"{other}\" models that classify are not supported");
            Err(loader.config().problem(text))
        }
        other => {
            let encoder = Box::new(Decoder(super::find(other)?(loader)?));
            let sight = match loader.config().flag("use_bidirectional_attention") {
                true => Sight::Both,
                false => Sight::Back,
            };
            Ok(Built { encoder, head: None, sight })
        }
    }
}
