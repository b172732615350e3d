//! Separate tensors per expert, as in Hugging Face files, give the same results as stacked ones.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
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
    for (architecture, names) in [
        ("mixtral", mixtral),
        ("qwen3_moe", qwen),
        ("glm4_moe", qwen),
        ("minimax_m2", mixtral),
        ("qwen3_next", qwen),
        ("lfm2_moe", mixtral),
    ] {
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

/// A copy of a toy with the stacked experts below `stacked` as Transformers 5 saves them: gates and ups of each expert in one
/// tensor, without the suffix of weights.
pub(crate) fn whole_experts(name: &str, stacked: &str) -> TempDir {
    let toy = Toy::open(name);
    let folder = tempfile::tempdir().unwrap();
    fs::copy(toy.path().join("config.json"), folder.path().join("config.json")).unwrap();
    let bytes = fs::read(toy.path().join("model.safetensors")).unwrap();
    let mut tensors: BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)> = BTreeMap::new();
    let read = SafeTensors::deserialize(&bytes).unwrap();
    for (name, tensor) in read.tensors() {
        let (shape, data) = (tensor.shape().to_vec(), tensor.data().to_vec());
        let Some((before, layer)) = name.split_once(&format!(".{stacked}.")) else {
            tensors.insert(name, (tensor.dtype(), shape, data));
            continue;
        };
        match layer {
            "gate_proj.weight" => {
                let up = read.tensor(&format!("{before}.{stacked}.up_proj.weight")).unwrap();
                let expert = data.len() / shape[0];
                let both = data.chunks(expert).zip(up.data().chunks(expert));
                let both = both.flat_map(|(gate, up)| [gate, up].concat()).collect();
                let shape = vec![shape[0], 2 * shape[1], shape[2]];
                tensors.insert(format!("{before}.experts.gate_up_proj"), (tensor.dtype(), shape, both));
            }
            "down_proj.weight" => {
                tensors.insert(format!("{before}.experts.down_proj"), (tensor.dtype(), shape, data));
            }
            _ => {}
        }
    }
    let views = tensors
        .iter()
        .map(|(name, (dtype, shape, data))| (name, TensorView::new(*dtype, shape.clone(), data).unwrap()));
    safetensors::serialize_to_file(views, None, &folder.path().join("model.safetensors")).unwrap();
    folder
}

/// The toys whose original files have experts in two tensors, with the path of mlx-lm's.
pub(crate) const WHOLE: [(&str, &str); 2] =
    [("qwen3_5_moe", "switch_mlp"), ("gemma4_text-experts", "experts.switch_glu")];

#[test]
fn experts_in_two_tensors_match_stacked_ones() {
    let _device = device();
    for (name, stacked) in WHOLE {
        let name = format!("{name}-fp32");
        let golden = Golden::load(Toy::open(&name).path());
        let folder = whole_experts(&name, stacked);
        for precision in [Precision::Float32, Precision::Native] {
            let off = logits_error(folder.path(), &golden, precision);
            assert!(off <= 1e-3, "{name} as {precision:?}: off by {off}");
        }
    }
}
