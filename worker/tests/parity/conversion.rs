//! Conversions give the tensors and settings that mlx-lm gives, bit for bit: the packed goldens come from the unpacked ones.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use ipc_proto::quantize::QuantizeEvent;
use safetensors::SafeTensors;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use worker::quantize::{self, Job};
use worker::weights::config::{Packing, PackingMode};
use worker::weights::loader::Precision;

use crate::driver::{Golden, Sequence, device, distance, goldens, load, prefill};
use crate::experts::{WHOLE, split_experts, whole_experts};
use crate::made::{Description, MADE, Toy};
use crate::recurrent::original_folder;
use crate::toys::ARCHITECTURES;

type Tensors = BTreeMap<String, (String, Vec<usize>, Vec<u8>)>;

fn affine(bits: i32, group_size: i32) -> Packing {
    Packing { group_size, bits, mode: PackingMode::Affine }
}

/// Every tensor of a folder but those of vision: type, shape and bytes.
fn tensors(folder: &Path) -> Tensors {
    let bytes = fs::read(folder.join("model.safetensors")).unwrap();
    let read = SafeTensors::deserialize(&bytes).unwrap();
    let all = read
        .tensors()
        .into_iter()
        .map(|(name, view)| (name, (view.dtype().to_string(), view.shape().to_vec(), view.data().to_vec())));
    all.filter(|(name, _)| !name.starts_with("vision") && !name.starts_with("multi_modal")).collect()
}

fn config(folder: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(folder.join("config.json")).unwrap()).unwrap()
}

/// Converts, and returns the folder of the result with the events.
fn convert(model: &Path, packing: Packing) -> (TempDir, PathBuf, Vec<QuantizeEvent>) {
    let root = tempfile::tempdir().unwrap();
    let output = root.path().join("converted");
    let job = Job { model: model.to_owned(), output: output.clone(), packing, replace: false };
    let mut events = Vec::new();
    quantize::run(&job, &AtomicBool::new(false), &mut |event| events.push(event)).unwrap();
    (root, output, events)
}

/// The reason why a conversion failed. Nothing may be left of it.
fn failure(model: &Path, packing: Packing, stopped: bool) -> String {
    let root = tempfile::tempdir().unwrap();
    let output = root.path().join("converted");
    let job = Job { model: model.to_owned(), output, packing, replace: false };
    let error = quantize::run(&job, &AtomicBool::new(stopped), &mut |_| ()).unwrap_err();
    assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0, "{error}");
    error.to_string()
}

fn assert_equal(ours: &Tensors, theirs: &Tensors, name: &str) {
    assert_eq!(ours.keys().collect::<Vec<_>>(), theirs.keys().collect::<Vec<_>>(), "{name}");
    for (tensor, theirs) in theirs {
        assert!(ours[tensor] == *theirs, "{name}: {tensor} differs from mlx-lm's");
    }
}

#[test]
fn every_family_is_packed_as_by_mlx_lm() {
    let _device = device();
    let forms = ARCHITECTURES.iter().flat_map(|family| [(*family, 4), (*family, 8)]);
    for (family, bits) in forms.chain([2, 3, 5, 6].map(|bits| ("llama", bits))) {
        let name = format!("{family}-{bits}bit");
        let golden = goldens().join(&name);
        let (_root, output, _) = convert(&goldens().join(format!("{family}-fp32")), affine(bits, 32));
        assert_equal(&tensors(&output), &tensors(&golden), &name);
        for field in ["quantization", "quantization_config"] {
            assert_eq!(config(&output)[field], config(&golden)["quantization"], "{name}");
        }
    }
}

/// The made toys are packed by the same code, so their golden files have a digest of mlx-lm's tensors.
#[test]
fn every_made_family_is_packed_as_by_mlx_lm() {
    let _device = device();
    for (family, form) in MADE.iter().flat_map(|family| [(family, "4bit"), (family, "8bit")]) {
        let toy = Toy::open(&format!("{family}-{form}"));
        let expected = &Description::read(family).forms[form];
        let mut sha = Sha256::new();
        for (name, (_, _, bytes)) in tensors(toy.path()) {
            sha.update(name.as_bytes());
            sha.update(&bytes);
        }
        let digest: String = sha.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(expected["sha256"], digest, "{family}-{form} differs from mlx-lm's");
        assert_eq!(config(toy.path())["quantization"], expected["quantization"], "{family}-{form}");
    }
}

/// mlx-lm's files have convolutions in another shape, and the norms of Qwen 3.5 plus one.
#[test]
fn original_files_are_converted_as_by_mlx_lm() {
    let _device = device();
    for name in ["lfm2", "qwen3_5"] {
        let folder = original_folder(&format!("{name}-fp32"));
        let (_root, output, _) = convert(folder.path(), affine(4, 32));
        assert_equal(&tensors(&output), &tensors(&goldens().join(format!("{name}-4bit"))), name);
    }
}

#[test]
fn experts_in_two_tensors_are_packed_as_stacked_ones() {
    let _device = device();
    for (name, stacked) in WHOLE {
        let folder = whole_experts(&format!("{name}-fp32"), stacked);
        let (_root, output, events) = convert(folder.path(), affine(4, 32));
        assert_equal(&tensors(&output), &tensors(Toy::open(&format!("{name}-4bit")).path()), name);
        let QuantizeEvent::Planned { read, .. } = &events[0] else { panic!("{events:?}") };
        let all = tensors(folder.path()).values().map(|(_, _, data)| data.len() as u64).sum::<u64>();
        assert_eq!(*read, all, "{name}: every byte is read once");
    }
}

/// As in mlx-lm, the decays of Qwen 3.5 keep their type.
#[test]
fn decays_keep_their_type() {
    let _device = device();
    let copy = original_folder("qwen3_5-fp32");
    let mut fields = config(copy.path());
    fields["torch_dtype"] = "bfloat16".into();
    fs::write(copy.path().join("config.json"), fields.to_string()).unwrap();
    let (_root, output, _) = convert(copy.path(), affine(4, 32));
    for (name, (dtype, ..)) in tensors(&output) {
        assert!((dtype == "F32") == name.ends_with("A_log"), "{name} is {dtype}");
    }
}

#[test]
fn separate_experts_are_stacked() {
    let _device = device();
    let folder = split_experts(
        "mixtral-fp32",
        "switch_mlp",
        [("gate_proj", "w1"), ("up_proj", "w3"), ("down_proj", "w2")],
    );
    let (_root, output, _) = convert(folder.path(), affine(4, 32));
    assert_equal(&tensors(&output), &tensors(&goldens().join("mixtral-4bit")), "mixtral-4bit");
}

#[test]
fn experts_in_mxfp4_are_those_of_mlx_lm() {
    let _device = device();
    let experts = |folder: &Path| {
        let mut all = tensors(folder);
        all.retain(|name, _| name.contains("experts"));
        all
    };
    let (_root, output, _) = convert(&goldens().join("gpt_oss-fp32"), Packing::MXFP4);
    assert_equal(&experts(&output), &experts(&goldens().join("gpt_oss-mxfp4")), "gpt_oss-mxfp4");
    let router = json!({"group_size": 64, "bits": 8});
    let settings = json!({
        "group_size": 32, "bits": 4, "mode": "mxfp4",
        "model.layers.0.mlp.router": router, "model.layers.1.mlp.router": router,
    });
    assert_eq!(config(&output)["quantization"], settings);
}

/// A model whose sizes do not all divide, with a shard of its own and a type that differs from the files'.
#[test]
fn layers_that_groups_do_not_divide_stay_and_the_result_answers() {
    let _device = device();
    let (root, output, events) = convert(&goldens().join("llama-fp32"), affine(8, 64));
    let QuantizeEvent::Planned { packed, kept, read, .. } = &events[0] else { panic!("{events:?}") };
    let narrow = [0, 1].map(|layer| format!("model.layers.{layer}.mlp.down_proj"));
    assert_eq!((*packed, kept.as_slice()), (14, &narrow[..]));
    let original = tensors(&goldens().join("llama-fp32"));
    let name = format!("{}.weight", narrow[0]);
    assert!(tensors(&output)[&name] == original[&name]);
    assert_eq!(*read, original.values().map(|(_, _, data)| data.len() as u64).sum::<u64>());
    let Some(QuantizeEvent::Done { folder, bits_per_weight, .. }) = events.last() else {
        panic!("{events:?}")
    };
    assert!(*folder == output && (8.0..16.0).contains(bits_per_weight), "{bits_per_weight}");
    let golden = Golden::load(&goldens().join("llama-fp32"));
    let mut sequence = Sequence::new(&golden.prompt, &[9, 3, 4, 1]);
    let logits = prefill(&mut load(&output, Precision::Float32), &mut sequence, usize::MAX);
    let off = distance(&logits, &golden.logits);
    assert!(off > 0.0 && off < 0.2, "eight bits answer nearly as the original: off by {off}");
    assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1, "nothing else is left");
}

#[test]
fn numbers_get_the_type_that_the_config_names() {
    let _device = device();
    let copy = tempfile::tempdir().unwrap();
    let golden = goldens().join("llama-fp32");
    fs::copy(golden.join("model.safetensors"), copy.path().join("model.safetensors")).unwrap();
    let mut fields = config(&golden);
    fields["torch_dtype"] = "bfloat16".into();
    fs::write(copy.path().join("config.json"), fields.to_string()).unwrap();
    fs::write(copy.path().join("generation_config.json"), r#"{"eos_token_id": [3, 4]}"#).unwrap();
    let (_root, output, _) = convert(copy.path(), affine(4, 32));
    for (name, (dtype, ..)) in tensors(&output) {
        let expected = if name.ends_with(".weight") && !name.contains("norm") { "U32" } else { "BF16" };
        assert_eq!(dtype, expected, "{name}");
    }
    assert_eq!(config(&output)["eos_token_id"], json!([3, 4]));
    assert!(output.join("generation_config.json").exists());
}

#[test]
fn what_cannot_be_converted_is_refused_and_leaves_nothing() {
    let _device = device();
    let four = affine(4, 32);
    for (model, packing, expected) in [
        ("llama-4bit", four, "already quantised (4 bits)"),
        ("gpt_oss-openai", four, "already quantised (mxfp4)"),
        ("reading/bert", four, "an encoder (\"bert\")"),
        ("reading/qwen3", four, "an embedding model"),
        ("llama-fp32", affine(7, 32), "7 bits in groups of 32"),
        ("llama-fp32", affine(4, 128), "groups of 128 do not divide the 64 inputs of model.embed_tokens"),
        ("nothing", four, "config.json"),
    ] {
        let text = failure(&goldens().join(model), packing, false);
        assert!(text.contains(expected), "{model}: {text}");
    }
    let text = failure(&goldens().join("llama-fp32"), four, true);
    assert!(text.starts_with("stopped"), "{text}");
}
