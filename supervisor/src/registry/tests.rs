use ipc_proto::supervisor::Capabilities;
use ipc_proto::worker::ModelKind;
use proptest::prelude::*;

use super::*;

fn model(folder: &Path, name: &str) {
    fs::create_dir_all(folder.join(name)).unwrap();
    fs::write(folder.join(name).join("config.json"), "{}").unwrap();
    fs::write(folder.join(name).join("model.safetensors"), "12345").unwrap();
}

fn scan(folders: &[PathBuf]) -> BTreeMap<String, Folder> {
    stores::scan(&folders.iter().cloned().map(Store::Folder).collect::<Vec<_>>())
}

#[test]
fn ids_are_paths_below_the_directory() {
    let root = tempfile::tempdir().unwrap();
    for name in ["one", "org/two", "a/b/c/deep", "a/b/c/d/too-deep", ".hidden/three", "one/inside"] {
        model(root.path(), name);
    }
    fs::create_dir(root.path().join("empty")).unwrap();
    let found = scan(&[root.path().to_owned()]);
    assert_eq!(found.keys().collect::<Vec<_>>(), ["a/b/c/deep", "one", "org/two"]);
    assert_eq!(found["one"].bytes, 5);
    assert!(found["one"].created > 1_600_000_000);
}

#[test]
fn the_first_directory_wins_and_links_and_circles_are_harmless() {
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    model(first.path(), "same");
    model(second.path(), "same");
    model(second.path(), "real");
    std::os::unix::fs::symlink(second.path().join("real"), first.path().join("linked")).unwrap();
    std::os::unix::fs::symlink(first.path(), first.path().join("circle")).unwrap();
    let found = scan(&[first.path().to_owned(), second.path().to_owned()]);
    assert!(found["same"].path.starts_with(first.path()));
    assert!(found.contains_key("linked") && found.contains_key("real"));
}

#[test]
fn a_directory_that_is_a_model_is_named_by_itself() {
    let root = tempfile::tempdir().unwrap();
    model(root.path(), "mine");
    assert_eq!(scan(&[root.path().join("mine")]).keys().collect::<Vec<_>>(), ["mine"]);
    assert!(scan(&[root.path().join("nowhere")]).is_empty());
}

#[test]
fn other_programs_models_are_found_where_they_keep_them() {
    let home = tempfile::tempdir().unwrap();
    let cache = home.path().join("hub/models--org--name");
    model(&cache.join("snapshots"), "abc123");
    model(&cache.join("snapshots"), "older");
    fs::create_dir(cache.join("refs")).unwrap();
    fs::write(cache.join("refs/main"), "abc123\n").unwrap();
    let half = home.path().join("hub/models--half--fetched");
    fs::create_dir_all(half.join("refs")).unwrap();
    fs::write(half.join("refs/main"), "../../../evil").unwrap();
    model(&home.path().join(".lmstudio/models"), "maker/other");
    let gguf = home.path().join(".lmstudio/models/maker/gguf");
    fs::create_dir_all(&gguf).unwrap();
    fs::write(gguf.join("config.json"), "{}").unwrap();
    let stores = of_others(|name| match name {
        "HOME" => Some(home.path().to_owned()),
        "HF_HUB_CACHE" => Some(home.path().join("hub")),
        _ => None,
    });
    let found = stores::scan(&stores);
    assert_eq!(found.keys().collect::<Vec<_>>(), ["maker/other", "org/name"]);
    assert!(found["org/name"].path.ends_with("abc123"));
    let places = |variables: &'static [(&str, &str)]| {
        let stores = of_others(|name| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| PathBuf::from(value))
        });
        stores.first().map(|store| store.path().to_owned())
    };
    assert_eq!(places(&[("HF_HOME", "/a"), ("HOME", "/h")]), Some("/a/hub".into()));
    assert_eq!(places(&[("XDG_CACHE_HOME", "/c"), ("HOME", "/h")]), Some("/c/huggingface/hub".into()));
    assert_eq!(places(&[("HOME", "/h")]), Some("/h/.cache/huggingface/hub".into()));
    assert_eq!(places(&[]), None);
}

/// A safetensors file of tensors that are all holes.
fn weights(path: &Path, tensors: &[(&str, &str, &[u64], u64)]) {
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
    fs::write(path, bytes).unwrap();
}

#[test]
fn of_a_model_that_sees_the_language_model_counts() {
    let root = tempfile::tempdir().unwrap();
    let config = serde_json::json!({
        "model_type": "gemma3", "vision_config": {},
        "text_config": {"num_hidden_layers": 2, "hidden_size": 64},
    });
    fs::write(root.path().join("config.json"), config.to_string()).unwrap();
    let tensors: [(&str, &str, &[u64], u64); 3] = [
        ("language_model.model.norm.weight", "BF16", &[64], 2),
        ("vision_tower.vision_model.post_layernorm.weight", "BF16", &[1000], 2),
        ("multi_modal_projector.mm_soft_emb_norm.weight", "BF16", &[1000], 2),
    ];
    weights(&root.path().join("model.safetensors"), &tensors);
    let details = inspect::inspect(root.path());
    assert_eq!((details.context, details.parameters, details.problem), (Some(131_072), 64, None));
    // Two layers of four heads of 256, keys and values of four bytes.
    let element = if cfg!(target_os = "macos") { 2 } else { 4 };
    assert_eq!(details.kv_bytes_per_token, 2 * 4 * 256 * 2 * element);
}

#[test]
fn weights_in_mxfp4_are_counted_in_both_forms() {
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
        weights(&root.path().join("model.safetensors"), &tensors);
        let details = inspect::inspect(root.path());
        assert_eq!((details.parameters, details.quantization.as_str()), (4 * 64 * 32, "4-bit"), "{name}");
        // In memory 32 bits each on a CPU, 6 elsewhere.
        let bits = if cfg!(target_os = "macos") { 6 } else { 32 };
        assert_eq!(details.weight_bytes, 4 * 64 * 32 * bits / 8, "{name}");
    }
}

#[test]
fn headers_tell_what_a_model_is() {
    let root = tempfile::tempdir().unwrap();
    let config = serde_json::json!({
        "model_type": "qwen3", "architectures": ["Qwen3ForCausalLM"], "max_position_embeddings": 4096,
        "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "hidden_size": 64,
        "quantization": {"bits": 4, "group_size": 32, "model.other": {"bits": 8, "group_size": 32}},
    });
    fs::write(root.path().join("config.json"), config.to_string()).unwrap();
    let template = serde_json::json!({"chat_template": "{% if tools %}{{ tools }}{% endif %}<think>"});
    fs::write(root.path().join("tokenizer_config.json"), template.to_string()).unwrap();
    weights(
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
    let mut registry = Registry::new(vec![Store::Folder(root.path().to_owned())]);
    let folder = registry.folders().values().next().unwrap().clone();
    let details = registry.details(&folder);
    assert_eq!(details.problem, None);
    assert_eq!((details.architecture.as_str(), details.quantization.as_str()), ("qwen3", "4-bit"));
    assert_eq!(details.parameters, 64 * 64 + 4 * 32 + 64);
    if cfg!(target_os = "linux") {
        assert_eq!(details.weight_bytes, details.parameters * 4);
    }
    assert_eq!((details.context, details.kv_bytes_per_token), (Some(4096), 2 * 2 * 2 * 16 * 4));
    let Capabilities { chat, tools, reasoning, vision, embeddings } = details.capabilities;
    assert!(chat && tools && reasoning && !vision && !embeddings);
    // It is read again when a file has changed, and only then.
    fs::write(root.path().join("config.json"), "[").unwrap();
    assert_eq!(registry.details(&folder), details);
    let id = registry.folders().keys().next().unwrap().clone();
    let folder = registry.folder(&id).unwrap();
    assert!(registry.details(&folder).problem.unwrap().contains("config.json"));
}

#[test]
fn a_chat_template_that_is_not_valid_is_said() {
    let root = tempfile::tempdir().unwrap();
    fs::write(root.path().join("config.json"), r#"{"model_type": "qwen3"}"#).unwrap();
    fs::write(root.path().join("chat_template.jinja"), "{% if %}").unwrap();
    weights(&root.path().join("model.safetensors"), &[("model.norm.weight", "BF16", &[64], 2)]);
    let mut registry = Registry::new(vec![Store::Folder(root.path().to_owned())]);
    let mut details = || {
        let id = registry.folders().keys().next().unwrap().clone();
        let folder = registry.folder(&id).unwrap();
        registry.details(&folder)
    };
    assert!(details().chat_problem.unwrap().contains("chat_template.jinja"));
    assert!(!details().capabilities.chat && details().problem.is_none());
    // A template for tools is read, and read again when it changes.
    fs::write(root.path().join("chat_template.jinja"), "x").unwrap();
    assert!(details().capabilities.chat && !details().capabilities.tools && details().chat_problem.is_none());
    fs::create_dir(root.path().join("additional_chat_templates")).unwrap();
    fs::write(root.path().join("additional_chat_templates/tool_use.jinja"), "{{ tools }}").unwrap();
    assert!(details().capabilities.tools);
}

#[test]
fn what_is_missing_or_nonsense_is_said() {
    let root = tempfile::tempdir().unwrap();
    let problem = || inspect::inspect(root.path()).problem.unwrap();
    assert!(problem().contains("config.json"));
    fs::write(root.path().join("config.json"), r#"{"model_type": "qwen3"}"#).unwrap();
    assert!(problem().contains("safetensors"));
    fs::write(root.path().join("model.safetensors"), u64::MAX.to_le_bytes()).unwrap();
    assert!(problem().contains("model.safetensors"));
}

/// What config.json and the presence of modules.json make of a folder.
fn judged(config: &str, has_modules: bool) -> Details {
    let root = tempfile::tempdir().unwrap();
    fs::write(root.path().join("config.json"), config).unwrap();
    fs::write(root.path().join("chat_template.jinja"), "{{ tools }}").unwrap();
    if has_modules {
        fs::write(root.path().join("modules.json"), "[]").unwrap();
    }
    inspect::inspect(root.path())
}

#[test]
fn what_a_model_does_is_what_its_worker_will_do() {
    let kind = |config: &str, has_modules| {
        let details = judged(config, has_modules);
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
    let judge = r#"{"model_type": "bert", "architectures": ["BertForSequenceClassification"]}"#;
    assert_eq!(kind(judge, false), ModelKind::Rerank);
    assert_eq!(kind(judge, true), ModelKind::Rerank);
}

#[test]
fn a_family_without_code_is_said_to_be_unserved() {
    let details = judged(r#"{"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"]}"#, false);
    let problem = details.problem.unwrap();
    assert!(details.unserved && problem.contains("\"gpt2\"") && problem.contains("qwen3_moe"), "{problem}");
    assert!(!judged("{}", false).unserved, "the file is wrong, not the family");
}

proptest! {
    #[test]
    fn no_header_makes_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..80), text in "[\\[{\"a-z:0-9,}\\]]{0,60}") {
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
