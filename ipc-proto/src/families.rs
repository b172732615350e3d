//! The models that are served: each `model_type` of config.json that a worker has code for, and what a model of it does. The one
//! list that the supervisor judges folders by; the worker's own tables are tested against it.

use crate::worker::ModelKind;

/// Decoders: they generate text, or turn it into vectors where they were trained to.
pub const DECODERS: [&str; 14] = [
    "gemma",
    "gemma2",
    "gemma3",
    "gemma3_text",
    "gpt_oss",
    "llama",
    "mistral",
    "mistral3",
    "mixtral",
    "phi3",
    "qwen2",
    "qwen3",
    "qwen3_moe",
    "smollm3",
];

/// Encoders: they only read.
pub const ENCODERS: [&str; 4] = ["bert", "roberta", "xlm-roberta", "modernbert"];

/// Decoders whose folders hold a model that sees, too, of which the part about language is served.
const SEEING: [&str; 2] = ["gemma3", "mistral3"];

/// Whether a worker has code for `model_type`.
pub fn is_served(model_type: &str) -> bool {
    DECODERS.contains(&model_type) || is_encoder(model_type)
}

/// Whether `model_type` only reads.
pub fn is_encoder(model_type: &str) -> bool {
    ENCODERS.contains(&model_type)
}

/// Whether only the part about language of such a model is served.
pub fn is_part(model_type: &str) -> bool {
    SEEING.contains(&model_type)
}

/// Whether a tensor of such a model belongs to what sees.
pub fn sees(tensor: &str) -> bool {
    let name = tensor.strip_prefix("model.").unwrap_or(tensor);
    name.starts_with("vision_tower.") || name.starts_with("multi_modal_projector.")
}

/// Whether a model was saved with a head that judges texts, as `architectures` of config.json says.
pub fn classifies<'a>(mut architectures: impl Iterator<Item = &'a str>) -> bool {
    architectures.any(|name| name.ends_with("ForSequenceClassification"))
}

/// All of them, for a message.
pub fn names() -> String {
    [&DECODERS[..], &ENCODERS].concat().join(", ")
}

/// What a model does: its architecture says so, and of decoders the `modules.json` of sentence-transformers. `classifies`: it was
/// saved with a head that judges texts.
pub fn kind(model_type: &str, has_modules: bool, classifies: bool) -> ModelKind {
    match is_encoder(model_type) || has_modules {
        false => ModelKind::Generate,
        true if classifies => ModelKind::Rerank,
        true => ModelKind::Embed,
    }
}
