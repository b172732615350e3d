//! Vision-language models: extracts the language model from their files.
//!
//! Their config.json has the language model's fields in a nested object, and their weights have its tensors under a prefix.
//! This module converts both to those of a plain language model. Reference: `gemma3.py` and `mistral3.py` of mlx-lm 0.32.2.
//! Files of Transformers 5 use other names; the reference is `modeling_gemma3.py` there.

use ipc_proto::families::is_part;
use serde_json::{Map, Value, json};

/// The field that keeps the `model_type` of the nested object.
const LANGUAGE_MODEL_TYPE: &str = "language_model_type";

/// Prefixes of tensors and layers, in these models and in a plain language model.
const PREFIXES: [(&str, &str); 6] = [
    ("language_model.model.", "model."),
    ("language_model.lm_head", "lm_head"),
    ("language_model.", "model."),
    ("model.language_model.", "model."),
    ("model.text_model.", "model."),
    ("text_model.", "model."),
];

/// The fields of the language model. A config.json of another family is returned as it is.
pub fn language_model_config(config: Value) -> Value {
    let model_type = config.get("model_type").and_then(Value::as_str).unwrap_or_default();
    let Some(Value::Object(nested)) = config.get("text_config").filter(|_| is_part(model_type)) else {
        return config;
    };
    let mut all = if model_type == "gemma3" { defaults() } else { Map::new() };
    all.extend(config.as_object().cloned().unwrap_or_default());
    all.extend(nested.clone());
    all.extend(nested.get("model_type").map(|kind| (LANGUAGE_MODEL_TYPE.to_owned(), kind.clone())));
    // The outer object decides on the type and the end-of-turn tokens.
    for field in ["model_type", "eos_token_id"] {
        if let Some(value) = config.get(field) {
            all.insert(field.to_owned(), value.clone());
        }
    }
    Value::Object(all)
}

/// Fields that Gemma 3's files omit and whose defaults differ from those of the text-only models.
fn defaults() -> Map<String, Value> {
    let fields = [
        ("num_attention_heads", json!(8)),
        ("num_key_value_heads", json!(4)),
        ("vocab_size", json!(262_208)),
        ("max_position_embeddings", json!(131_072)),
    ];
    fields.map(|(name, value)| (name.to_owned(), value)).into_iter().collect()
}

/// Converts the name of a tensor or layer to that in a plain language model.
pub fn language_model_name(name: &str) -> String {
    for (theirs, ours) in PREFIXES {
        if let Some(rest) = name.strip_prefix(theirs) {
            return format!("{ours}{rest}");
        }
    }
    name.to_owned()
}
