//! The supported architectures, by `model_type` of config.json. The supervisor classifies model folders by these lists. Tests compare
//! the worker's own tables with them.

use crate::worker::ModelKind;

/// Decoders. They generate text, or embed it if they were trained for that.
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

/// Encoders. They generate no text.
pub const ENCODERS: [&str; 4] = ["bert", "roberta", "xlm-roberta", "modernbert"];

/// Decoders of multimodal models. Workers load only the language model.
const MULTIMODAL: [&str; 2] = ["gemma3", "mistral3"];

/// Whether workers support `model_type`.
pub fn is_served(model_type: &str) -> bool {
    DECODERS.contains(&model_type) || is_encoder(model_type)
}

/// Whether `model_type` is an encoder.
pub fn is_encoder(model_type: &str) -> bool {
    ENCODERS.contains(&model_type)
}

/// Whether workers load only the language model of a multimodal `model_type`.
pub fn is_part(model_type: &str) -> bool {
    MULTIMODAL.contains(&model_type)
}

/// Whether a tensor of a multimodal model belongs to its vision part.
pub fn is_vision_tensor(tensor: &str) -> bool {
    let name = tensor.strip_prefix("model.").unwrap_or(tensor);
    name.starts_with("vision_tower.") || name.starts_with("multi_modal_projector.")
}

/// Whether `architectures` of config.json names a model with a classification head.
pub fn classifies<'a>(mut architectures: impl Iterator<Item = &'a str>) -> bool {
    architectures.any(|name| name.ends_with("ForSequenceClassification"))
}

/// All supported `model_type` values, for a message.
pub fn names() -> String {
    [&DECODERS[..], &ENCODERS].concat().join(", ")
}

/// The task of a model. `has_modules`: the folder has a `modules.json` of sentence-transformers, which makes a decoder an embedding
/// model. `classifies`: the model has a classification head.
pub fn kind(model_type: &str, has_modules: bool, classifies: bool) -> ModelKind {
    if !is_encoder(model_type) && !has_modules {
        ModelKind::Generate
    } else if classifies {
        ModelKind::Rerank
    } else {
        ModelKind::Embed
    }
}
