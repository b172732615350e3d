use std::fs;

use serde_json::{Value, json};

use super::*;

fn folder(files: &[(&str, Value)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, value) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, value.to_string()).unwrap();
    }
    folder
}

fn modules(list: &[(&str, &str)]) -> (&'static str, Value) {
    let module = |(path, kind): &(&str, &str)| json!({"idx": 0, "name": "0", "path": path, "type": kind});
    (MODULES, list.iter().map(module).collect())
}

#[test]
fn folder_without_files_uses_mean_pooling() {
    let folder = folder(&[]);
    assert_eq!(SentenceConfig::read(folder.path()).unwrap(), SentenceConfig::default());
    assert!(!has_modules(folder.path()));
}

#[test]
fn modules_are_read_in_old_and_new_formats() {
    let folder = folder(&[
        modules(&[
            ("", "sentence_transformers.base.modules.transformer.Transformer"),
            ("1_Pooling", "sentence_transformers.models.Pooling"),
            ("2_Dense", "sentence_transformers.models.Dense"),
            ("3_Normalize", "sentence_transformers.models.Normalize"),
        ]),
        ("1_Pooling/config.json", json!({"pooling_mode_cls_token": false, "pooling_mode_lasttoken": true})),
        (
            "2_Dense/config.json",
            json!({"in_features": 8, "out_features": 4, "bias": false,
                                       "activation_function": "torch.nn.modules.linear.Identity"}),
        ),
        ("sentence_bert_config.json", json!({"max_seq_length": 77, "do_lower_case": true})),
        (
            "config_sentence_transformers.json",
            json!({"prompts": {"query": "q: ", "none": null}, "default_prompt_name": "query"}),
        ),
    ]);
    let read = SentenceConfig::read(folder.path()).unwrap();
    assert_eq!((read.pooling, read.normalize, read.max_tokens), (Pooling::Last, true, Some(77)));
    assert!(has_modules(folder.path()) && read.lower_case);
    let dense = Dense { folder: "2_Dense".into(), inputs: 8, outputs: 4, bias: false, tanh: false };
    assert_eq!(read.dense, [dense]);
    assert_eq!((read.default_prompt.as_deref(), &read.prompts["query"][..]), (Some("query"), "q: "));
    assert_eq!([&read.prompts["none"], &read.prompts["document"]], ["", ""]);
    fs::write(folder.path().join("1_Pooling/config.json"), r#"{"pooling_mode": ["weightedmean"]}"#).unwrap();
    assert_eq!(SentenceConfig::read(folder.path()).unwrap().pooling, Pooling::Weighted);
}

#[test]
fn unsupported_modules_are_refused_by_name() {
    let pooling = ("1", "sentence_transformers.models.Pooling");
    for (files, named) in [
        (vec![modules(&[("", "x.WordEmbeddings")])], "WordEmbeddings"),
        (vec![modules(&[("0_Transformer", "x.Transformer")])], "0_Transformer"),
        (vec![modules(&[("../up", "x.Normalize")])], "../up"),
        (vec![modules(&[pooling])], "1/config.json is missing"),
        (vec![modules(&[pooling]), ("1/config.json", json!({"pooling_mode": ["cls", "mean"]}))], "several"),
        (vec![modules(&[pooling]), ("1/config.json", json!({"include_prompt": false}))], "include_prompt"),
        (
            vec![
                modules(&[("2", "x.Dense")]),
                (
                    "2/config.json",
                    json!({"in_features": 1, "out_features": 1, "activation_function": "x.GELU"}),
                ),
            ],
            "x.GELU",
        ),
        (vec![("config_sentence_transformers.json", json!({"default_prompt_name": "no"}))], "\"no\""),
        (vec![("sentence_bert_config.json", json!([]))], "sentence_bert_config.json"),
    ] {
        let text = SentenceConfig::read(folder(&files).path()).unwrap_err();
        assert!(text.contains(named), "{text}");
    }
}
