//! Broken model folders: each is refused with a precise reason before any weights are loaded.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tempfile::TempDir;
use worker::engine::runner::{Batch, NO_TOKEN, Row, RowSampling, Runner, ScoreRequest};
use worker::mlx::{self, LoadOptions};
use worker::text::model_files::ModelFiles;

#[path = "common/made.rs"]
mod made;

use made::Toy;

/// A copy of a golden model.
fn copy(name: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let toy = Toy::open(name);
    for entry in fs::read_dir(toy.path()).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), folder.path().join(entry.file_name())).unwrap();
    }
    folder
}

/// A copy of `name` whose config.json has `changes`. Null removes a field.
fn copy_with(name: &str, changes: &Value) -> TempDir {
    let folder = copy(name);
    let path = folder.path().join("config.json");
    let mut config: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    for (field, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => drop(config.as_object_mut().unwrap().remove(field)),
            value => config[field] = value.clone(),
        }
    }
    fs::write(&path, config.to_string()).unwrap();
    folder
}

/// The load error of such a copy.
fn load_error_with_config(name: &str, changes: &Value) -> String {
    load_error(copy_with(name, changes).path())
}

fn load_error(folder: &Path) -> String {
    load_error_with_adapter(folder, None)
}

fn load_error_with_adapter(folder: &Path, adapter: Option<PathBuf>) -> String {
    let options = LoadOptions { adapter, ..LoadOptions::default() };
    mlx::load(folder, &options, &mut |_, _| panic!("weights of a broken model are loaded"))
        .unwrap_err()
        .to_string()
}

#[test]
fn load_with_wrong_config_names_the_problem() {
    for (name, changes, expected) in [
        ("llama-fp32", json!({"model_type": "mamba"}), "\"mamba\" is not supported; supported are"),
        ("llama-fp32", json!({"hidden_size": null}), "hidden_size"),
        ("llama-fp32", json!({"hidden_size": "64"}), "config.json"),
        ("llama-fp32", json!({"num_hidden_layers": 3}), "model.layers.2.self_attn.q_proj.weight is missing"),
        ("llama-fp32", json!({"intermediate_size": 128}), "has shape [96, 64], expected [128, 64]"),
        ("llama-fp32", json!({"vocab_size": 161}), "expected [161, 64]"),
        ("llama-fp32", json!({"num_key_value_heads": 3}), "num_key_value_heads"),
        ("llama-fp32", json!({"num_attention_heads": 0}), "num_attention_heads"),
        ("llama-fp32", json!({"rope_scaling": {"rope_type": "dynamic", "factor": 2.0}}), "dynamic"),
        ("llama-fp32", json!({"rope_scaling": {"rope_type": "yarn"}}), "factor is missing"),
        ("qwen2-fp32", json!({"num_hidden_layers": 9_000}), "is missing"),
        (
            "qwen2-fp32",
            json!({"num_hidden_layers": 100_000_000}),
            "num_hidden_layers is 100000000: it must be between 1 and 10000",
        ),
        ("llama-fp32", json!({"num_hidden_layers": 1}), "the files have 2 layers, but num_hidden_layers of"),
        ("llama-fp32", json!({"rope_theta": 0}), "config.json: rope_theta is 0: it must be above 0"),
        ("llama-fp32", json!({"rms_norm_eps": -1}), "rms_norm_eps is -1: it must not be negative"),
        (
            "llama-fp32",
            json!({"rope_scaling": {"rope_type": "linear", "factor": 0}}),
            "rope_scaling.factor is 0: it must be above 0",
        ),
        ("llama-fp32", json!({"hidden_act": "bogus"}), "the activation \"bogus\" is not supported"),
        ("mixtral-fp32", json!({"hidden_act": "bogus"}), "the activation \"bogus\" is not supported"),
        ("gpt_oss-fp32", json!({"hidden_act": "gelu"}), "the activation \"gelu\" is not supported for"),
        (
            "gemma3_text-fp32",
            json!({"hidden_activation": "silu"}),
            "the activation \"silu\" is not supported for this architecture",
        ),
        ("gemma3_text-fp32", json!({"head_dim": 64}), "expected"),
        ("mixtral-fp32", json!({"num_local_experts": 5}), "has shape [4, 64], expected [5, 64]"),
        ("mixtral-fp32", json!({"intermediate_size": 33}), "has shape [4, 32, 64], expected [4, 33, 64]"),
        ("mixtral-fp32", json!({"num_experts_per_tok": 5}), "num_experts_per_tok"),
        ("gpt_oss-fp32", json!({"layer_types": null}), "layer_types"),
        (
            "mistral3-fp32",
            json!({"text_config": {"model_type": "mistral4"}}),
            "\"mistral4\", which is not supported",
        ),
        (
            "gpt_oss-openai",
            json!({"num_local_experts": 5}),
            "gate_up_proj_blocks has shape [4, 64, 2, 16], expected [5, 64, 2, 16]",
        ),
        (
            "gpt_oss-mxfp4",
            json!({"intermediate_size": 64}),
            "experts.gate_proj.scales has shape [4, 32, 2], expected [4, 64, 2]",
        ),
        ("gpt_oss-fp32", json!({"num_attention_heads": 8}), "self_attn.sinks has shape [4], expected [8]"),
        ("qwen3_moe-fp32", json!({"mlp_only_layers": []}), "model.layers.3.mlp.gate.weight is missing"),
    ] {
        let error = load_error_with_config(name, &changes);
        assert!(error.contains(expected), "{name} with {changes}: {error}");
    }
}

#[test]
fn load_with_wrong_layers_norms_or_experts_names_the_problem() {
    for (name, changes, expected) in [
        ("llama-fp32", json!({"layer_types": ["full_attention"]}), "layer_types names 1 of 2 layers"),
        (
            "llama-fp32",
            json!({"layer_types": ["full_attention", "linear_attention"]}),
            "layers of the type \"linear_attention\" (layer_types) are not supported",
        ),
        ("glm4-fp32", json!({"partial_rotary_factor": 1.5}), "24 of the 16 coordinates of a head"),
        ("granite-fp32", json!({"residual_multiplier": null}), "missing field `residual_multiplier`"),
        ("granite-fp32", json!({"logits_scaling": 0}), "logits_scaling is 0: it must be above 0"),
        ("olmo2-fp32", json!({"num_key_value_heads": 4}), "k_norm.weight has shape [32], expected [64]"),
        ("olmo3-fp32", json!({"sliding_window": null}), "\"sliding_window\" is missing"),
        ("cohere2-fp32", json!({"use_qk_norm": true}), "(use_qk_norm) are not supported"),
        ("cohere2-fp32", json!({"hidden_act": "bogus"}), "the activation \"bogus\" is not supported"),
        ("cohere2-fp32", json!({"num_hidden_layers": 3}), "the files have 4 layers"),
        (
            "hunyuan_v1_dense-fp32",
            json!({"rope_scaling": {"type": "dynamic"}}),
            "\"dynamic\" is not supported",
        ),
        ("exaone4-fp32", json!({"sliding_window_pattern": 0}), "sliding_window_pattern is 0"),
        ("glm4_moe-fp32", json!({"n_group": 2}), "of 2 groups (n_group, topk_group)"),
        ("glm4_moe-fp32", json!({"scoring_func": "softmax"}), "scoring_func \"softmax\" is not supported"),
        ("glm4_moe-fp32", json!({"num_experts_per_tok": 6}), "6 of 5 experts (num_experts_per_tok)"),
        ("glm4_moe-fp32", json!({"first_k_dense_replace": 0}), "layers.0.mlp.gate.weight is missing"),
        (
            "glm4_moe-fp32",
            json!({"first_k_dense_replace": u64::MAX}),
            "layers.1.mlp.gate_proj.weight is missing",
        ),
        (
            "deepseek_v3-fp32",
            json!({"first_k_dense_replace": u64::MAX}),
            "layers.1.mlp.gate_proj.weight is missing",
        ),
        ("minimax_m2-fp32", json!({"attn_type_list": [1, 0]}), "linear attention (attn_type_list)"),
        ("minimax_m2-fp32", json!({"rotary_dim": 64}), "64 of the 32 coordinates of a head"),
    ] {
        let error = load_error_with_config(name, &changes);
        assert!(error.contains(expected), "{name} with {changes}: {error}");
    }
}

/// Code Llama's files have `"rope_scaling": null` and an integer base.
#[test]
fn load_with_code_llama_config_succeeds() {
    let changes =
        json!({"rope_theta": 1_000_000, "rope_scaling": null, "pretraining_tp": 1, "hidden_act": "silu"});
    let folder = copy_with("llama-fp32", &changes);
    let path = folder.path().join("config.json");
    let config = fs::read_to_string(&path).unwrap();
    fs::write(&path, config.replacen('{', "{\"rope_scaling\": null,", 1)).unwrap();
    mlx::load(folder.path(), &LoadOptions::default(), &mut |_, _| ()).unwrap();
}

/// A Llama with GELU computes it.
#[test]
fn activation_of_the_configuration_is_the_one_that_is_computed() {
    let logits = |activation: &str| {
        let folder = copy_with("llama-fp32", &json!({"hidden_act": activation}));
        let mut runner = mlx::load(folder.path(), &LoadOptions::default(), &mut |_, _| ()).unwrap();
        let row = Row { tokens: 0..2, blocks: vec![0], samples: vec![RowSampling::GREEDY], ..Row::default() };
        let batch = Batch {
            tokens: vec![1, 2],
            positions: vec![0, 1],
            slots: vec![0, 1],
            rows: vec![row],
            ..Batch::default()
        };
        runner.logits(&batch).unwrap().as_slice::<f32>().to_vec()
    };
    assert_ne!(logits("silu"), logits("gelu"));
    assert_eq!(logits("silu"), logits("swish"));
}

/// As a broken conversion leaves them.
#[test]
fn model_without_numbers_samples_no_token() {
    let folder = copy("llama-fp32");
    for name in fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path()) {
        if name.extension().is_some_and(|extension| extension == "safetensors") {
            let mut bytes = fs::read(&name).unwrap();
            let header = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
            bytes[8 + header..].as_chunks_mut::<4>().0.fill(f32::NAN.to_le_bytes());
            fs::write(&name, bytes).unwrap();
        }
    }
    let mut runner = mlx::load(folder.path(), &LoadOptions::default(), &mut |_, _| ()).unwrap();
    for temperature in [0.0, 1.0] {
        let samples = vec![RowSampling { temperature, ..RowSampling::GREEDY }];
        let score = Some(ScoreRequest { top: 1, ..ScoreRequest::default() });
        let row = Row { tokens: 0..1, blocks: vec![0], samples, score, ..Row::default() };
        let batch = Batch {
            tokens: vec![1],
            positions: vec![0],
            slots: vec![0],
            rows: vec![row],
            ..Batch::default()
        };
        runner.launch(&batch).unwrap();
        assert_eq!(runner.finish(&batch, &[]).unwrap().tokens, [NO_TOKEN], "{temperature}");
    }
}

#[test]
fn load_with_damaged_weights_names_the_file() {
    let folder = copy("llama-bf16");
    let shard = folder.path().join("model-00002-of-00002.safetensors");
    let bytes = fs::read(&shard).unwrap();
    fs::write(&shard, &bytes[..bytes.len() - 1]).unwrap();
    assert!(load_error(folder.path()).contains("model-00002-of-00002.safetensors"));
    fs::remove_file(&shard).unwrap();
    assert!(load_error(folder.path()).contains("model-00002-of-00002.safetensors"));
    // An error page of a proxy instead of a download.
    fs::write(&shard, "<html>404</html>").unwrap();
    assert!(load_error(folder.path()).contains("is a page in HTML"));
    fs::write(&shard, "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n").unwrap();
    assert!(load_error(folder.path()).contains("git lfs pull"));
    fs::write(&shard, "x".repeat(20)).unwrap();
    assert!(load_error(folder.path()).contains("no whole safetensors file"));
}

#[test]
fn read_without_tokenizer_names_the_file() {
    let folder = copy("llama-fp32");
    assert!(ModelFiles::read(folder.path()).unwrap_err().contains("tokenizer.json"));
}

#[test]
fn load_with_mismatched_adapter_names_the_problem() {
    for (adapter, base, changes, expected) in [
        ("lora", "llama-tied-fp32", json!({}), "self_attn.k_proj.lora_b has shape"),
        ("lora-experts", "llama-fp32", json!({}), "for which the model has no place"),
        ("lora", "llama-fp32", json!({"lora_parameters": {"rank": 8, "scale": 1.0}}), "expected [64, 8]"),
        ("lora", "llama-fp32", json!({"lora_parameters": {"rank": 4, "alpha": 1.0}}), "scale"),
        ("lora", "llama-fp32", json!({"lora_parameters": {"rank": 0, "scale": 1.0}}), "rank of 0"),
        ("lora", "llama-fp32", json!({"fine_tune_type": "full"}), "nothing that Full makes"),
        ("lora", "llama-fp32", json!({"fine_tune_type": "dora"}), ".m is missing"),
        ("lora-experts", "mixtral-fp32", json!({"fine_tune_type": "dora"}), "experts with DoRA"),
        ("lora", "llama-fp32", json!({"fine_tune_type": "galore"}), "galore"),
        ("full", "llama-fp32", json!({"fine_tune_type": "lora"}), "nothing that Lora makes"),
        ("lora", "llama-fp32", json!({"peft_type": "LORA"}), "PEFT"),
    ] {
        let changes = changes.as_object().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/adapters").join(adapter);
        let (weights, config) = ("adapters.safetensors", "adapter_config.json");
        fs::copy(golden.join(weights), folder.path().join(weights)).unwrap();
        let text = fs::read_to_string(golden.join(config)).unwrap();
        let mut value: Value = serde_json::from_str(&text).unwrap();
        value.as_object_mut().unwrap().extend(changes.clone());
        fs::write(folder.path().join(config), value.to_string()).unwrap();
        let error = load_error_with_adapter(copy(base).path(), Some(folder.path().to_owned()));
        assert!(error.contains(expected), "{adapter} on {base} with {changes:?}: {error}");
    }
}

#[test]
fn load_with_empty_adapter_folder_names_the_missing_file() {
    let empty = tempfile::tempdir().unwrap();
    let error = load_error_with_adapter(copy("llama-fp32").path(), Some(empty.path().to_owned()));
    assert!(error.contains("adapter_config.json"), "{error}");
}
