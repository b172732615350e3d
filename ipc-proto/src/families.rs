//! The supported architectures, by `model_type` of config.json. The supervisor classifies model folders by these lists. Tests compare
//! the worker's own tables with them.

use crate::worker::ModelKind;

/// Decoders. They generate text, or embed it if they were trained for that.
pub const DECODERS: [&str; 51] = [
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
    "idefics3",
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
    "qwen2_5_vl",
    "qwen2_vl",
    "qwen3",
    "qwen3_5",
    "qwen3_5_moe",
    "qwen3_5_moe_text",
    "qwen3_5_text",
    "qwen3_moe",
    "qwen3_next",
    "qwen3_vl",
    "qwen3_vl_moe",
    "seed_oss",
    "smollm3",
    "smolvlm",
    "xverse",
];

/// Encoders. They generate no text.
pub const ENCODERS: [&str; 4] = ["bert", "roberta", "xlm-roberta", "modernbert"];

/// Decoders of multimodal models.
const MULTIMODAL: [&str; 13] = [
    "gemma3",
    "gemma4",
    "gemma4_unified",
    "idefics3",
    "llava",
    "mistral3",
    "qwen2_5_vl",
    "qwen2_vl",
    "qwen3_5",
    "qwen3_5_moe",
    "qwen3_vl",
    "qwen3_vl_moe",
    "smolvlm",
];

/// Whether workers support `model_type`.
pub fn is_served(model_type: &str) -> bool {
    DECODERS.contains(&model_type) || is_encoder(model_type)
}

/// Whether `model_type` is an encoder.
pub fn is_encoder(model_type: &str) -> bool {
    ENCODERS.contains(&model_type)
}

/// Whether `model_type` is multimodal. Workers load its language model, and what reads images if it is in [`SEEING`].
pub fn is_part(model_type: &str) -> bool {
    MULTIMODAL.contains(&model_type)
}

/// The first parts of the names of tensors that read images and sounds.
const MEDIA_PARTS: [&str; 9] = [
    "vision_tower",
    "vision_model",
    "connector",
    "visual",
    "multi_modal_projector",
    "embed_vision",
    "vision_embedder",
    "audio_tower",
    "embed_audio",
];

/// The name of a tensor of a multimodal model without the prefix that some files have, if it belongs to the part that reads images
/// or sounds.
pub fn vision_tensor(tensor: &str) -> Option<&str> {
    let name = tensor.strip_prefix("model.").unwrap_or(tensor);
    name.split_once('.').filter(|(part, _)| MEDIA_PARTS.contains(part)).map(|_| name)
}

/// Whether a tensor of a multimodal model belongs to the part that reads images or sounds.
pub fn is_vision_tensor(tensor: &str) -> bool {
    vision_tensor(tensor).is_some()
}

/// Families whose images are read. Of other multimodal models only the language model is loaded.
pub const SEEING: [&str; 11] = [
    "gemma3",
    "idefics3",
    "llava",
    "mistral3",
    "qwen2_5_vl",
    "qwen2_vl",
    "qwen3_5",
    "qwen3_5_moe",
    "qwen3_vl",
    "qwen3_vl_moe",
    "smolvlm",
];

/// Whether workers load the part of `model_type` that reads images.
pub fn sees(model_type: &str) -> bool {
    SEEING.contains(&model_type)
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
