//! Ollama's and LM Studio's APIs.

use ipc_proto::supervisor::KeepAlive;
use serde_json::{Value, json};

use super::fakes::Gateway;
use super::json;

fn chat(prompt: &str, more: &Value) -> String {
    let mut body = json!({"model": "m", "messages": [{"role": "user", "content": prompt}]});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body.to_string()
}

fn post(gateway: &Gateway, path: &str, body: &str) -> (u16, Value) {
    let (status, _, body) = gateway.ask("POST", path, "", body);
    (status, json(&body))
}

/// The lines of a stream. The body also contains chunk lengths, which this skips.
fn lines(body: &str) -> Vec<Value> {
    body.lines().filter(|line| line.starts_with('{')).map(json).collect()
}

#[test]
fn chat_streams_lines_unless_stream_is_false() {
    let gateway = Gateway::start("");
    let (status, head, body) = gateway.ask("POST", "/api/chat", "", &chat("count 3", &json!({})));
    assert_eq!(status, 200);
    assert!(head.contains("content-type: application/x-ndjson"), "{head}");
    let lines = lines(&body);
    let text: String = lines.iter().map(|line| line["message"]["content"].as_str().unwrap()).collect();
    assert_eq!(text, "w0 w1 w2 ");
    let last = lines.last().unwrap();
    assert_eq!(
        (&last["done"], &last["done_reason"], &last["eval_count"]),
        (&json!(true), &json!("stop"), &json!(9))
    );
    let (status, whole) = post(&gateway, "/api/chat", &chat("count 3", &json!({"stream": false})));
    assert_eq!((status, &whole["message"]["content"]), (200, &json!("w0 w1 w2 ")));
    assert_eq!(gateway.records(2), vec![("finished".into(), None); 2]);
}

#[test]
fn generate_answers_in_response() {
    let gateway = Gateway::start("");
    let body = r#"{"model": "m:latest", "prompt": "count 2", "stream": false}"#;
    let (status, answer) = post(&gateway, "/api/generate", body);
    assert_eq!((status, &answer["response"], &answer["model"]), (200, &json!("w0 w1 "), &json!("m")));
}

#[test]
fn failure_has_a_status_or_is_a_line_of_the_stream() {
    let gateway = Gateway::start("");
    let (status, answer) = post(&gateway, "/api/chat", &chat("fail 0", &json!({})));
    assert_eq!((status, answer), (500, json!({"error": "the device is on fire"})));
    let (status, _, body) = gateway.ask("POST", "/api/chat", "", &chat("fail 2", &json!({})));
    assert_eq!(status, 200);
    assert_eq!(lines(&body).last().unwrap(), &json!({"error": "the device is on fire"}));
    let (status, answer) = post(&gateway, "/api/chat", &chat("count 1", &json!({"format": "xml"})));
    assert_eq!((status, answer), (400, json!({"error": "format must be \"json\" or a JSON schema"})));
}

#[test]
fn request_without_a_prompt_loads_and_unloads() {
    let gateway = Gateway::start("");
    let (status, answer) = post(&gateway, "/api/generate", r#"{"model": "m", "keep_alive": "5m"}"#);
    assert_eq!((status, &answer["done_reason"]), (200, &json!("load")));
    assert_eq!(gateway.keep_alives(), [KeepAlive::Seconds(300)]);
    let (status, answer) = post(&gateway, "/api/chat", r#"{"model": "m", "messages": [], "keep_alive": 0}"#);
    assert_eq!((status, &answer["done_reason"]), (200, &json!("unload")));
    let (status, answer) = post(&gateway, "/api/generate", r#"{"model": "unknown"}"#);
    assert_eq!(status, 404);
    assert!(answer["error"].is_string(), "{answer}");
}

#[test]
fn embeddings_are_answered_in_both_forms() {
    let gateway = Gateway::start("");
    let (status, answer) = post(&gateway, "/api/embed", r#"{"model": "m", "input": ["a", "abc"]}"#);
    assert_eq!((status, &answer["embeddings"]), (200, &json!([[1.0, 0.5], [3.0, 0.5]])));
    assert_eq!(answer["prompt_eval_count"], 5);
    let (status, answer) = post(&gateway, "/api/embeddings", r#"{"model": "m", "prompt": "abc"}"#);
    assert_eq!((status, answer), (200, json!({"embedding": [3.0, 0.5]})));
    let (status, answer) = post(&gateway, "/api/embed", r#"{"model": "m", "input": ""}"#);
    assert_eq!((status, &answer["embeddings"]), (200, &json!([])));
}

#[test]
fn loaded_models_are_listed_and_models_are_shown() {
    let gateway = Gateway::start("");
    let (status, _, body) = gateway.ask("GET", "/api/ps", "", "");
    let models = json(&body)["models"].clone();
    assert_eq!(
        (status, models.as_array().unwrap().len(), &models[0]["model"]),
        (200, 1, &json!("m")),
        "{body}"
    );
    let (status, shown) = post(&gateway, "/api/show", r#"{"name": "m"}"#);
    assert_eq!((status, &shown["capabilities"]), (200, &json!(["completion"])));
    assert_eq!(post(&gateway, "/api/show", r#"{"model": "strange"}"#).0, 404);
}

#[test]
fn changes_of_the_store_are_not_implemented() {
    let gateway = Gateway::start("");
    for (method, path) in [
        ("POST", "/api/create"),
        ("POST", "/api/copy"),
        ("POST", "/api/push"),
        ("DELETE", "/api/delete"),
        ("POST", "/api/blobs/sha256:0"),
    ] {
        let (status, _, body) = gateway.ask(method, path, "", "{}");
        assert_eq!(status, 501, "{path}");
        assert!(json(&body)["error"].as_str().unwrap().contains("models folder"), "{path}: {body}");
    }
}

#[test]
fn repeated_stream_of_lines_is_replayed() {
    let gateway = Gateway::start("");
    let ask = || gateway.ask("POST", "/api/chat", "idempotency-key: k1\r\n", &chat("count 2", &json!({})));
    let ((_, first_head, first), (status, head, second)) = (ask(), ask());
    assert_eq!((status, lines(&second)), (200, lines(&first)));
    for head in [first_head, head] {
        assert!(head.contains("transfer-encoding: chunked"), "{head}");
    }
}

#[test]
fn lm_studio_lists_models_and_completes() {
    let gateway = Gateway::start("");
    let (status, _, body) = gateway.ask("GET", "/api/v0/models/m", "", "");
    assert_eq!((status, &json(&body)["state"]), (200, &json!("loaded")), "{body}");
    let (status, _, body) = gateway.ask("GET", "/api/v0/models/unknown", "", "");
    assert_eq!((status, &json(&body)["error"]["code"]), (404, &json!("model_not_found")), "{body}");
    let (status, answer) = post(&gateway, "/api/v0/completions", r#"{"model": "m", "prompt": "count 1"}"#);
    assert_eq!((status, &answer["choices"][0]["text"]), (200, &json!("w0 ")));
}
