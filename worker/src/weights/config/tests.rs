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
fn a_missing_file_and_missing_fields_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let error = Config::read(folder.path()).unwrap_err().to_string();
    assert!(error.contains("config.json"), "{error}");
    for (text, expected) in [("{", "EOF"), ("[]", "model_type"), (r#"{"model_type": 3}"#, "model_type")] {
        let error = read(text).unwrap_err();
        assert!(error.contains("config.json") && error.contains(expected), "{error}");
    }
}

#[test]
fn layers_can_have_a_packing_of_their_own_or_none() {
    let config = with_quantization(&json!({
        "group_size": 64, "bits": 4,
        "model.embed_tokens": {"group_size": 32, "bits": 8}, "lm_head": false, "model.norm": true,
        "strange": {"group_size": 7, "bits": 4},
    }));
    let quantization = config.unwrap().quantization.unwrap();
    let default = Packing { group_size: 64, bits: 4 };
    assert_eq!(quantization.of("model.layers.0.mlp.up_proj"), Ok(Some(default)));
    assert_eq!(quantization.of("model.norm"), Ok(Some(default)));
    assert_eq!(quantization.of("model.embed_tokens"), Ok(Some(Packing { group_size: 32, bits: 8 })));
    assert_eq!(quantization.of("lm_head"), Ok(None));
    assert!(quantization.of("strange").unwrap_err().contains("groups of 7"));
}

#[test]
fn foreign_quantisations_are_refused() {
    for (quantization, expected) in [
        (json!({"quant_method": "gptq", "bits": 4}), "converted for MLX"),
        (json!({"mode": "mxfp4", "group_size": 32, "bits": 4}), "mxfp4"),
        (json!({"group_size": 64, "bits": 7}), "7 bits"),
        (json!({"bits": 4}), "group_size"),
    ] {
        let error = with_quantization(&quantization).unwrap_err();
        assert!(error.contains(expected), "{error}");
    }
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in r#"\{("model_type": ?"llama",?)?("quantization":)?[\{\}\[\]":,0-9a-z ]{0,40}"#) {
        let _ = read(&text);
    }
}
