use std::fs;
use std::path::Path;
use std::sync::mpsc::Receiver;
use std::time::SystemTime;

use ipc_proto::supervisor::Capabilities;
use ipc_proto::worker::ModelKind;
use proptest::prelude::*;

use super::scan::StoreScanner;
use super::*;

/// Bytes of a key's or value's element, for a model with norms of 16 bits. On a CPU the worker computes in fp32.
const KV_ELEMENT: u64 = if cfg!(target_os = "macos") { 2 } else { 4 };

fn write_model(folder: &Path, name: &str) {
    fs::create_dir_all(folder.join(name)).unwrap();
    fs::write(folder.join(name).join("config.json"), "{}").unwrap();
    fs::write(folder.join(name).join("model.safetensors"), "12345").unwrap();
}

/// A registry whose first scans are complete, and the receiver of further scans.
fn scanned_registry(stores: Vec<Store>) -> (Registry, Receiver<(usize, Catalogue)>) {
    let count = stores.len();
    let (report, scans) = channel();
    let report = move |store, models| drop(report.send((store, models)));
    let mut registry = Registry::start(sources(stores, &no_summaries()), report).unwrap();
    for _ in 0..count {
        let (store, models) = scans.recv().unwrap();
        registry.complete_scan(store, models, Instant::now());
    }
    (registry, scans)
}

fn scan_folders(folders: &[PathBuf]) -> BTreeMap<String, Folder> {
    let (registry, _) = scanned_registry(folders.iter().cloned().map(Store::Folder).collect());
    registry.models().clone().into_iter().map(|(id, model)| (id, model.folder.clone())).collect()
}

fn no_summaries() -> Arc<Summaries> {
    Arc::new(Summaries::of(Path::new("/nowhere")))
}

fn scanner(store: Store) -> StoreScanner {
    StoreScanner::new(store, no_summaries())
}

/// The model of a store that is one model's folder.
fn only_model(scanner: &mut StoreScanner) -> Arc<Model> {
    scanner.scan().into_values().next().unwrap()
}

#[test]
fn model_ids_are_paths_below_the_store() {
    let root = tempfile::tempdir().unwrap();
    for name in ["one", "org/two", "a/b/c/deep", "a/b/c/d/too-deep", ".hidden/three", "one/inside"] {
        write_model(root.path(), name);
    }
    fs::create_dir(root.path().join("empty")).unwrap();
    let found = scan_folders(&[root.path().to_owned()]);
    assert_eq!(found.keys().collect::<Vec<_>>(), ["a/b/c/deep", "one", "org/two"]);
    assert_eq!(found["one"].bytes, 5);
    assert!(found["one"].created > 1_600_000_000);
}

#[test]
fn first_store_wins_and_symbolic_links_may_form_cycles() {
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    write_model(first.path(), "same");
    write_model(second.path(), "same");
    write_model(second.path(), "real");
    std::os::unix::fs::symlink(second.path().join("real"), first.path().join("linked")).unwrap();
    std::os::unix::fs::symlink(first.path(), first.path().join("circle")).unwrap();
    let found = scan_folders(&[first.path().to_owned(), second.path().to_owned()]);
    assert!(found["same"].path.starts_with(first.path()));
    assert!(found.contains_key("linked") && found.contains_key("real"));
}

/// A link to its own folder once listed every model four times.
#[test]
fn folders_behind_links_are_listed_once_and_keep_their_own_names() {
    let root = tempfile::tempdir().unwrap();
    let link = |target: &str, name: &str| {
        std::os::unix::fs::symlink(root.path().join(target), root.path().join(name)).unwrap();
    };
    for name in ["ok", "org/one", "z/deep/two"] {
        write_model(root.path(), name);
    }
    fs::create_dir(root.path().join("b")).unwrap();
    for (target, name) in [(".", "d-loop"), ("z/deep", "a-link"), ("b", "org/to-b"), ("org", "b/to-org")] {
        link(target, name);
    }
    // A model may have several names.
    link("ok", "also");
    let found = scan_folders(&[root.path().to_owned()]);
    assert_eq!(found.keys().collect::<Vec<_>>(), ["also", "ok", "org/one", "z/deep/two"]);
}

#[test]
fn models_of_the_same_name_are_reported() {
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for folder in [first.path(), second.path()] {
        write_model(folder, "same");
    }
    let stores = [first.path(), second.path(), first.path()].map(|path| Store::Folder(path.to_owned()));
    let (registry, _) = scanned_registry(stores.into());
    let hidden = registry.hidden();
    let path = second.path().join("same").display().to_string();
    assert!(hidden.len() == 1 && hidden[0].ends_with(&format!("{path} is not")), "{hidden:?}");
}

#[test]
fn store_that_is_a_model_is_named_by_its_folder() {
    let root = tempfile::tempdir().unwrap();
    write_model(root.path(), "mine");
    assert_eq!(scan_folders(&[root.path().join("mine")]).keys().collect::<Vec<_>>(), ["mine"]);
    assert!(scan_folders(&[root.path().join("nowhere")]).is_empty());
}

#[test]
fn caches_of_other_programs_are_scanned_for_safetensors() {
    let home = tempfile::tempdir().unwrap();
    let cache = home.path().join("hub/models--org--name");
    write_model(&cache.join("snapshots"), "abc123");
    write_model(&cache.join("snapshots"), "older");
    fs::create_dir(cache.join("refs")).unwrap();
    fs::write(cache.join("refs/main"), "abc123\n").unwrap();
    let half = home.path().join("hub/models--half--fetched");
    fs::create_dir_all(half.join("refs")).unwrap();
    fs::write(half.join("refs/main"), "../../../evil").unwrap();
    write_model(&home.path().join(".lmstudio/models"), "maker/other");
    let gguf = home.path().join(".lmstudio/models/maker/gguf");
    fs::create_dir_all(&gguf).unwrap();
    fs::write(gguf.join("config.json"), "{}").unwrap();
    let stores = stores_of_other_programs(|name| match name {
        "HOME" => Some(home.path().to_owned()),
        "HF_HUB_CACHE" => Some(home.path().join("hub")),
        _ => None,
    });
    let (registry, _) = scanned_registry(stores);
    let found = registry.models();
    assert_eq!(found.keys().collect::<Vec<_>>(), ["maker/other", "org/name"]);
    assert!(found["org/name"].folder.path.ends_with("abc123"));
}

#[test]
fn hub_cache_is_located_by_its_environment_variables() {
    let hub = |variables: &'static [(&str, &str)]| {
        let stores = stores_of_other_programs(|name| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| PathBuf::from(value))
        });
        stores.first().map(|store| store.path().to_owned())
    };
    assert_eq!(hub(&[("HF_HOME", "/a"), ("HOME", "/h")]), Some("/a/hub".into()));
    assert_eq!(hub(&[("XDG_CACHE_HOME", "/c"), ("HOME", "/h")]), Some("/c/huggingface/hub".into()));
    assert_eq!(hub(&[("HOME", "/h")]), Some("/h/.cache/huggingface/hub".into()));
    assert_eq!(hub(&[]), None);
}

/// Writes a safetensors file with a header and zeros, and a tokenizer. Tensors: name, dtype, shape, bytes per element.
fn write_weights(path: &Path, tensors: &[(&str, &str, &[u64], u64)]) {
    let mut at = 0;
    let mut header = serde_json::Map::new();
    for (name, dtype, shape, width) in tensors {
        let end = at + shape.iter().product::<u64>() * width;
        header.insert(
            (*name).to_owned(),
            serde_json::json!({"dtype": dtype, "shape": shape, "data_offsets": [at, end]}),
        );
        at = end;
    }
    let text = serde_json::Value::from(header).to_string();
    let mut bytes = (text.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(text.as_bytes());
    fs::write(path, &bytes).unwrap();
    let file = fs::OpenOptions::new().write(true).open(path).unwrap();
    file.set_len(bytes.len() as u64 + at).unwrap();
    fs::write(path.with_file_name("tokenizer.json"), "{}").unwrap();
}

#[test]
fn tower_counts_where_a_worker_loads_it() {
    // Without a description of the tower, or for a family whose images are not read, only the language model is loaded.
    check_tower("gemma3", true, 2064);
    check_tower("gemma3", false, 64);
    check_tower("gemma4", true, 64);
}

fn check_tower(family: &str, described: bool, parameters: u64) {
    let root = tempfile::tempdir().unwrap();
    let mut config = serde_json::json!({
        "model_type": family,
        "text_config": {"num_hidden_layers": 2, "hidden_size": 64},
    });
    if described {
        config["vision_config"] = serde_json::json!({});
    }
    fs::write(root.path().join("config.json"), config.to_string()).unwrap();
    let tensors: [(&str, &str, &[u64], u64); 3] = [
        ("language_model.model.norm.weight", "BF16", &[64], 2),
        ("vision_tower.vision_model.post_layernorm.weight", "BF16", &[1000], 2),
        ("multi_modal_projector.mm_soft_emb_norm.weight", "BF16", &[1000], 2),
    ];
    write_weights(&root.path().join("model.safetensors"), &tensors);
    let details = inspect::inspect(root.path());
    assert_eq!((details.parameters, details.problem), (parameters, None), "{family}");
    assert_eq!(details.capabilities.vision, parameters == 2064, "{family}");
    if family == "gemma3" {
        assert_eq!(details.context, Some(131_072));
        // Two layers of four heads of 256, keys and values.
        assert_eq!(details.kv_bytes_per_token, 2 * 4 * 256 * 2 * KV_ELEMENT);
    }
}

/// LFM2-1.2B: six layers with attention, ten with convolutions.
#[test]
fn layers_with_convolutions_need_their_last_inputs_of_every_block() {
    let attention = [2, 5, 8, 10, 12, 14];
    let kinds: Vec<&str> =
        (0..16).map(|at| if attention.contains(&at) { "full_attention" } else { "conv" }).collect();
    let sizes = serde_json::json!({
        "model_type": "lfm2", "num_hidden_layers": 16, "num_attention_heads": 32, "num_key_value_heads": 8,
        "hidden_size": 2048, "conv_L_cache": 3,
    });
    for (field, value) in [("full_attn_idxs", attention.to_vec().into()), ("layer_types", kinds.into())] {
        let root = tempfile::tempdir().unwrap();
        let mut config = sizes.clone();
        config[field] = value;
        fs::write(root.path().join("config.json"), config.to_string()).unwrap();
        let file = root.path().join("model.safetensors");
        write_weights(&file, &[("model.embedding_norm.weight", "F32", &[64], 4)]);
        let details = inspect::inspect(root.path());
        assert_eq!(details.kv_bytes_per_token, 4 * (6 * 2 * 8 * 64 + 10 * 2048 * 3 / 32), "{field}");
    }
}

/// Qwen3.5-0.8B: six layers with attention, 18 with states. The states get as much memory as the blocks.
#[test]
fn recurrent_states_have_a_share_in_every_block() {
    let root = tempfile::tempdir().unwrap();
    let config = serde_json::json!({"model_type": "qwen3_5", "text_config": {
        "num_hidden_layers": 24, "num_attention_heads": 8, "num_key_value_heads": 2, "head_dim": 256, "hidden_size": 1024,
        "linear_num_key_heads": 16, "linear_num_value_heads": 16, "linear_key_head_dim": 128,
        "linear_value_head_dim": 128, "linear_conv_kernel_dim": 4, "full_attention_interval": 4,
    }});
    fs::write(root.path().join("config.json"), config.to_string()).unwrap();
    write_weights(&root.path().join("model.safetensors"), &[("model.norm.weight", "F32", &[64], 4)]);
    let block: u64 = 6 * 2 * 2 * 256 * 32 + 18 * 6144 * 4;
    let state: u64 = 18 * 16 * 128 * 128;
    let share = state / state.div_ceil(block);
    assert!(share < block && share * 10 > block * 8);
    assert_eq!(inspect::inspect(root.path()).kv_bytes_per_token, (block + share).div_ceil(32) * 4);
}

/// Gemma 4 E2B, and a model with experts: layers without a window have wider heads, and the last ones keep no keys of their own.
#[test]
fn global_layers_have_wider_heads_and_shared_layers_none() {
    let types = |layers: u64, step: u64| -> Vec<&str> {
        (1..=layers).map(|n| if n % step == 0 { "full_attention" } else { "sliding_attention" }).collect()
    };
    let small = serde_json::json!({"model_type": "gemma4", "text_config": {"layer_types": types(35, 5)}});
    let large = serde_json::json!({"model_type": "gemma4_text", "num_hidden_layers": 30, "num_key_value_heads": 8,
        "num_global_key_value_heads": 2, "attention_k_eq_v": true, "num_kv_shared_layers": 0, "layer_types": types(30, 6)});
    let plain = serde_json::json!({"model_type": "gemma4_unified", "text_config": {}});
    for (config, numbers) in
        [(small, 12 * 256 + 3 * 512), (large, 25 * 8 * 256 + 5 * 2 * 512), (plain, 12 * 256 + 3 * 512)]
    {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("config.json"), config.to_string()).unwrap();
        write_weights(&root.path().join("model.safetensors"), &[("model.norm.weight", "F32", &[64], 4)]);
        let details = inspect::inspect(root.path());
        assert_eq!((details.kv_bytes_per_token, details.problem), (2 * 4 * numbers, None), "{config}");
    }
}

/// GLM 4.7 Flash.
#[test]
fn latent_attention_keeps_one_vector_a_layer() {
    let root = tempfile::tempdir().unwrap();
    let config = serde_json::json!({
        "model_type": "glm4_moe_lite", "num_hidden_layers": 47, "num_attention_heads": 20, "num_key_value_heads": 20,
        "hidden_size": 2048, "kv_lora_rank": 512, "qk_rope_head_dim": 64, "v_head_dim": 256,
    });
    fs::write(root.path().join("config.json"), config.to_string()).unwrap();
    write_weights(&root.path().join("model.safetensors"), &[("model.norm.weight", "F32", &[64], 4)]);
    assert_eq!(inspect::inspect(root.path()).kv_bytes_per_token, 47 * 576 * 4);
}

#[test]
fn mxfp4_weights_are_counted_in_both_layouts() {
    for (name, shape, width) in
        [("experts.down_proj.weight", &[4, 64, 4][..], 4), ("experts.down_proj_blocks", &[4, 64, 1, 16], 1)]
    {
        let root = tempfile::tempdir().unwrap();
        let config =
            r#"{"model_type": "gpt_oss", "quantization": {"bits": 4, "group_size": 32, "mode": "mxfp4"}}"#;
        fs::write(root.path().join("config.json"), config).unwrap();
        let kind = if width == 4 { "U32" } else { "U8" };
        let scales = name.replace(".weight", ".scales").replace("_blocks", "_scales");
        let tensors = [(name, kind, shape, width), (scales.as_str(), "U8", &[4, 64, 1], 1)];
        write_weights(&root.path().join("model.safetensors"), &tensors);
        let details = inspect::inspect(root.path());
        assert_eq!((details.parameters, details.quantization.as_str()), (4 * 64 * 32, "4-bit"), "{name}");
        // In memory 32 bits each on a CPU, 6 elsewhere.
        let bits = if cfg!(target_os = "macos") { 6 } else { 32 };
        assert_eq!(details.weight_bytes, 4 * 64 * 32 * bits / 8, "{name}");
    }
}

#[test]
fn headers_give_details_and_are_read_again_only_after_a_change() {
    let root = tempfile::tempdir().unwrap();
    let config = serde_json::json!({
        "model_type": "qwen3", "architectures": ["Qwen3ForCausalLM"], "max_position_embeddings": 4096,
        "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "hidden_size": 64,
        "quantization": {"bits": 4, "group_size": 32, "model.other": {"bits": 8, "group_size": 32}},
    });
    fs::write(root.path().join("config.json"), config.to_string()).unwrap();
    let template = serde_json::json!({"chat_template": "{% if tools %}{{ tools }}{% endif %}<think>"});
    fs::write(root.path().join("tokenizer_config.json"), template.to_string()).unwrap();
    write_weights(
        &root.path().join("model.safetensors"),
        &[
            ("model.layer.weight", "U32", &[64, 8], 4),
            ("model.layer.scales", "BF16", &[64, 2], 2),
            ("model.layer.biases", "BF16", &[64, 2], 2),
            ("model.other.weight", "U32", &[4, 8], 4),
            ("model.other.scales", "BF16", &[4, 1], 2),
            ("model.norm.weight", "BF16", &[64], 2),
        ],
    );
    let mut scanner = scanner(Store::Folder(root.path().to_owned()));
    let first = only_model(&mut scanner);
    let details = &first.details;
    assert_eq!(details.problem, None);
    assert_eq!((details.architecture.as_str(), details.quantization.as_str()), ("qwen3", "4-bit"));
    assert_eq!(details.parameters, 64 * 64 + 4 * 32 + 64);
    if cfg!(target_os = "linux") {
        assert_eq!(details.weight_bytes, details.parameters * 4);
    }
    assert_eq!((details.context, details.kv_bytes_per_token), (Some(4096), 2 * 2 * 2 * 16 * KV_ELEMENT));
    let Capabilities { chat, tools, reasoning, vision, embeddings } = details.capabilities;
    assert!(chat && tools && reasoning && !vision && !embeddings);
    assert!(Arc::ptr_eq(&only_model(&mut scanner), &first), "unchanged files are not read again");
    fs::write(root.path().join("config.json"), "[").unwrap();
    assert!(only_model(&mut scanner).details.problem.as_ref().unwrap().contains("config.json"));
}

#[test]
fn invalid_chat_template_is_reported_until_it_changes() {
    let root = tempfile::tempdir().unwrap();
    fs::write(root.path().join("config.json"), r#"{"model_type": "qwen3"}"#).unwrap();
    fs::write(root.path().join("chat_template.jinja"), "{% if %}").unwrap();
    write_weights(&root.path().join("model.safetensors"), &[("model.norm.weight", "BF16", &[64], 2)]);
    let mut scanner = scanner(Store::Folder(root.path().to_owned()));
    let mut details = || only_model(&mut scanner).details.clone();
    assert!(details().chat_problem.unwrap().contains("chat_template.jinja"));
    assert!(!details().capabilities.chat && details().problem.is_none());
    // Templates are read again after a change.
    fs::write(root.path().join("chat_template.jinja"), "x").unwrap();
    assert!(details().capabilities.chat && !details().capabilities.tools && details().chat_problem.is_none());
    fs::create_dir(root.path().join("additional_chat_templates")).unwrap();
    fs::write(root.path().join("additional_chat_templates/tool_use.jinja"), "{{ tools }}").unwrap();
    assert!(details().capabilities.tools);
    // Without a default template, chats with tools still work.
    fs::remove_file(root.path().join("chat_template.jinja")).unwrap();
    assert!(details().capabilities.chat && details().capabilities.tools);
    assert!(details().chat_problem.unwrap().contains("only tool_use"));
}

#[test]
fn missing_or_invalid_files_are_named_as_the_problem() {
    let root = tempfile::tempdir().unwrap();
    let problem = || inspect::inspect(root.path()).problem.unwrap();
    assert!(problem().contains("config.json"));
    fs::write(root.path().join("config.json"), r#"{"model_type": "qwen3"}"#).unwrap();
    assert!(problem().contains("safetensors"));
    fs::write(root.path().join("model.safetensors"), u64::MAX.to_le_bytes()).unwrap();
    assert!(problem().contains("model.safetensors"));
}

/// The details of a folder with this config.json, with or without modules.json.
fn inspect_config(config: &str, has_modules: bool) -> Details {
    let root = tempfile::tempdir().unwrap();
    fs::write(root.path().join("config.json"), config).unwrap();
    fs::write(root.path().join("chat_template.jinja"), "{{ tools }}").unwrap();
    if has_modules {
        fs::write(root.path().join("modules.json"), "[]").unwrap();
    }
    inspect::inspect(root.path())
}

#[test]
fn model_kind_follows_the_workers_rules() {
    let kind = |config: &str, has_modules| {
        let details = inspect_config(config, has_modules);
        assert_eq!(details.capabilities.embeddings, details.kind == ModelKind::Embed, "{config}");
        assert_eq!(details.capabilities.chat, details.kind == ModelKind::Generate, "{config}");
        assert!(!details.unserved, "{config}");
        details.kind
    };
    let qwen = r#"{"model_type": "qwen3", "architectures": ["Qwen3ForCausalLM"]}"#;
    assert_eq!(kind(qwen, false), ModelKind::Generate);
    assert_eq!(kind(qwen, true), ModelKind::Embed, "Qwen3-Embedding");
    // Some are saved without a head.
    assert_eq!(
        kind(r#"{"model_type": "qwen3", "architectures": ["Qwen3Model"]}"#, false),
        ModelKind::Generate
    );
    assert_eq!(
        kind(r#"{"model_type": "bert", "architectures": ["BertForMaskedLM"]}"#, false),
        ModelKind::Embed
    );
    let reranker = r#"{"model_type": "bert", "architectures": ["BertForSequenceClassification"]}"#;
    assert_eq!(kind(reranker, false), ModelKind::Rerank);
    assert_eq!(kind(reranker, true), ModelKind::Rerank);
}

#[test]
fn unsupported_family_is_marked_unserved() {
    let details = inspect_config(r#"{"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"]}"#, false);
    let problem = details.problem.unwrap();
    assert!(details.unserved && problem.contains("\"gpt2\"") && problem.contains("qwen3_moe"), "{problem}");
    assert!(!inspect_config("{}", false).unserved, "the file is wrong, not the family");
}

fn make_fifo(path: &Path) {
    nix::unistd::mkfifo(path, nix::sys::stat::Mode::S_IRWXU).unwrap();
}

#[test]
fn fifos_in_place_of_files_do_not_block_a_scan() {
    let root = tempfile::tempdir().unwrap();
    for name in ["config", "weights", "template"] {
        write_model(root.path(), name);
        fs::write(root.path().join(name).join("config.json"), r#"{"model_type": "qwen3"}"#).unwrap();
    }
    for (name, file) in
        [("config", "config.json"), ("weights", "model.safetensors"), ("template", "tokenizer_config.json")]
    {
        let path = root.path().join(name).join(file);
        let _ = fs::remove_file(&path);
        make_fifo(&path);
    }
    let found = scanner(Store::Folder(root.path().to_owned())).scan();
    assert_eq!(found.keys().collect::<Vec<_>>(), ["template", "weights"]);
    let problem = found["weights"].details.problem.as_ref().unwrap();
    assert!(problem.contains("model.safetensors") && problem.contains("not a regular file"), "{problem}");
    let problem = found["template"].details.chat_problem.as_ref().unwrap();
    assert!(problem.contains("tokenizer_config.json"), "{problem}");
}

#[test]
fn fifo_in_place_of_a_hub_reference_does_not_block_a_scan() {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir_all(root.path().join("models--org--name/refs")).unwrap();
    make_fifo(&root.path().join("models--org--name/refs/main"));
    assert!(scanner(Store::Hub(root.path().to_owned())).scan().is_empty());
}

/// The problem of a supported model with these files, all of which hold "x".
fn problem_with(config: &str, files: &[&str]) -> Option<String> {
    let root = tempfile::tempdir().unwrap();
    fs::write(root.path().join("config.json"), config).unwrap();
    for name in files {
        if name.ends_with(".safetensors") {
            write_weights(&root.path().join(name), &[("model.norm.weight", "BF16", &[64], 2)]);
        } else {
            fs::write(root.path().join(name), "{}").unwrap();
        }
    }
    inspect::inspect(root.path()).problem
}

#[test]
fn problem_of_incomplete_folder_names_the_missing_file() {
    let config = r#"{"model_type": "qwen3"}"#;
    let first = "model-00001-of-00002.safetensors";
    assert_eq!(
        problem_with(config, &[first]).unwrap(),
        "model-00002-of-00002.safetensors: is missing: the download is incomplete"
    );
    assert_eq!(problem_with(config, &[first, "model-00002-of-00002.safetensors"]), None);
    assert_eq!(
        problem_with(config, &["model.safetensors", "._model.safetensors", "model-old.safetensors"]),
        None
    );
    let root = tempfile::tempdir().unwrap();
    fs::write(root.path().join("config.json"), config).unwrap();
    write_weights(&root.path().join("model.safetensors"), &[("model.norm.weight", "BF16", &[64], 2)]);
    fs::remove_file(root.path().join("tokenizer.json")).unwrap();
    assert_eq!(inspect::inspect(root.path()).problem.unwrap(), "tokenizer.json: is missing");
}

#[test]
fn problem_of_damaged_weights_names_the_file() {
    let root = tempfile::tempdir().unwrap();
    fs::write(root.path().join("config.json"), r#"{"model_type": "qwen3"}"#).unwrap();
    let weights = root.path().join("model.safetensors");
    write_weights(&weights, &[("model.norm.weight", "BF16", &[64], 2)]);
    let problem = || inspect::inspect(root.path()).problem;
    assert_eq!(problem(), None);
    let size = fs::metadata(&weights).unwrap().len();
    fs::OpenOptions::new().write(true).open(&weights).unwrap().set_len(size - 1).unwrap();
    assert!(problem().unwrap().starts_with("model.safetensors: the file is cut off"), "{:?}", problem());
    fs::write(&weights, "version https://git-lfs.github.com/spec/v1\n").unwrap();
    assert!(problem().unwrap().contains("git lfs pull"));
}

/// Python's json module writes `Infinity` and `NaN`; some editors write a byte order mark.
#[test]
fn config_of_python_or_of_an_editor_is_read() {
    let config = "\u{feff}{\"model_type\": \"qwen3\", \"time_step_limit\": [0.0, Infinity], \"x\": NaN}";
    assert_eq!(problem_with(config, &["model.safetensors"]), None);
}

#[test]
fn quantisation_that_the_worker_refuses_is_the_problem() {
    for (quantization, expected) in
        [(r#"{"quant_method": "awq"}"#, "converted for MLX"), (r#"{"mode": "nvfp4", "bits": 4}"#, "nvfp4")]
    {
        let config = format!(r#"{{"model_type": "qwen3", "quantization_config": {quantization}}}"#);
        let problem = problem_with(&config, &["model.safetensors"]).unwrap();
        assert!(problem.contains(expected), "{problem}");
    }
}

/// Other tools omit layers from config.json that they packed with more bits.
#[test]
fn parameters_are_counted_by_shapes() {
    let root = tempfile::tempdir().unwrap();
    let config =
        r#"{"model_type": "llama", "hidden_size": 64, "quantization": {"bits": 4, "group_size": 64}}"#;
    fs::write(root.path().join("config.json"), config).unwrap();
    let tensors: [(&str, &str, &[u64], u64); 2] =
        [("lm_head.weight", "U32", &[100, 16], 4), ("lm_head.scales", "BF16", &[100, 2], 2)];
    write_weights(&root.path().join("model.safetensors"), &tensors);
    let details = inspect::inspect(root.path());
    assert_eq!((details.parameters, details.quantization.as_str()), (6400, "8-bit"));
}

/// Writes a snapshot of `org/{name}`, whose reference says `revision`.
fn write_snapshot(hub: &Path, name: &str, revision: &str, reference: Option<(&str, &str)>) {
    let repository = hub.join(format!("models--org--{name}"));
    write_model(&repository.join("snapshots"), revision);
    if let Some((path, revision)) = reference {
        let path = repository.join("refs").join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, revision).unwrap();
    }
}

/// `snapshot_download(revision="<commit>")` writes no reference.
#[test]
fn snapshots_without_main_reference_are_found() {
    let hub = tempfile::tempdir().unwrap();
    write_snapshot(hub.path(), "none", "0123abcd", None);
    write_snapshot(hub.path(), "pull", "0123abcd", Some(("pr/1", "0123abcd")));
    write_snapshot(hub.path(), "stale", "0123abcd", Some(("main", "89abcdef")));
    write_snapshot(hub.path(), "two", "89abcdef", None);
    write_snapshot(hub.path(), "two", "0123abcd", None);
    let old = hub.path().join("models--org--two/snapshots/89abcdef");
    fs::File::open(old).unwrap().set_modified(SystemTime::UNIX_EPOCH).unwrap();
    // Programs that only read config.json fetch a newer revision of it.
    write_snapshot(hub.path(), "probed", "0123abcd", Some(("main", "89abcdef")));
    write_snapshot(hub.path(), "probed", "89abcdef", None);
    fs::remove_file(hub.path().join("models--org--probed/snapshots/89abcdef/model.safetensors")).unwrap();
    let found = scanner(Store::Hub(hub.path().to_owned())).scan();
    assert_eq!(
        found.keys().collect::<Vec<_>>(),
        ["org/none", "org/probed", "org/pull", "org/stale", "org/two"]
    );
    for (id, model) in &found {
        assert!(model.folder.path.ends_with("0123abcd"), "{id}");
    }
}

#[test]
fn snapshot_with_a_link_to_nowhere_is_listed_with_the_file() {
    let hub = tempfile::tempdir().unwrap();
    write_snapshot(hub.path(), "cut", "0123abcd", Some(("main", "0123abcd")));
    let snapshot = hub.path().join("models--org--cut/snapshots/0123abcd");
    fs::write(snapshot.join("config.json"), r#"{"model_type": "llama"}"#).unwrap();
    fs::write(snapshot.join("tokenizer.json"), "{}").unwrap();
    fs::remove_file(snapshot.join("model.safetensors")).unwrap();
    std::os::unix::fs::symlink("../../blobs/feed", snapshot.join("model.safetensors")).unwrap();
    let found = scanner(Store::Hub(hub.path().to_owned())).scan();
    let problem = found["org/cut"].details.problem.as_ref().unwrap();
    assert!(problem.starts_with("model.safetensors: is missing, its link leads nowhere"), "{problem}");
}

proptest! {
    #[test]
    fn arbitrary_headers_do_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..80), text in "[\\[{\"a-z:0-9,}\\]]{0,60}") {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("config.json"), &text).unwrap();
        let mut file = (text.len() as u64).to_le_bytes().to_vec();
        file.extend_from_slice(text.as_bytes());
        fs::write(root.path().join("model.safetensors"), &file).unwrap();
        inspect::inspect(root.path());
        fs::write(root.path().join("model.safetensors"), &bytes).unwrap();
        inspect::inspect(root.path());
    }
}
