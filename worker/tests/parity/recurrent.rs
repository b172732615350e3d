//! Models with recurrent state: the text does not depend on the steps that computed it.

use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde_json::{Value, json};
use tempfile::TempDir;
use worker::mlx::{self, LoadOptions, MlxRunner};
use worker::weights::loader::Precision;

use crate::driver::{Golden, Sequence, Tensor, argmax, device, distance, load, prefill, rewritten, step};
use crate::made::Toy;

const MODELS: [&str; 5] =
    ["lfm2-fp32", "qwen3_5-fp32", "qwen3_5_moe-fp32", "qwen3_next-fp32", "lfm2_moe-fp32"];
/// Unordered blocks, some adjacent.
const BLOCKS: [u32; 4] = [9, 3, 4, 1];
/// Most drafts of a step.
const DRAFTS: u32 = 4;

/// Greedy tokens after a prompt in chunks of `max_tokens`.
fn greedy(runner: &mut MlxRunner, golden: &Golden, max_tokens: usize) -> Vec<u32> {
    let mut sequence = Sequence::new(&golden.prompt, &BLOCKS);
    let mut logits = prefill(runner, &mut sequence, max_tokens);
    let mut tokens = Vec::new();
    while tokens.len() < golden.greedy.len() {
        tokens.push(argmax(&logits));
        sequence.push(tokens[tokens.len() - 1]);
        logits = step(runner, &mut [&mut sequence], 1).remove(0);
    }
    tokens
}

#[test]
fn text_is_that_of_mlx_lm_in_chunks_of_every_length() {
    let _device = device();
    // Gemma 4's layers that share keys are no recurrent state, but likewise read what another layer wrote.
    for name in MODELS.into_iter().chain(["gemma4-fp32", "deepseek_v3-fp32"]) {
        let toy = Toy::open(name);
        let (golden, mut runner) = (Golden::load(toy.path()), load(toy.path(), Precision::Float32));
        for max_tokens in 1..=39 {
            assert_eq!(
                greedy(&mut runner, &golden, max_tokens),
                golden.greedy,
                "{name} in chunks of {max_tokens}"
            );
        }
    }
}

/// Every other step computes drafts, some of them right, and takes the rest back.
#[test]
fn rejected_drafts_leave_no_trace() {
    let _device = device();
    // Other recurrent states are never taken back: their models do not draft.
    for name in ["lfm2-fp32", "lfm2_moe-fp32"] {
        let toy = Toy::open(name);
        let golden = Golden::load(toy.path());
        let options = LoadOptions { kv_bytes: Some(8 << 20), drafts: DRAFTS, ..LoadOptions::default() };
        let mut runner = mlx::load(toy.path(), &options, &mut |_, _| ()).unwrap();
        for right in 0..DRAFTS as usize {
            let mut sequence = Sequence::new(&golden.prompt, &BLOCKS);
            prefill(&mut runner, &mut sequence, 17);
            let mut at = 0;
            while at + right + 2 < golden.greedy.len() {
                // A sampled token, and the drafts after it.
                let accepted = &golden.greedy[at..=at + right];
                let wrong = DRAFTS as usize - right;
                accepted.iter().for_each(|token| sequence.push(*token));
                (0..wrong as u32).for_each(|at| sequence.push((accepted[right] + 1 + at) % 160));
                step(&mut runner, &mut [&mut sequence], usize::MAX);
                sequence.take_back(wrong);
                at += accepted.len();
                sequence.push(golden.greedy[at]);
                at += 1;
                let next = argmax(&step(&mut runner, &mut [&mut sequence], 1)[0]);
                assert_eq!(next, golden.greedy[at], "{name}, {right} right drafts, token {at}");
            }
        }
    }
}

/// The original files have the kernel of a convolution last, and norms of Qwen 3.5 minus one below another prefix.
#[test]
fn original_files_give_the_results_of_converted_ones() {
    let _device = device();
    for name in MODELS {
        let golden = Golden::load(Toy::open(name).path());
        let folder = original_folder(name);
        let mut sequence = Sequence::new(&golden.prompt, &BLOCKS);
        let logits = prefill(&mut load(folder.path(), Precision::Float32), &mut sequence, 39);
        let off = distance(&logits, &golden.logits);
        assert!(off <= 1e-3, "{name}: off by {off}");
    }
}

/// A copy of a toy as its original files are.
pub(crate) fn original_folder(name: &str) -> TempDir {
    let is_qwen = name.starts_with("qwen");
    rewritten(name, |tensors| {
        tensors.tensors().iter().map(|(name, tensor)| original(is_qwen, name, tensor)).collect()
    })
}

/// A tensor as the original files have it.
fn original(is_qwen: bool, name: &str, tensor: &TensorView) -> Tensor {
    let from_one = is_qwen && name.contains("norm") && !name.contains("linear_attn");
    let numbers = tensor.data().as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes));
    let numbers = numbers.map(|number| if from_one { number - 1.0 } else { number });
    let mut shape = tensor.shape().to_vec();
    if name.contains("conv") && shape.len() == 3 {
        shape.swap(1, 2);
    }
    let name = match name.strip_prefix("language_model.model.") {
        Some(inner) => format!("model.language_model.{inner}"),
        None => name.to_owned(),
    };
    (name, Dtype::F32, shape, numbers.flat_map(f32::to_le_bytes).collect())
}

#[test]
fn unsupported_settings_are_refused_by_name() {
    let _device = device();
    for (name, field, value, expected) in [
        ("lfm2-fp32", "conv_L_cache", json!(1), "conv_L_cache is 1"),
        ("lfm2-fp32", "block_ff_dim", json!(0), "block_ff_dim (0)"),
        ("lfm2-fp32", "full_attn_idxs", json!(null), "layer_types is missing"),
        ("lfm2-fp32", "layer_types", json!(["mamba"]), "\"mamba\" (layer_types)"),
        ("qwen3_5-fp32", "num_experts", json!(8), "num_experts_per_tok"),
        ("qwen3_5-fp32", "linear_num_value_heads", json!(3), "linear_num_value_heads (3)"),
        ("qwen3_5-fp32", "linear_conv_kernel_dim", json!(99), "linear_conv_kernel_dim is 99"),
        ("qwen3_5-fp32", "num_attention_heads", json!(3), "3 heads over 2"),
        ("qwen3_5-fp32", "intermediate_size", json!(null), "intermediate_size is missing"),
        ("lfm2-fp32", "block_auto_adjust_ff_dim", json!(null), "block_auto_adjust_ff_dim is missing"),
        ("gemma4-fp32", "num_kv_shared_layers", json!(5), "layer 0 has no earlier one"),
        ("gemma4-fp32", "layer_types", json!(["mamba"]), "names 1 of 5 layers"),
        ("gemma4-fp32", "global_head_dim", json!(3), "of width 3"),
        ("gemma4-fp32", "enable_moe_block", json!(true), "num_experts, top_k_experts"),
        ("deepseek_v3-fp32", "topk_group", json!(0), "0 of 3 groups (n_group, topk_group)"),
        ("deepseek_v3-fp32", "topk_method", json!("greedy"), "topk_method \"greedy\""),
        ("deepseek_v3-fp32", "scoring_func", json!("softmax"), "scoring_func \"softmax\""),
        ("deepseek_v3-fp32", "moe_layer_freq", json!(2), "moe_layer_freq"),
        ("deepseek_v3-fp32", "kv_lora_rank", json!(0), "kv_lora_rank is 0"),
        ("deepseek_v3-fp32", "qk_rope_head_dim", json!(15), "qk_rope_head_dim is 15: it must be even"),
        ("deepseek_v2-fp32", "topk_method", json!("group_limited_greedy"), "group_limited_greedy"),
    ] {
        let toy = Toy::open(name);
        let text = std::fs::read_to_string(toy.path().join("config.json")).unwrap();
        let mut config: Value = serde_json::from_str(&text).unwrap();
        match config.get_mut("text_config") {
            Some(nested) => nested[field] = value,
            None => config[field] = value,
        }
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
        let weights = toy.path().join("model.safetensors");
        std::fs::copy(weights, folder.path().join("model.safetensors")).unwrap();
        let error = mlx::load(folder.path(), &LoadOptions::default(), &mut |_, _| ()).unwrap_err();
        assert!(error.to_string().contains(expected), "{name}: {error}");
    }
}
