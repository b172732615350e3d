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

/// Whether a worker has code for `model_type`.
pub fn is_served(model_type: &str) -> bool {
    DECODERS.contains(&model_type) || is_encoder(model_type)
}

/// Whether `model_type` only reads.
pub fn is_encoder(model_type: &str) -> bool {
    ENCODERS.contains(&model_type)
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
