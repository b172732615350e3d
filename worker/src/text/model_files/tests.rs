use std::fs;

use serde_json::json;

use super::*;
use crate::text::tokenizer::tests::model;

#[test]
fn sampling_defaults_come_from_the_file() {
    let file =
        json!({"temperature": 0.7, "top_p": 0.8, "top_k": 20, "min_p": 0.05, "repetition_penalty": 1.1});
    let expected = SamplingDefaults {
        temperature: Some(0.7),
        top_p: Some(0.8),
        top_k: Some(20),
        min_p: Some(0.05),
        repetition_penalty: Some(1.1),
    };
    assert_eq!(SamplingDefaults::from_file(&file), expected);
    assert_eq!(SamplingDefaults::from_file(&Value::Null), SamplingDefaults::default());
}

#[test]
fn sampling_defaults_out_of_range_are_ignored() {
    let file = json!({"temperature": -1, "top_p": 0, "top_k": "x", "min_p": 2, "repetition_penalty": 0});
    assert_eq!(SamplingDefaults::from_file(&file), SamplingDefaults::default());
}

#[test]
fn do_sample_false_means_temperature_zero() {
    let file = json!({"do_sample": false, "temperature": 0.7, "repetition_penalty": 1.2});
    let greedy = SamplingDefaults::from_file(&file);
    assert_eq!((greedy.temperature, greedy.repetition_penalty), (Some(0.0), Some(1.2)));
}

/// A folder with the tokenizer of SmolLM2 and these files.
fn files_with(files: &[(&str, String)]) -> ModelFiles {
    let folder = tempfile::tempdir().unwrap();
    let source = model("SmolLM2-135M-Instruct").join("tokenizer.json");
    fs::copy(source, folder.path().join("tokenizer.json")).unwrap();
    for (name, text) in files {
        fs::write(folder.path().join(name), text).unwrap();
    }
    ModelFiles::read(folder.path()).unwrap()
}

fn sorted(tokens: &HashSet<u32>) -> Vec<u32> {
    let mut sorted: Vec<u32> = tokens.iter().copied().collect();
    sorted.sort_unstable();
    sorted
}

/// mlx-vlm's report 1490 for Phi-3.5: config.json alone listed the end of a turn.
#[test]
fn end_tokens_are_those_of_all_files() {
    let files = files_with(&[
        ("config.json", json!({"model_type": "llama", "eos_token_id": [2, 9]}).to_string()),
        ("generation_config.json", json!({"eos_token_id": 5}).to_string()),
        ("tokenizer_config.json", json!({"eos_token": "<|endoftext|>"}).to_string()),
    ]);
    assert_eq!(sorted(&files.eos), [0, 2, 5, 9]);
    let files =
        files_with(&[("config.json", json!({"model_type": "llama", "eos_token_id": null}).to_string())]);
    assert!(files.eos.is_empty());
}

/// Python's json module writes `Infinity` and `NaN`; some editors write a byte order mark.
#[test]
fn files_of_python_and_of_editors_are_read() {
    let files = files_with(&[
        ("config.json", r#"{"model_type": "llama", "time_step_limit": [0.0, Infinity], "x": NaN, "eos_token_id": 2}"#.into()),
        ("generation_config.json", r#"{"max_time": Infinity, "top_p": NaN, "temperature": 0.5}"#.into()),
        ("tokenizer_config.json", "\u{feff}{\"eos_token\": \"<|im_end|>\", \"model_max_length\": Infinity, \"chat_template\": \"x\"}".into()),
    ]);
    assert_eq!(sorted(&files.eos), [2]);
    assert_eq!((files.defaults.temperature, files.defaults.top_p, files.max_length), (Some(0.5), None, None));
    assert!(files.templates.can_chat());
}

#[test]
fn invalid_file_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let source = model("SmolLM2-135M-Instruct").join("tokenizer.json");
    fs::copy(source, folder.path().join("tokenizer.json")).unwrap();
    fs::write(folder.path().join("generation_config.json"), "{\"top_p\": NaN").unwrap();
    let problem = ModelFiles::read(folder.path()).unwrap_err();
    assert!(problem.contains("generation_config.json") && problem.contains("line 1"), "{problem}");
}
