//! Which quantisations of config.json are supported.

use serde_json::{Map, Value};

/// MLX's, and OCP's MXFP4.
const MODES: [&str; 2] = ["affine", "mxfp4"];

/// The object with MLX's quantisation, or another library's. mlx-lm writes it under both names.
pub fn settings(config: &Value) -> Option<&Map<String, Value>> {
    let both = ["quantization", "quantization_config"];
    both.iter().find_map(|name| config.get(name)?.as_object())
}

/// The reason why a model with this config.json cannot be served, as far as its quantisation goes.
pub fn refusal(config: &Value) -> Option<String> {
    let settings = settings(config)?;
    match settings.get("quant_method").map(|method| method.as_str().unwrap_or_default()) {
        // OpenAI's format of gpt-oss.
        Some("mxfp4") => None,
        Some(_) => Some(
            "its quantisation is not MLX's (\"quant_method\" is set): use a model converted for MLX".into(),
        ),
        None => mode_refusal(settings.get("mode")),
    }
}

/// The reason why a layer with these settings cannot be unpacked, as far as its mode goes.
pub fn unsupported_mode(settings: &Value) -> Option<String> {
    mode_refusal(settings.get("mode"))
}

fn mode_refusal(mode: Option<&Value>) -> Option<String> {
    let mode = mode?.as_str().filter(|mode| !MODES.contains(mode))?;
    let text = "is not supported, only \"affine\" and \"mxfp4\": use a model converted with one of these";
    Some(format!("quantisation mode \"{mode}\" {text}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn quantisation_of_other_libraries_is_refused() {
        for config in [
            json!({}),
            json!({"quantization": {"bits": 4}}),
            json!({"quantization": null, "quantization_config": {"quant_method": "mxfp4"}}),
        ] {
            assert_eq!(refusal(&config), None, "{config}");
        }
        // mlx-lm's own object is there besides that of the original.
        let both = json!({"quantization": {"bits": 4}, "quantization_config": {"quant_method": "fp8"}});
        assert_eq!(refusal(&both), None);
        for config in [
            json!({"quantization_config": {"quant_method": "awq"}}),
            json!({"quantization_config": {"quant_method": 1}}),
        ] {
            assert!(refusal(&config).unwrap().contains("converted for MLX"), "{config}");
        }
        let mode = json!({"quantization": {"bits": 4, "mode": "nvfp4"}});
        assert!(refusal(&mode).unwrap().contains("\"nvfp4\" is not supported"));
    }
}
