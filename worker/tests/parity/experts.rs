//! Separate tensors per expert, as in Hugging Face files, give the same results as stacked ones.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use safetensors::SafeTensors;
use safetensors::tensor::TensorView;
use tempfile::TempDir;
use worker::weights::loader::Precision;

use crate::driver::{Golden, Sequence, device, distance, load, prefill};
use crate::made::Toy;

/// A copy of a golden Mixtral or Qwen 3 with its stacked experts split.
pub(crate) fn split_experts(name: &str, stacked: &str, names: [(&str, &str); 3]) -> TempDir {
    let toy = Toy::open(name);
    let golden = toy.path();
    let folder = tempfile::tempdir().unwrap();
    fs::copy(golden.join("config.json"), folder.path().join("config.json")).unwrap();
    let bytes = fs::read(golden.join("model.safetensors")).unwrap();
    let mut tensors: BTreeMap<String, TensorView> = BTreeMap::new();
    for (name, tensor) in SafeTensors::deserialize(&bytes).unwrap().tensors() {
        let part = names.iter().find(|(part, _)| name.contains(&format!("{stacked}.{part}.")));
        let Some((part, each)) = part else {
            tensors.insert(name, tensor);
            continue;
        };
        let data = tensor.data();
        let [experts, shape @ ..] = tensor.shape() else { panic!("{name} is a scalar") };
        for (n, data) in data.chunks_exact(data.len() / experts).enumerate() {
            let name = name.replace(&format!("{stacked}.{part}"), &format!("experts.{n}.{each}"));
            tensors.insert(name, TensorView::new(tensor.dtype(), shape.to_vec(), data).unwrap());
        }
    }
    safetensors::serialize_to_file(tensors, None, &folder.path().join("model.safetensors")).unwrap();
    folder
}

fn logits_error(folder: &Path, golden: &Golden, precision: Precision) -> f32 {
    let mut sequence = Sequence::new(&golden.prompt, &[9, 3]);
    let logits = prefill(&mut load(folder, precision), &mut sequence, usize::MAX);
    distance(&logits, &golden.logits)
}

#[test]
fn separate_expert_tensors_match_stacked_ones() {
    let _device = device();
    let mixtral = [("gate_proj", "w1"), ("up_proj", "w3"), ("down_proj", "w2")];
    let qwen = ["gate_proj", "up_proj", "down_proj"].map(|name| (name, name));
    for (architecture, names) in
        [("mixtral", mixtral), ("qwen3_moe", qwen), ("glm4_moe", qwen), ("minimax_m2", mixtral)]
    {
        for form in ["fp32", "4bit"] {
            let name = format!("{architecture}-{form}");
            let golden = Golden::load(Toy::open(&name).path());
            let folder = split_experts(&name, "switch_mlp", names);
            for precision in [Precision::Float32, Precision::Native] {
                let off = logits_error(folder.path(), &golden, precision);
                assert!(off <= 1e-3, "{name} as {precision:?}: off by {off}");
            }
        }
    }
}
