//! config.json before and after a conversion. Pure.
//!
//! Reference: `load_config` and `save_config` of mlx-lm 0.32.2's `utils.py`, `convert` of its `convert.py`.

use std::io;

use ipc_proto::families;
use model_folder::quantization;
use safetensors::Dtype;
use serde::Serialize;
use serde_json::ser::{PrettyFormatter, Serializer};
use serde_json::{Map, Value};

use super::plan::Refusal;

/// Fields that a converted model does not have.
const REMOVED: [&str; 2] = ["_name_or_path", "vision_config"];
/// What mlx-lm has before the names of a language model within another.
const PREFIX: &str = "language_model.";

/// Refuses models that are packed already, and those of another task. `has_modules`: the folder has a `modules.json`.
///
/// # Errors
/// The reason.
pub fn check(config: &Value, model_type: &str, has_modules: bool) -> Result<(), Refusal> {
    let nested = config.get("text_config");
    if let Some(settings) = quantization::settings(config).or_else(|| quantization::settings(nested?)) {
        let method = settings.get("quant_method").and_then(Value::as_str).map(str::to_owned);
        let bits = || {
            settings.get("bits").map_or_else(|| "see its config.json".into(), |bits| format!("{bits} bits"))
        };
        return Err(Refusal::Quantized(method.unwrap_or_else(bits)));
    }
    if families::is_encoder(model_type) {
        return Err(Refusal::Task(format!("an encoder (\"{model_type}\")")));
    }
    if has_modules {
        return Err(Refusal::Task("an embedding model (it has a modules.json)".into()));
    }
    Ok(())
}

/// The type that all numbers get: the one that config.json names.
pub fn dtype(config: &Value) -> Option<Dtype> {
    let nested = || config.get("text_config")?.get("dtype");
    match config.get("torch_dtype").or_else(nested)?.as_str()? {
        "float16" => Some(Dtype::F16),
        "bfloat16" => Some(Dtype::BF16),
        "float32" => Some(Dtype::F32),
        _ => None,
    }
}

/// The beginning of all names that are written: that of a language model within another.
pub fn prefix(model_type: &str) -> &'static str {
    if families::is_part(model_type) { PREFIX } else { "" }
}

/// The config.json of the converted model. `generation` is generation_config.json, whose end tokens count.
pub fn converted(config: Map<String, Value>, generation: Option<&Value>, quantization: &Value) -> Value {
    let mut fields = config;
    for name in REMOVED {
        fields.remove(name);
    }
    if let Some(end) = generation.and_then(|generation| generation.get("eos_token_id"))
        && !matches!(end, Value::Null | Value::Bool(false))
        && *end != 0
    {
        fields.insert("eos_token_id".into(), end.clone());
    }
    for name in ["quantization", "quantization_config"] {
        fields.insert(name.into(), quantization.clone());
    }
    fields.sort_keys();
    fields.into()
}

/// JSON with an indent of four, as Python writes it for people.
///
/// # Errors
/// Never for a [`Value`].
pub fn pretty(value: &Value) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    value.serialize(&mut Serializer::with_formatter(&mut text, PrettyFormatter::with_indent(b"    ")))?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_are_sorted_and_end_tokens_come_from_the_generation_config() {
        let config = json!({
            "vocab_size": 5, "model_type": "llama", "eos_token_id": 2, "_name_or_path": "x", "vision_config": {"a": 1},
            "rope_scaling": {"z": 1, "a": 2},
        });
        let Value::Object(config) = config else { panic!() };
        let packing = json!({"group_size": 64, "bits": 4, "mode": "affine"});
        let generation = json!({"eos_token_id": [2, 7]});
        let text = pretty(&converted(config.clone(), Some(&generation), &packing)).unwrap();
        let text = String::from_utf8(text).unwrap();
        let fields = text
            .lines()
            .filter(|line| line.starts_with("    \""))
            .map(|line| line.split('"').nth(1).unwrap());
        assert_eq!(
            fields.collect::<Vec<_>>(),
            [
                "eos_token_id",
                "model_type",
                "quantization",
                "quantization_config",
                "rope_scaling",
                "vocab_size"
            ]
        );
        assert!(text.contains("\"z\": 1,\n        \"a\": 2"), "nested fields keep their order: {text}");
        assert!(text.contains("    \"eos_token_id\": [\n        2,\n        7\n    ],"), "{text}");
        // As in Python, 0 and null are none.
        for none in [json!({"eos_token_id": 0}), json!({"eos_token_id": null}), json!({})] {
            assert_eq!(converted(config.clone(), Some(&none), &packing)["eos_token_id"], 2, "{none}");
        }
    }

    #[test]
    fn type_is_the_one_that_mlx_lm_reads() {
        let cases = [
            (json!({"torch_dtype": "bfloat16"}), Some(Dtype::BF16)),
            (json!({"torch_dtype": "float16", "text_config": {"dtype": "float32"}}), Some(Dtype::F16)),
            (json!({"text_config": {"dtype": "float32"}}), Some(Dtype::F32)),
            (json!({"dtype": "float16"}), None),
            (json!({"torch_dtype": "float64"}), None),
        ];
        for (config, expected) in cases {
            assert_eq!(dtype(&config), expected, "{config}");
        }
    }

    #[test]
    fn packed_models_and_other_tasks_are_refused() {
        let refusal =
            |config: Value, kind: &str, modules| check(&config, kind, modules).unwrap_err().to_string();
        let four = json!({"quantization": {"bits": 4, "group_size": 64}});
        assert_eq!(
            refusal(four, "llama", false),
            "it is already quantised (4 bits): convert the original weights instead"
        );
        for other in [
            json!({"quantization_config": {"quant_method": "awq"}}),
            json!({"text_config": {"quantization_config": {"quant_method": "awq"}}}),
        ] {
            assert!(refusal(other, "llama", false).contains("(awq)"));
        }
        assert!(refusal(json!({}), "bert", false).contains("an encoder (\"bert\")"));
        assert!(refusal(json!({}), "qwen3", true).contains("modules.json"));
        assert_eq!(check(&json!({"quantization": null}), "gemma3", false), Ok(()));
        assert_eq!((prefix("gemma3"), prefix("llama")), ("language_model.", ""));
    }
}
