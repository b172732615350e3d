//! The JSON of each protocol, as snapshots in `tests/e2e/snapshots`. A mismatch under `cargo xtask test` fails and writes nothing.
//! After an intended change, `INSTA_UPDATE=always` rewrites them.
//!
//! Ids, times and texts are redacted: they differ from run to run, or with the processor. Token counts stay.

use std::collections::HashSet;

use e2e::places::{self, MINILM, SMOLLM2};
use e2e::{Server, http};
use insta::assert_json_snapshot;
use serde_json::{Value, json};
use tempfile::TempDir;

/// Compares JSON with the snapshot `name`, except the parts that vary.
fn assert_shape(name: &str, mut value: Value) {
    redact(&mut value);
    assert_json_snapshot!(name, value);
}

fn redact(value: &mut Value) {
    match value {
        Value::Object(fields) => fields.iter_mut().for_each(|(key, value)| redact_field(key, value)),
        Value::Array(items) => items.iter_mut().for_each(redact),
        _ => {}
    }
}

fn redact_field(key: &str, value: &mut Value) {
    let replacement = match (key, &*value) {
        ("id" | "item_id" | "request_id", Value::String(id)) if id != SMOLLM2 && id != MINILM => {
            // The prefix stays: `chatcmpl-`, `resp_`, `msg_`.
            let end = id.find(['-', '_']).unwrap();
            format!("{}[id]", &id[..=end])
        }
        // A stream's first piece is empty.
        ("content" | "text" | "delta", Value::String(text)) if !text.is_empty() => "[text]".to_owned(),
        ("created" | "created_at" | "completed_at", Value::Number(_)) => "[time]".to_owned(),
        ("prompt_ms" | "predicted_ms", Value::Number(_)) => "[ms]".to_owned(),
        ("prompt_per_second" | "predicted_per_second", Value::Number(_)) => "[rate]".to_owned(),
        ("system_fingerprint", Value::String(_)) => "fp_mlxd_[version]".to_owned(),
        // They depend on the device's precision.
        ("weight_bytes" | "kv_bytes_per_token", Value::Number(_)) => "[bytes]".to_owned(),
        ("token", Value::String(_)) => "[token]".to_owned(),
        ("logprob", Value::Number(_)) => "[logprob]".to_owned(),
        ("bytes", Value::Array(_)) => "[bytes]".to_owned(),
        _ => return redact(value),
    };
    *value = json!(replacement);
}

fn chat(more: &Value) -> Value {
    let mut body = json!({"model": SMOLLM2, "messages": [{"role": "user", "content": "Hello"}], "temperature": 0,
                          "max_tokens": 3});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

fn response(more: &Value) -> Value {
    let mut body = json!({"model": SMOLLM2, "input": "Hello", "temperature": 0, "max_output_tokens": 16});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

fn completion() -> Value {
    json!({"model": SMOLLM2, "prompt": "2, 4, 6, 8,", "max_tokens": 4, "temperature": 0})
}

fn post(server: &Server, path: &str, body: &Value) -> Value {
    let answer = server.post(path, body);
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.body
}

/// The JSON events of a stream. `[DONE]` is kept as text.
fn events(server: &Server, path: &str, body: &Value) -> Vec<Value> {
    let stream = server.stream(path, body);
    assert_eq!(stream.status, 200);
    stream.map(|event| serde_json::from_str(&event).unwrap_or_else(|_| json!(event))).collect()
}

/// The first event of each type.
fn first_of_each_type(events: Vec<Value>) -> Vec<Value> {
    let mut seen = HashSet::new();
    events.into_iter().filter(|event| seen.insert(event["type"].to_string())).collect()
}

#[test]
fn chat_completion_matches_its_snapshot() {
    let server = Server::start();
    assert_shape("chat_completion", post(&server, "/v1/chat/completions", &chat(&json!({}))));
}

#[test]
fn chat_stream_matches_its_snapshot() {
    let server = Server::start();
    let body = chat(&json!({"stream": true, "stream_options": {"include_usage": true}}));
    assert_shape("chat_stream", json!(events(&server, "/v1/chat/completions", &body)));
}

#[test]
fn chat_with_logprobs_matches_its_snapshot() {
    let server = Server::start();
    let body = chat(&json!({"logprobs": true, "top_logprobs": 1, "max_tokens": 1}));
    assert_shape("chat_logprobs", post(&server, "/v1/chat/completions", &body));
}

#[test]
fn completion_matches_its_snapshot() {
    let server = Server::start();
    assert_shape("completion", post(&server, "/v1/completions", &completion()));
}

#[test]
fn response_matches_its_snapshot() {
    let server = Server::start();
    assert_shape("response", post(&server, "/v1/responses", &response(&json!({}))));
}

#[test]
fn response_stream_matches_its_snapshot() {
    let server = Server::start();
    let events = events(&server, "/v1/responses", &response(&json!({"stream": true})));
    for (at, event) in events.iter().enumerate() {
        assert_eq!(event["sequence_number"], at);
    }
    let mut events = first_of_each_type(events);
    for event in &mut events {
        event["sequence_number"] = json!("[number]");
    }
    assert_shape("response_stream", json!(events));
}

#[test]
fn message_matches_its_snapshot() {
    let server = Server::start();
    assert_shape("message", post(&server, "/v1/messages", &chat(&json!({}))));
}

#[test]
fn message_stream_matches_its_snapshot() {
    let server = Server::start();
    assert_shape("message_stream", json!(events(&server, "/v1/messages", &chat(&json!({"stream": true})))));
}

/// A server with SmolLM2 and MiniLM only, whatever models the machine has.
fn start_with_two_models() -> (TempDir, Server) {
    let folder = tempfile::tempdir().unwrap();
    for model in [SMOLLM2, MINILM] {
        std::os::unix::fs::symlink(places::models().join(model), folder.path().join(model)).unwrap();
    }
    let home = folder.path().to_str().unwrap();
    let builder = Server::builder().models(folder.path()).env("HOME", home);
    let server = builder.env("HF_HOME", home).env("HF_HUB_CACHE", home).start();
    (folder, server)
}

#[test]
fn models_list_matches_its_snapshot() {
    let (_folder, server) = start_with_two_models();
    assert_shape("models", server.get("/v1/models").body);
    assert_shape("model", server.get(&format!("/v1/models/{SMOLLM2}")).body);
}

/// The error of each endpoint, with its status.
fn errors(server: &Server, change: impl Fn(&mut Value)) -> Value {
    let requests = [
        ("/v1/chat/completions", chat(&json!({}))),
        ("/v1/completions", completion()),
        ("/v1/responses", response(&json!({}))),
        ("/v1/messages", chat(&json!({}))),
    ];
    let mut errors = json!({});
    for (path, mut body) in requests {
        change(&mut body);
        let http::Answer { status, body } = server.post(path, &body);
        errors[path] = json!({"status": status, "body": body});
    }
    errors
}

#[test]
fn unknown_model_error_of_each_protocol_matches_its_snapshot() {
    let (_folder, server) = start_with_two_models();
    assert_shape("error_unknown_model", errors(&server, |body| body["model"] = json!("none")));
}

#[test]
fn wrong_type_error_of_each_protocol_matches_its_snapshot() {
    let server = Server::start();
    assert_shape("error_wrong_type", errors(&server, |body| body["temperature"] = json!("warm")));
}
