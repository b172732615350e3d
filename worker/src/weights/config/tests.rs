use std::fs;

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn read(text: &str) -> Result<Config, String> {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("config.json"), text).unwrap();
    Config::read(folder.path()).map_err(|e| e.to_string())
}

fn with_quantization(quantization: &Value) -> Result<Config, String> {
    read(&json!({"model_type": "llama", "quantization": quantization}).to_string())
}

#[test]
fn missing_file_or_field_is_named_in_the_error() {
    let folder = tempfile::tempdir().unwrap();
    let error = Config::read(folder.path()).unwrap_err().to_string();
    assert!(error.contains("config.json"), "{error}");
    for (text, expected) in [("{", "EOF"), ("[]", "model_type"), (r#"{"model_type": 3}"#, "model_type")] {
        let error = read(text).unwrap_err();
        assert!(error.contains("config.json") && error.contains(expected), "{error}");
    }
}

#[test]
fn layers_override_the_default_packing() {
    let config = with_quantization(&json!({
        "group_size": 64, "bits": 4,
        "model.embed_tokens": {"group_size": 32, "bits": 8}, "lm_head": false, "model.norm": true,
        "strange": {"group_size": 7, "bits": 4},
    }));
    let quantization = config.unwrap().quantization.unwrap();
    let affine = |group_size, bits| Packing { group_size, bits, mode: PackingMode::Affine };
    let default = affine(64, 4);
    assert_eq!(quantization.packing_of("model.layers.0.mlp.up_proj"), Ok(Some(default)));
    assert_eq!(quantization.packing_of("model.norm"), Ok(Some(default)));
    assert_eq!(quantization.packing_of("model.embed_tokens"), Ok(Some(affine(32, 8))));
    assert_eq!(quantization.packing_of("lm_head"), Ok(None));
    assert!(quantization.packing_of("strange").unwrap_err().contains("groups of 7"));
}

#[test]
fn unsupported_quantisation_is_refused() {
    for (quantization, expected) in [
        (json!({"quant_method": "gptq", "bits": 4}), "converted for MLX"),
        (json!({"quant_method": "fp8", "bits": 8}), "converted for MLX"),
        (json!({"mode": "nvfp4", "group_size": 16, "bits": 4}), "\"nvfp4\" is not supported"),
        (json!({"mode": "mxfp4", "group_size": 64, "bits": 4}), "groups of 64"),
        (json!({"group_size": 64, "bits": 7}), "7 bits"),
        (json!({"bits": 4}), "group_size"),
    ] {
        let error = with_quantization(&quantization).unwrap_err();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn layers_override_the_packing_mode() {
    let config = with_quantization(&json!({
        "group_size": 32, "bits": 4, "mode": "mxfp4",
        "model.layers.0.mlp.router": {"group_size": 64, "bits": 8}, "lm_head": {"group_size": 16, "bits": 4, "mode": "nvfp4"},
    }));
    let quantization = config.unwrap().quantization.unwrap();
    assert_eq!(quantization.packing_of("model.layers.0.mlp.experts.gate_proj"), Ok(Some(Packing::MXFP4)));
    let router = Packing { group_size: 64, bits: 8, mode: PackingMode::Affine };
    assert_eq!(quantization.packing_of("model.layers.0.mlp.router"), Ok(Some(router)));
    assert!(quantization.packing_of("lm_head").unwrap_err().contains("nvfp4"));
    let openai = read(r#"{"model_type": "gpt_oss", "quantization_config": {"quant_method": "mxfp4"}}"#);
    assert_eq!(openai.unwrap().quantization.unwrap().packing_of("any"), Ok(Some(Packing::MXFP4)));
}

#[test]
fn vision_config_yields_its_language_model() {
    let text = json!({
        "model_type": "gemma3", "eos_token_id": [1, 106], "hidden_size": 9, "vision_config": {},
        "text_config": {"model_type": "gemma3_text", "hidden_size": 64, "num_attention_heads": 2, "eos_token_id": 1},
        "quantization": {"group_size": 64, "bits": 4, "language_model.model.layers.0.mlp.up_proj": {"group_size": 32, "bits": 8}},
    });
    let config = read(&text.to_string()).unwrap();
    assert_eq!(
        (config.model_type.as_str(), config.hidden_size(), config.max_context()),
        ("gemma3", Some(64), Some(131_072))
    );
    let packing = config.quantization.unwrap().packing_of("model.layers.0.mlp.up_proj").unwrap().unwrap();
    assert_eq!(packing.bits, 8);
    let part = language::language_model_config(text);
    assert_eq!((&part["eos_token_id"], &part["num_attention_heads"]), (&json!([1, 106]), &json!(2)));
    assert_eq!((&part["num_key_value_heads"], &part["vocab_size"]), (&json!(4), &json!(262_208)));
    // Other families are left alone.
    let other = json!({"model_type": "llama", "text_config": {"hidden_size": 1}});
    assert_eq!(language::language_model_config(other.clone()), other);
}

proptest! {
    #[test]
    fn arbitrary_text_does_not_panic(text in r#"\{("model_type": ?"llama",?)?("quantization":)?[\{\}\[\]":,0-9a-z ]{0,40}"#) {
        let _ = read(&text);
    }
}
