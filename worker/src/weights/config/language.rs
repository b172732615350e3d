//! Models that see: the part of their files that is about language. What sees is left alone.
//!
//! Their config.json has the language model's fields in an object of their own, and their weights have its tensors under a
//! prefix. Here both become what a plain language model's are. Reference: `gemma3.py` and `mistral3.py` of mlx-lm 0.32.2, and for
//! files of Transformers 5, which name things otherwise, `modeling_gemma3.py` there.

use ipc_proto::families::is_part;
use serde_json::{Map, Value, json};

/// The field for the language model's own `model_type`.
const OWN_TYPE: &str = "language_model_type";

/// How names of tensors and layers begin there, and with us.
const PREFIXES: [(&str, &str); 3] = [
    ("language_model.model.", "model."),
    ("language_model.lm_head", "lm_head"),
    ("model.language_model.", "model."),
];

/// The fields of the language model, where a config.json has others too; else the config.json as it is.
pub fn part(config: Value) -> Value {
    let model_type = config.get("model_type").and_then(Value::as_str).unwrap_or_default();
    let Some(Value::Object(own)) = config.get("text_config").filter(|_| is_part(model_type)) else {
        return config;
    };
    let mut all = if model_type == "gemma3" { defaults() } else { Map::new() };
    all.extend(config.as_object().cloned().unwrap_or_default());
    all.extend(own.clone());
    all.extend(own.get("model_type").map(|own| (OWN_TYPE.to_owned(), own.clone())));
    // What ends a turn is the whole model's affair, and so is its type.
    for field in ["model_type", "eos_token_id"] {
        if let Some(value) = config.get(field) {
            all.insert(field.to_owned(), value.clone());
        }
    }
    Value::Object(all)
}

/// What Gemma 3's files leave out, in which it differs from its text-only kin.
fn defaults() -> Map<String, Value> {
    let fields = [
        ("num_attention_heads", json!(8)),
        ("num_key_value_heads", json!(4)),
        ("vocab_size", json!(262_208)),
        ("max_position_embeddings", json!(131_072)),
    ];
    fields.map(|(name, value)| (name.to_owned(), value)).into_iter().collect()
}

/// A tensor's or layer's name as a plain language model has it.
pub fn own_name(name: &str) -> String {
    let own =
        PREFIXES.iter().find_map(|(theirs, ours)| Some(format!("{ours}{}", name.strip_prefix(theirs)?)));
    own.unwrap_or_else(|| name.to_owned())
}
