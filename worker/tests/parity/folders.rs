//! Folders whose config.json does not say how layers are packed: their shapes do.

use std::fs;

use serde_json::{Value, json};
use worker::weights::loader::Precision;

use crate::driver::{Golden, Sequence, device, distance, goldens, load, prefill};

/// The distance from the golden logits of a copy of `name` whose config.json has this `quantization`.
fn distance_with(name: &str, quantization: &Value, precision: Precision) -> f32 {
    let copy = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(goldens().join(name)).unwrap().map(Result::unwrap) {
        fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
    }
    let path = copy.path().join("config.json");
    let mut config: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    let fields = config.as_object_mut().unwrap();
    fields.remove("quantization_config");
    fields.insert("quantization".into(), quantization.clone());
    fs::write(&path, config.to_string()).unwrap();
    let golden = Golden::load(copy.path());
    let mut runner = load(copy.path(), precision);
    let mut sequence = Sequence::new(&golden.prompt, &[9, 3, 4, 1]);
    let logits = prefill(&mut runner, &mut sequence, usize::MAX);
    distance(&logits, &golden.logits)
}

/// mlx-lm 0.32.2 takes the bits and groups of such layers from the shapes, too.
#[test]
fn layers_packed_otherwise_than_the_config_says_match_mlx_lm() {
    let _device = device();
    let four = json!({"group_size": 64, "bits": 4});
    let renamed =
        json!({"group_size": 32, "bits": 4, "layers.0.mlp.down_proj": {"group_size": 32, "bits": 6}});
    for (name, quantization) in [
        ("llama-mixed46", &four),
        ("llama-mixed46", &renamed),
        ("gemma3-mixed36", &four),
        ("llama-3bit", &four),
        ("llama-8bit", &Value::Null),
        ("qwen3_moe-4bit", &four),
        ("gpt_oss-mxfp4", &four),
    ] {
        let off = distance_with(name, quantization, Precision::Float32);
        assert!(off <= 1e-3, "{name} with {quantization}: logits are off by {off}");
    }
    // Packed weights stay packed.
    let off = distance_with("llama-mixed46", &four, Precision::Native);
    assert!(off <= 1e-3, "logits are off by {off}");
}
