//! Requests that name no model.

use serde_json::{Value, json};

use super::fakes::Gateway;
use super::json;

fn post(gateway: &Gateway, path: &str, body: &Value) -> (u16, Value) {
    let (status, _, body) = gateway.ask("POST", path, "", &body.to_string());
    (status, json(&body))
}

/// A request to each endpoint, without a model.
fn requests() -> [(&'static str, Value); 10] {
    let turns = json!([{"role": "user", "content": "count 1"}]);
    [
        ("/v1/chat/completions", json!({"messages": turns})),
        ("/v1/completions", json!({"prompt": "count 1"})),
        ("/v1/responses", json!({"input": "count 1", "store": false})),
        ("/v1/responses/input_tokens", json!({"input": "count 1"})),
        ("/v1/messages", json!({"messages": turns, "max_tokens": 9})),
        ("/v1/messages/count_tokens", json!({"messages": turns})),
        ("/v1/chat/completions/render", json!({"messages": turns})),
        ("/detokenize", json!({"tokens": [97]})),
        ("/v1/embeddings", json!({"input": "a"})),
        ("/v1/rerank", json!({"query": "q", "documents": ["a"]})),
    ]
}

#[test]
fn only_model_answers_a_request_that_names_none() {
    let gateway = Gateway::start("");
    gateway.serve_one_model_per_task();
    for (path, body) in requests() {
        let (status, answer) = post(&gateway, path, &body);
        assert_eq!(status, 200, "{path}: {answer}");
        let model = match path {
            "/v1/embeddings" => "vectors",
            "/v1/rerank" => "ranker",
            _ => "m",
        };
        assert!(answer.get("model").is_none_or(|name| name == model), "{path}: {answer}");
    }
}

#[test]
fn null_and_empty_names_name_no_model() {
    let gateway = Gateway::start("");
    gateway.serve_one_model_per_task();
    for name in [json!(null), json!("")] {
        let (status, answer) =
            post(&gateway, "/v1/completions", &json!({"model": name, "prompt": "count 1"}));
        assert_eq!((status, &answer["model"]), (200, &json!("m")), "{name}");
    }
}

#[test]
fn several_models_are_listed_to_a_request_that_names_none() {
    let gateway = Gateway::start("");
    for (path, body) in &requests()[..8] {
        let (status, answer) = post(&gateway, path, body);
        assert_eq!(status, 400, "{path}: {answer}");
        let message = answer["error"]["message"].as_str().unwrap();
        assert!(
            message.starts_with("model is missing") && message.ends_with(": m, slow"),
            "{path}: {message}"
        );
    }
}
