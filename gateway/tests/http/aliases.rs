//! Paths without `/v1`.

use serde_json::{Value, json};

use super::fakes::Gateway;
use super::json;

#[test]
fn path_without_version_answers_as_with_it() {
    let gateway = Gateway::start("");
    let turns = json!([{"role": "user", "content": "count 1"}]);
    for (method, path, body) in [
        ("POST", "/chat/completions", json!({"model": "m", "messages": turns})),
        ("POST", "/completions", json!({"model": "m", "prompt": "count 1"})),
        ("POST", "/responses", json!({"model": "m", "input": "count 1", "store": false})),
        ("POST", "/messages", json!({"model": "m", "messages": turns, "max_tokens": 9})),
        ("POST", "/messages/count_tokens", json!({"model": "m", "messages": turns})),
        ("POST", "/embeddings", json!({"model": "m", "input": "a"})),
        ("POST", "/rerank", json!({"model": "m", "query": "q", "documents": ["a"]})),
        ("GET", "/models", json!(null)),
        ("GET", "/models/m", json!(null)),
    ] {
        let fields = |path: &str| {
            let (status, _, answer) = gateway.ask(method, path, "", &body.to_string());
            assert_eq!(status, 200, "{path}: {answer}");
            let Value::Object(fields) = json(&answer) else { panic!("{path}: {answer}") };
            fields.into_iter().map(|(name, _)| name).collect::<Vec<_>>()
        };
        assert_eq!(fields(path), fields(&format!("/v1{path}")), "{path}");
    }
}

#[test]
fn errors_of_a_path_without_version_have_its_protocols_form() {
    let gateway = Gateway::start("sesame");
    let kind = |path: &str| json(&gateway.ask("POST", path, "", "{}").2)["type"].clone();
    assert_eq!(kind("/messages"), "error");
    assert_eq!(kind("/chat/completions"), Value::Null);
    let (status, _, body) = gateway.ask("GET", "/chat/completions", "authorization: Bearer sesame\r\n", "");
    assert_eq!(status, 405);
    assert!(json(&body)["error"]["message"].as_str().unwrap().starts_with("/chat/completions"), "{body}");
}
