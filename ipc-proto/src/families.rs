//! The supported architectures, by `model_type` of config.json. The supervisor classifies model folders by these lists. Tests compare
//! the worker's own tables with them.

use crate::worker::ModelKind;

/// Decoders. They generate text, or embed it if they were trained for that.
pub const DECODERS: [&str; 45] = [
    "cohere2",
    "deepseek_v2",
    "deepseek_v3",
    "ernie4_5",
    "exaone4",
    "gemma",
    "gemma2",
    "gemma3",
    "gemma3_text",
    "gemma4",
    "gemma4_text",
    "gemma4_unified",
    "glm4",
    "glm4_moe",
    "glm4_moe_lite",
    "gpt_oss",
    "granite",
    "hunyuan_v1_dense",
    "iquestcoder",
    "joyai_llm_flash",
    "kimi_k2",
    "lfm2",
    "lfm2_moe",
    "llama",
    "llava",
    "minimax",
    "minimax_m2",
    "ministral3",
    "mistral",
    "mistral3",
    "mixtral",
    "olmo2",
    "olmo3",
    "phi3",
    "qwen2",
    "qwen3",
    "qwen3_5",
    "qwen3_5_moe",
    "qwen3_5_moe_text",
    "qwen3_5_text",
    "qwen3_moe",
    "qwen3_next",
    "seed_oss",
    "smollm3",
    "xverse",
];

/// Encoders. They generate no text.
pub const ENCODERS: [&str; 4] = ["bert", "roberta", "xlm-roberta", "modernbert"];

/// Decoders of multimodal models. Workers load only the language model.
const MULTIMODAL: [&str; 7] =
    ["gemma3", "gemma4", "gemma4_unified", "llava", "mistral3", "qwen3_5", "qwen3_5_moe"];

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

/// The first parts of the names of tensors that read images and sounds.
const MEDIA_PARTS: [&str; 7] = [
    "vision_tower",
    "visual",
    "multi_modal_projector",
    "embed_vision",
    "vision_embedder",
    "audio_tower",
    "embed_audio",
];

/// Whether a tensor of a multimodal model belongs to the part that reads images or sounds.
pub fn is_vision_tensor(tensor: &str) -> bool {
    let name = tensor.strip_prefix("model.").unwrap_or(tensor);
    name.split_once('.').is_some_and(|(part, _)| MEDIA_PARTS.contains(&part))
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
