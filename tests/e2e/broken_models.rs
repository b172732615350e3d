//! Models that are broken: files that are no weights, models without numbers, impossible values.

use std::fs;

use e2e::places::{self, SHALLOW};
use e2e::{Server, broken, derived};
use serde_json::{Value, json};

fn chat(content: &str) -> Value {
    json!({"model": SHALLOW, "messages": [{"role": "user", "content": content}], "max_tokens": 1})
}

/// The list and a request say the same of each model. Returns what the requests say.
fn refusals<'a>(server: &Server, cases: impl IntoIterator<Item = (&'a str, &'a str)>) -> Vec<String> {
    let refusal = |(name, expected): (&str, &str)| {
        let entry = server.get(&format!("/v1/models/{name}")).body;
        assert_eq!(entry["details"]["supported"], false, "{entry}");
        assert!(entry.to_string().contains(expected), "{entry}");
        let mut request = chat("Hi");
        request["model"] = name.into();
        let answer = server.post("/v1/chat/completions", &request);
        let message = answer.expect_error(500);
        assert!(message.contains(expected), "{message}");
        message.to_owned()
    };
    cases.into_iter().map(refusal).collect()
}

/// Git leaves the first where its large files were not fetched, a browser the second where a login was needed.
#[test]
fn files_that_are_no_weights_are_named_in_the_list_and_at_the_request() {
    let folder = tempfile::tempdir().unwrap();
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 269060552\n";
    let cases = [("pointer", pointer, "git lfs pull"), ("page", "<!DOCTYPE html><html></html>", "HTML")];
    for (name, content, _) in cases {
        let path = derived::link(folder.path(), name).join("model.safetensors");
        fs::remove_file(&path).unwrap();
        fs::write(&path, content).unwrap();
    }
    let server = Server::builder().models(folder.path()).start();
    for message in refusals(&server, cases.map(|(name, _, expected)| (name, expected))) {
        assert!(message.contains("model.safetensors"), "{message}");
    }
}

/// A grammar refuses tokens that no numbers chose, so it must not see them.
#[test]
fn model_without_numbers_is_a_500_that_says_so() {
    let folder = tempfile::tempdir().unwrap();
    broken::without_numbers(folder.path(), "no-numbers");
    broken::with_infinite_logits(folder.path(), "infinite");
    let server = Server::builder().models(folder.path()).start();
    let mut body = chat("Hi");
    for model in ["no-numbers", "infinite"] {
        body["model"] = model.into();
        for format in ["text", "json_object"] {
            body["response_format"] = json!({ "type": format });
            let answer = server.post("/v1/chat/completions", &body);
            assert!(
                answer.expect_error(500).contains("computes no numbers"),
                "{model} {format}: {}",
                answer.body
            );
        }
    }
}

#[test]
fn encoder_without_numbers_is_a_500_that_says_so() {
    let folder = tempfile::tempdir().unwrap();
    broken::encoder_without_numbers(folder.path(), "no-numbers");
    let server = Server::builder().models(folder.path()).models(&places::models()).start();
    let embed =
        |model: &str| server.post("/v1/embeddings", &json!({"model": model, "input": ["one", "two"]}));
    assert!(embed("no-numbers").expect_error(500).contains("computes no numbers (NaN)"));
    let answer = embed(places::MINILM);
    assert_eq!(answer.status, 200, "{}", answer.body);
}

/// Python's json module writes `NaN` and `Infinity`; some editors write a byte order mark.
#[test]
fn config_of_python_or_of_an_editor_is_served() {
    let folder = tempfile::tempdir().unwrap();
    let path = derived::link(folder.path(), "edited").join("config.json");
    let config = fs::read_to_string(&path).unwrap();
    fs::remove_file(&path).unwrap();
    let edited = config.replacen('{', "\u{feff}{\"time_step_limit\": [NaN, -Infinity],", 1);
    fs::write(&path, edited).unwrap();
    let server = Server::builder().models(folder.path()).start();
    let mut body = chat("Hi");
    body["model"] = "edited".into();
    let answer = server.post("/v1/chat/completions", &body);
    assert_eq!(answer.status, 200, "{}", answer.body);
}

#[test]
fn models_with_impossible_values_are_named_before_and_at_the_request() {
    let folder = tempfile::tempdir().unwrap();
    let cases = [
        ("theta", json!({"rope_theta": 0}), "rope_theta is 0: it must be above 0"),
        ("layers", json!({"num_hidden_layers": 1_000_000}), "num_hidden_layers is 1000000"),
        ("width", json!({"hidden_size": 1u64 << 40}), "hidden_size is 1099511627776"),
    ];
    for (name, changes, _) in &cases {
        derived::with_config(folder.path(), name, changes);
    }
    let server = Server::builder().models(folder.path()).start();
    refusals(&server, cases.iter().map(|(name, _, expected)| (*name, *expected)));
}
