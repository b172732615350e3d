//! Models with latent attention: original files have one projection where mlx-lm's have two.

use std::sync::atomic::AtomicBool;

use safetensors::Dtype;
use safetensors::tensor::TensorView;
use tempfile::TempDir;
use worker::quantize::{self, Job};
use worker::weights::config::{Packing, PackingMode};
use worker::weights::loader::Precision;

use crate::driver::{Golden, Sequence, device, distance, load, prefill, rewritten};
use crate::made::Toy;

const MODELS: [&str; 2] = ["deepseek_v3-fp32", "glm4_moe_lite-fp32"];
const FOUR: Packing = Packing { group_size: 32, bits: 4, mode: PackingMode::Affine };

fn numbers(tensor: &TensorView) -> Vec<f32> {
    tensor.data().as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}

/// The rows of both maps for each head: those to the latent space transposed, then those from it.
fn joined(embed_q: &TensorView, unembed_out: &TensorView) -> (Vec<usize>, Vec<u8>) {
    let [heads, rank, plain] = *embed_q.shape() else { panic!("{:?}", embed_q.shape()) };
    let value = unembed_out.shape()[1];
    let (to, from) = (numbers(embed_q), numbers(unembed_out));
    let mut all: Vec<f32> = Vec::new();
    for head in 0..heads {
        for column in 0..plain {
            all.extend((0..rank).map(|row| to[(head * rank + row) * plain + column]));
        }
        all.extend(&from[head * value * rank..(head + 1) * value * rank]);
    }
    (vec![heads * (plain + value), rank], all.into_iter().flat_map(f32::to_le_bytes).collect())
}

/// A copy of a toy as its original files are.
fn original(name: &str) -> TempDir {
    rewritten(name, |tensors| {
        let all = tensors.tensors().into_iter().filter_map(|(name, tensor)| {
            if let Some(path) = name.strip_suffix(".embed_q.weight") {
                let other = tensors.tensor(&format!("{path}.unembed_out.weight")).unwrap();
                let (shape, bytes) = joined(&tensor, &other);
                return Some((format!("{path}.kv_b_proj.weight"), Dtype::F32, shape, bytes));
            }
            let is_joined = name.ends_with(".unembed_out.weight");
            (!is_joined).then(|| (name, tensor.dtype(), tensor.shape().to_vec(), tensor.data().to_vec()))
        });
        all.collect()
    })
}

#[test]
fn original_files_match_converted_ones() {
    let _device = device();
    for name in MODELS {
        let golden = Golden::load(Toy::open(name).path());
        let folder = original(name);
        for precision in [Precision::Float32, Precision::Native] {
            let mut sequence = Sequence::new(&golden.prompt, &[9, 3]);
            let logits = prefill(&mut load(folder.path(), precision), &mut sequence, 17);
            let off = distance(&logits, &golden.logits);
            assert!(off <= 1e-3, "{name} as {precision:?}: off by {off}");
        }
    }
}

#[test]
fn original_files_are_not_converted() {
    let _device = device();
    let folder = original(MODELS[0]);
    let root = tempfile::tempdir().unwrap();
    let output = root.path().join("converted");
    let job = Job { model: folder.path().to_owned(), output, packing: FOUR, replace: false };
    let error = quantize::run(&job, &AtomicBool::new(false), &mut |_| ()).unwrap_err().to_string();
    assert!(error.contains("model.layers.0.self_attn.kv_b_proj"), "{error}");
    assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 0);
}
