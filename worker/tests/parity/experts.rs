//! Separate tensors per expert, as in Hugging Face files, give the same results as stacked ones.

use std::path::Path;

use safetensors::tensor::TensorView;
use tempfile::TempDir;
use worker::weights::loader::Precision;

use crate::driver::{Golden, Sequence, Tensor, device, distance, load, prefill, rewritten};
use crate::made::Toy;

/// A copy of a golden Mixtral or Qwen 3 with its stacked experts split.
pub(crate) fn split_experts(name: &str, stacked: &str, names: [(&str, &str); 3]) -> TempDir {
    rewritten(name, |tensors| {
        let mut split = Vec::new();
        for (name, tensor) in tensors.tensors() {
            let part = names.iter().find(|(part, _)| name.contains(&format!("{stacked}.{part}.")));
            let Some((part, each)) = part else {
                split.push(same(name, &tensor));
                continue;
            };
            let data = tensor.data();
            let [experts, shape @ ..] = tensor.shape() else { panic!("{name} is a scalar") };
            for (n, data) in data.chunks_exact(data.len() / experts).enumerate() {
                let name = name.replace(&format!("{stacked}.{part}"), &format!("experts.{n}.{each}"));
                split.push((name, tensor.dtype(), shape.to_vec(), data.to_vec()));
            }
        }
        split
    })
}

fn same(name: String, tensor: &TensorView) -> Tensor {
    (name, tensor.dtype(), tensor.shape().to_vec(), tensor.data().to_vec())
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
    rewritten(name, |tensors| {
        let whole = tensors.tensors().into_iter().filter_map(|(name, tensor)| {
            let Some((before, layer)) = name.split_once(&format!(".{stacked}.")) else {
                return Some(same(name, &tensor));
            };
            match layer {
                "gate_proj.weight" => {
                    let up = tensors.tensor(&format!("{before}.{stacked}.up_proj.weight")).unwrap();
                    let (shape, expert) = (tensor.shape(), tensor.data().len() / tensor.shape()[0]);
                    let both = tensor.data().chunks(expert).zip(up.data().chunks(expert));
                    let both = both.flat_map(|(gate, up)| [gate, up].concat()).collect();
                    let shape = vec![shape[0], 2 * shape[1], shape[2]];
                    Some((format!("{before}.experts.gate_up_proj"), tensor.dtype(), shape, both))
                }
                "down_proj.weight" => Some(same(format!("{before}.experts.down_proj"), &tensor)),
                _ => None,
            }
        });
        whole.collect()
    })
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
