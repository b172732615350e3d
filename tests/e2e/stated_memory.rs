//! The memory that lists state for a model, from the headers of its files, is what its worker then has.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use e2e::places::{self, MINILM, SMOLLM2, TOY_QWEN2, TOY_QWEN3};
use e2e::{Server, process};
use serde_json::{Value, json};

/// Tokens in a block of the KV pool.
const BLOCK_TOKENS: u64 = 32;
/// Tokens of the KV cache that are guaranteed, at least and at most.
const GUARANTEED: (u64, u64) = (1024, 8192);
/// The bytes by which a tensor of a toy may take more than its own, rounded up to pages.
const ROUNDING: u64 = if cfg!(target_os = "macos") { 20 << 10 } else { 5 << 10 };
/// The forms of toys besides those packed in 4 bits, which every family has.
const FORMS: [&str; 5] = ["llama-fp32", "llama-bf16", "llama-mixed46", "gpt_oss-mxfp4", "gpt_oss-openai"];

/// Whether a stated number of bytes is within 5 % of the real one, which may be greater by `rounding`.
fn is_near(stated: u64, real: u64, rounding: u64) -> bool {
    let least = real.saturating_sub(rounding);
    stated + stated / 20 >= least && stated <= real + real / 20
}

/// The tensors of a toy, each of which takes whole pages.
fn tensors(folder: &Path) -> u64 {
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let files = files.filter(|path| path.extension().is_some_and(|extension| extension == "safetensors"));
    let count = |path: PathBuf| {
        let bytes = fs::read(path).unwrap();
        let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        let header: Value = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
        header
            .as_object()
            .unwrap()
            .keys()
            .filter(|name| !name.ends_with("scales") && !name.ends_with("biases"))
            .count()
    };
    files.map(count).sum::<usize>() as u64
}

/// The lease of a model's worker, once the worker has reported its KV pool.
fn lease(server: &Server, model: &str) -> Value {
    let mut lease = Value::Null;
    process::wait_for("the worker's health", Duration::from_secs(20), || {
        let pool = server.get("/admin/v1/pool").body;
        let found = pool["leases"].as_array().unwrap().iter().find(|one| one["model"] == model).cloned();
        lease = found.unwrap_or_default();
        lease["health"]["memory"]["weights"].as_u64().is_some_and(|bytes| bytes > 0)
    });
    lease
}

/// What is stated and what is real, if they differ by more than 5 % and, for weights, this `rounding`. Returns the lease and the bytes
/// of a token, too.
fn compare(server: &Server, model: &str, rounding: u64) -> (Vec<String>, Value, u64) {
    let path = format!("/admin/v1/models/{model}");
    let loaded = server.post(&format!("{path}/load"), &json!({}));
    assert_eq!(loaded.status, 200, "{model}: {}", loaded.body);
    let details = server.get(&path).body["details"].take();
    let lease = lease(server, model);
    let memory = &lease["health"]["memory"];
    let bytes = |value: &Value| value.as_u64().unwrap();
    let tokens = bytes(&lease["health"]["kv_blocks_total"]) * BLOCK_TOKENS;
    let of_token = bytes(&memory["kv_limit"]).checked_div(tokens).unwrap_or(0);
    let pairs = [
        ("weights", bytes(&details["weight_bytes"]), bytes(&memory["weights"]), rounding),
        ("a token", if tokens > 0 { bytes(&details["kv_bytes_per_token"]) } else { 0 }, of_token, 0),
    ];
    let wrong = pairs.into_iter().filter(|(_, stated, real, rounding)| !is_near(*stated, *real, *rounding));
    let wrong = wrong.map(|(what, stated, real, _)| format!("{model}: {what}: {stated} stated, {real} real"));
    (wrong.collect(), lease, of_token)
}

/// A folder of toys with the tokenizer of a real model.
fn toys(folder: &Path) -> Vec<String> {
    let goldens = places::repository().join("worker/tests/golden");
    let packed =
        fs::read_dir(&goldens).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = packed.filter(|name| name.ends_with("-4bit")).collect();
    assert!(names.len() >= 15, "{names:?}");
    names.extend(FORMS.map(String::from));
    for name in &names {
        fs::create_dir(folder.join(name)).unwrap();
        for file in fs::read_dir(goldens.join(name)).unwrap().map(Result::unwrap) {
            fs::copy(file.path(), folder.join(name).join(file.file_name())).unwrap();
        }
        for file in ["tokenizer.json", "tokenizer_config.json"] {
            fs::copy(places::models().join(SMOLLM2).join(file), folder.join(name).join(file)).unwrap();
        }
    }
    names
}

#[test]
fn stated_memory_of_every_family_is_that_of_its_worker() {
    let folder = tempfile::tempdir().unwrap();
    let names = toys(folder.path());
    let server = Server::builder().models(folder.path()).start();
    let (mut wrong, mut compared) = (Vec::new(), 0);
    for name in names {
        let model = server.get(&format!("/admin/v1/models/{name}")).body;
        if model["details"]["supported"] == true {
            compared += 1;
            let rounding = tensors(&folder.path().join(&name)) * ROUNDING;
            wrong.extend(compare(&server, &name, rounding).0);
            server.post(&format!("/admin/v1/models/{name}/unload"), &json!({}));
        }
    }
    assert!(compared >= 20, "{compared}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn stated_memory_of_whole_models_is_that_of_their_workers() {
    let server = Server::start();
    let listed: Value = serde_json::from_str(&server.mlxd(&["ls", "--json"])).unwrap();
    for model in [SMOLLM2, TOY_QWEN2, TOY_QWEN3, MINILM] {
        let (wrong, lease, of_token) = compare(&server, model, 0);
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        let entry = listed.as_array().unwrap().iter().find(|entry| entry["id"] == model).unwrap();
        let context = entry["context"].as_u64().unwrap().clamp(GUARANTEED.0, GUARANTEED.1);
        let part = |name: &str| lease[name].as_u64().unwrap();
        let real = part("weights") + of_token * context + part("transient");
        let stated = entry["memory_bytes"].as_u64().unwrap();
        assert!(is_near(stated, real, 0), "{model}: {stated} stated, {real} real, {lease}");
        assert!(part("footprint") <= part("bytes"), "{model}: it has more than its lease: {lease}");
    }
}
