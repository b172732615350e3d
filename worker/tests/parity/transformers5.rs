//! Files in the format of Transformers 5 give the same results as older ones: rotary settings are in `rope_parameters`,
//! windows in `layer_types`.

use std::fs;
use std::path::Path;

use safetensors::SafeTensors;
use serde_json::{Value, json};
use tempfile::TempDir;
use worker::weights::loader::Precision;

use crate::driver::{Golden, Sequence, device, distance, load, prefill};
use crate::made::Toy;

type Fields = serde_json::Map<String, Value>;
type ConfigChange = fn(&mut Fields);
type DynamicChange<'a> = &'a dyn Fn(&mut Fields);

/// A copy of the toy `name` in fp32 with a changed config.json and renamed tensors.
fn copy(name: &str, change: impl FnOnce(&mut Fields), rename: fn(&str) -> String) -> TempDir {
    let toy = Toy::open(&format!("{name}-fp32"));
    let golden = toy.path();
    let folder = tempfile::tempdir().unwrap();
    let text = fs::read_to_string(golden.join("config.json")).unwrap();
    let mut config: Value = serde_json::from_str(&text).unwrap();
    change(config.as_object_mut().unwrap());
    fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
    let bytes = fs::read(golden.join("model.safetensors")).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap().tensors();
    let tensors = tensors.into_iter().map(|(name, tensor)| (rename(&name), tensor));
    safetensors::serialize_to_file(tensors, None, &folder.path().join("model.safetensors")).unwrap();
    folder
}

fn logits_error(name: &str, folder: &Path) -> f32 {
    let golden = Golden::load(Toy::open(&format!("{name}-fp32")).path());
    let mut sequence = Sequence::new(&golden.prompt, &[9, 3]);
    let logits = prefill(&mut load(folder, Precision::Float32), &mut sequence, usize::MAX);
    distance(&logits, &golden.logits)
}

/// Converts the rotary fields of most families to Transformers 5.
fn convert(config: &mut Fields) {
    let scaling = config.remove("rope_scaling").filter(Value::is_object);
    let scaling = scaling.unwrap_or_else(|| json!({"rope_type": "default"}));
    let mut parameters = scaling.as_object().unwrap().clone();
    if let Some(kind) = parameters.remove("type") {
        parameters.insert("rope_type".into(), kind);
    }
    for field in ["rope_theta", "partial_rotary_factor", "original_max_position_embeddings"] {
        if let Some(value) = config.remove(field) {
            parameters.insert(field.into(), value);
        }
    }
    config.insert("rope_parameters".into(), parameters.into());
}

/// Converts those of Gemma 3.
fn convert_gemma3(config: &mut Fields) {
    let mut take = |field: &str| config.remove(field).unwrap();
    let full = json!({"rope_type": "default", "rope_theta": take("rope_theta")});
    let sliding = json!({"rope_type": "default", "rope_theta": take("rope_local_base_freq")});
    let pattern = take("sliding_window_pattern").as_u64().unwrap();
    let layers = 1..=config["num_hidden_layers"].as_u64().unwrap();
    let kinds = layers.map(|n| if n % pattern == 0 { "full_attention" } else { "sliding_attention" });
    config.insert("layer_types".into(), kinds.collect::<Vec<_>>().into());
    config.insert("rope_parameters".into(), json!({"full_attention": full, "sliding_attention": sliding}));
}

#[test]
fn transformers_5_configs_match_older_ones() {
    let _device = device();
    let families = [
        "llama",
        "llama-tied",
        "llama-yarn",
        "qwen2",
        "qwen3",
        "qwen3-yarn",
        "qwen3_moe",
        "mistral",
        "mixtral",
        "smollm3",
        "gemma",
        "gemma2",
        "phi3",
        "gpt_oss",
        "glm4",
        "granite",
        "olmo2",
        "seed_oss",
        "ernie4_5",
        "hunyuan_v1_dense",
        "exaone4",
        "glm4_moe",
    ];
    for name in families {
        let folder = copy(name, convert, str::to_owned);
        let off = logits_error(name, folder.path());
        assert!(off <= 1e-3, "{name}: off by {off}");
    }
    let folder = copy("gemma3_text", convert_gemma3, str::to_owned);
    let off = logits_error("gemma3_text", folder.path());
    assert!(off <= 1e-3, "gemma3_text: off by {off}");
}

/// Transformers 5 names the layers of these one by one, has rotary settings for each kind, and a fraction in place of a width.
#[test]
fn layers_and_widths_in_the_newer_form_match_the_older_one() {
    let _device = device();
    let name_layers = |config: &mut Fields, step: u64| {
        config.remove("sliding_window_pattern");
        let layers = 1..=config["num_hidden_layers"].as_u64().unwrap();
        let kinds = layers.map(|n| if n % step == 0 { "full_attention" } else { "sliding_attention" });
        config.insert("layer_types".into(), kinds.collect::<Vec<_>>().into());
    };
    let olmo3 = |config: &mut Fields| {
        name_layers(config, 4);
        convert(config);
        let full = config.remove("rope_parameters").unwrap();
        let sliding = json!({"rope_type": "default", "rope_theta": full["rope_theta"]});
        config
            .insert("rope_parameters".into(), json!({"full_attention": full, "sliding_attention": sliding}));
    };
    let cohere2 = |config: &mut Fields| {
        name_layers(config, 2);
        convert(config);
    };
    let exaone4 = |config: &mut Fields| name_layers(config, 3);
    let minimax_m2 = |config: &mut Fields| {
        let width = config.remove("rotary_dim").unwrap().as_f64().unwrap();
        let part = width / config["head_dim"].as_f64().unwrap();
        config.insert("partial_rotary_factor".into(), part.into());
        convert(config);
    };
    let families: [(&str, DynamicChange); 4] =
        [("olmo3", &olmo3), ("cohere2", &cohere2), ("exaone4", &exaone4), ("minimax_m2", &minimax_m2)];
    for (name, change) in families {
        let folder = copy(name, change, str::to_owned);
        let off = logits_error(name, folder.path());
        assert!(off <= 1e-3, "{name}: off by {off}");
    }
}

/// mlx-lm loads these by the code of another family.
#[test]
fn other_names_of_a_family_give_the_same_results() {
    let _device = device();
    for (name, other) in
        [("llama", "xverse"), ("llama", "iquestcoder"), ("minimax_m2", "minimax"), ("mistral3", "llava")]
    {
        let rename = |config: &mut Fields| drop(config.insert("model_type".into(), other.into()));
        let folder = copy(name, rename, str::to_owned);
        let off = logits_error(name, folder.path());
        assert!(off <= 1e-3, "{other}: off by {off}");
    }
}

/// Transformers 5 uses another prefix for the language model of a vision model.
#[test]
fn language_model_of_vision_model_is_found_under_the_new_prefix() {
    let _device = device();
    let rename = |name: &str| match name.strip_prefix("language_model.model.") {
        Some(rest) => format!("model.language_model.{rest}"),
        None if name == "language_model.lm_head.weight" => "lm_head.weight".to_owned(),
        None => format!("model.{name}"),
    };
    let families: [(&str, ConfigChange); 2] = [("gemma3", convert_gemma3), ("mistral3", convert)];
    for (name, convert) in families {
        let change = |config: &mut Fields| convert(config["text_config"].as_object_mut().unwrap());
        let folder = copy(name, change, rename);
        let off = logits_error(name, folder.path());
        assert!(off <= 1e-3, "{name}: off by {off}");
    }
}

#[test]
fn phi3_scaling_with_rope_type_field_matches_type_field() {
    let _device = device();
    let change = |config: &mut Fields| {
        let scaling = config["rope_scaling"].as_object_mut().unwrap();
        let kind = scaling.remove("type").unwrap();
        scaling.insert("rope_type".into(), kind);
    };
    let folder = copy("phi3", change, str::to_owned);
    let off = logits_error("phi3", folder.path());
    assert!(off <= 1e-3, "off by {off}");
}
