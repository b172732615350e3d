//! Models that produce vectors or scores: encoders, and decoders trained for embeddings.

pub use ipc_proto::families::is_encoder;
use mlx_rs::Array;

use super::{Model, StepInput, bert, classifier, modernbert};
use crate::kv::{AttentionDirection, KvStep};
use crate::layers::Result;
use crate::layers::rope::Positions;
use crate::weights::LoadError;
use crate::weights::loader::Loader;

/// Loads an encoder; if `classifies`, with the head of a cross-encoder.
type Load = fn(&Loader, bool) -> Result<LoadedEncoder, LoadError>;

/// Every supported `model_type` of an encoder.
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
    /// Position of each token in its row.
    pub positions: Positions,
    /// 0 for tokens of a row's first text, 1 for its second, `[T]`; `None` if no row has a second text.
    pub types: Option<Array>,
    /// Number of rows.
    pub rows: i32,
    /// Tokens per row, padding included.
    pub length: i32,
}

/// A model without an output layer over the vocabulary.
pub trait Encoder: std::fmt::Debug {
    /// Runs all layers and returns hidden states `[T, D]` after the final norm. `kv` computes attention.
    fn encode(&self, tokens: &Tokens, kv: &mut KvStep) -> Result<Array>;
}

/// A decoder used as an encoder.
#[derive(Debug)]
struct Decoder(Box<dyn Model>);

impl Encoder for Decoder {
    fn encode(&self, tokens: &Tokens, kv: &mut KvStep) -> Result<Array> {
        let (ids, positions) = (tokens.ids.clone(), tokens.positions.clone());
        self.0.final_norm(&self.0.hidden(&StepInput { ids, positions, images: None }, kv)?)
    }
}

/// A loaded encoder.
#[derive(Debug)]
pub struct LoadedEncoder {
    /// The layers.
    pub encoder: Box<dyn Encoder>,
    /// The head of a cross-encoder.
    pub head: Option<classifier::Head>,
    /// Direction of attention.
    pub direction: AttentionDirection,
}

/// Loads the model that config.json describes; if `classifies`, with the head of a cross-encoder.
///
/// # Errors
/// Those of the loader, and for unsupported architectures.
pub fn build(loader: &Loader, classifies: bool) -> Result<LoadedEncoder, LoadError> {
    let model_type = loader.config().model_type.as_str();
    if let Some((_, load)) = ENCODERS.iter().find(|(name, _)| *name == model_type) {
        return load(loader, classifies);
    }
    if classifies {
        let text = format!("\"{model_type}\" models that classify are not supported");
        return Err(loader.config().problem(text));
    }
    let encoder = Box::new(Decoder(super::find(model_type)?(loader)?));
    let bidirectional = loader.config().flag("use_bidirectional_attention");
    let direction =
        if bidirectional { AttentionDirection::Bidirectional } else { AttentionDirection::Causal };
    Ok(LoadedEncoder { encoder, head: None, direction })
}
