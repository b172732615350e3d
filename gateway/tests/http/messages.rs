//! Anthropic's protocol.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::fakes::Gateway;
use super::json;

fn message(prompt: &str, stream: bool) -> String {
    let messages = json!([{"role": "user", "content": prompt}]);
    json!({"model": "m", "max_tokens": 99, "stream": stream, "messages": messages}).to_string()
}

/// The event names of a stream.
fn names(body: &str) -> Vec<&str> {
    body.lines().filter_map(|line| line.strip_prefix("event: ")).collect()
}

#[test]
fn messages_are_answered_and_recorded() {
    let gateway = Gateway::start("");
    let (status, head, body) = gateway.ask("POST", "/v1/messages?beta=true", "", &message("count 2", false));
    let body = json(&body);
    assert_eq!(status, 200);
    assert_eq!(body["content"][0]["text"], "w0 w1 ");
    assert_eq!(body["stop_reason"], "end_turn");
    assert_eq!(body["usage"]["input_tokens"], 3);
    assert!(head.contains("request-id: req_"), "{head}");
    let (status, head, body) = gateway.ask("POST", "/v1/messages", "", &message("count 2", true));
    assert!(status == 200 && head.contains("content-type: text/event-stream"), "{head}");
    let start = body.lines().find_map(|line| line.strip_prefix("data: ")).unwrap();
    assert_eq!(json(start)["message"]["usage"]["input_tokens"], 3);
    let delta = "content_block_delta";
    let block = ["message_start", "content_block_start", delta, delta, "content_block_stop"];
    assert_eq!(names(&body), [&block[..], &["message_delta", "message_stop"]].concat());
    assert_eq!(gateway.records(2), vec![("finished".into(), None); 2]);
    let (status, _, body) = gateway.ask("POST", "/v1/messages/count_tokens", "", &message("x", false));
    assert_eq!(status, 200);
    assert_eq!(json(&body), json!({"input_tokens": 3}));
}

/// Clients wait 300 s for the first byte. It arrives when the prompt is tokenised, and keep-alives follow.
#[test]
fn waiting_message_begins_at_once_and_pings() {
    let gateway = Gateway::start("");
    let start = Instant::now();
    let mut connection = gateway.send("POST", "/v1/messages", "", &message("late 11", true));
    let mut first = [0; 500];
    connection.read_exact(&mut first).unwrap();
    assert!(String::from_utf8_lossy(&first).contains("event: message_start"));
    assert!(start.elapsed() < Duration::from_secs(2));
    let mut rest = String::new();
    connection.read_to_string(&mut rest).unwrap();
    assert_eq!(names(&rest)[..2], ["ping", "content_block_start"], "{rest}");
}

#[test]
fn errors_of_all_origins_have_anthropics_form() {
    let gateway = Gateway::start("");
    let anthropic = "anthropic-version: 2023-06-01\r\n";
    for (method, path, headers, body, status, kind) in [
        ("POST", "/v1/messages", "", "{", 400, "invalid_request_error"),
        ("POST", "/v1/messages", "", &*message("refuse", true), 429, "rate_limit_error"),
        ("POST", "/v1/messages", "", &*message("fail 0", false), 500, "api_error"),
        ("POST", "/v1/messages", "", &*message("leave", false), 503, "overloaded_error"),
        ("GET", "/v1/messages", "", "", 405, "invalid_request_error"),
        ("GET", "/v1/messages/batches", "", "", 404, "not_found_error"),
        ("GET", "/v1/models/unknown", anthropic, "", 404, "not_found_error"),
        ("GET", "/v1/models?limit=x", anthropic, "", 400, "invalid_request_error"),
    ] {
        let (got, head, body) = gateway.ask(method, path, headers, body);
        assert_eq!(got, status, "{method} {path}: {body}");
        let error = json(&body);
        assert_eq!(error["type"], "error", "{path}");
        assert_eq!(error["error"]["type"], kind, "{path}");
        let id = error["request_id"].as_str().unwrap();
        assert!(head.contains(&format!("request-id: {id}")) && id.starts_with("req_"), "{head}");
        assert!(!error["error"]["message"].as_str().unwrap().is_empty());
    }
    // These details make the SDKs send complete conversations.
    let mut request = json(&message("count 1", false));
    request["thread"] = json!({"type": "create"});
    let (status, _, body) = gateway.ask("POST", "/v1/messages", "", &request.to_string());
    let details = json!({"error_code": "thread_unsupported_request", "unsupported": ["thread"]});
    assert_eq!(status, 400);
    assert_eq!(json(&body)["error"]["details"], details);
    let locked = Gateway::start("sesame");
    let (status, _, body) = locked.ask("POST", "/v1/messages", "", &message("count 1", false));
    assert_eq!(status, 401);
    assert_eq!(json(&body)["error"]["type"], "authentication_error");
    for key in ["x-api-key: sesame\r\n", "authorization: Bearer sesame\r\n"] {
        assert_eq!(locked.ask("POST", "/v1/messages", key, &message("count 1", false)).0, 200);
    }
}

#[test]
fn foreign_host_and_large_body_are_refused_in_anthropics_form() {
    let gateway = Gateway::start("");
    for (headers, status, kind) in [
        ("host: evil.example\r\ncontent-length: 0", 403, "permission_error"),
        ("host: localhost\r\ncontent-length: 9999999999", 413, "request_too_large"),
    ] {
        let mut stream = std::net::TcpStream::connect(gateway.address).unwrap();
        write!(stream, "POST /v1/messages HTTP/1.1\r\nconnection: close\r\n{headers}\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
        let error = json(body);
        assert_eq!(error["type"], "error");
        assert_eq!(error["error"]["type"], kind);
        assert!(error["request_id"].as_str().unwrap().starts_with("req_"), "{answer}");
    }
}

/// The fake worker counts three tokens in any prompt.
fn compacting(edit: &Value, stream: bool) -> String {
    let mut body = json(&message("count 1", stream));
    body["context_management"] = json!({"edits": [edit]});
    body.to_string()
}

#[test]
fn long_prompt_is_compacted_before_the_answer() {
    let gateway = Gateway::start("");
    let edit = |trigger: u32, pause: bool| {
        let trigger = json!({"type": "input_tokens", "value": trigger});
        json!({"type": "compact_20260112", "trigger": trigger, "pause_after_compaction": pause})
    };
    let answer = |edit: &Value| json(&gateway.ask("POST", "/v1/messages", "", &compacting(edit, false)).2);
    let kinds = |answer: &Value| {
        let blocks = answer["content"].as_array().unwrap().iter();
        blocks.map(|block| block["type"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let short = answer(&edit(4, false));
    assert_eq!((kinds(&short), &short["usage"]["iterations"]), (vec!["text".into()], &Value::Null));
    let long = answer(&edit(3, false));
    assert_eq!(kinds(&long), ["compaction", "text"]);
    assert_eq!((&long["content"][0]["content"], &long["stop_reason"]), (&json!("w0 w1"), &json!("end_turn")));
    assert_eq!(long["usage"]["iterations"][0]["type"], "compaction");
    let paused = answer(&edit(3, true));
    assert_eq!((kinds(&paused), &paused["stop_reason"]), (vec!["compaction".into()], &json!("compaction")));
    let (_, _, body) = gateway.ask("POST", "/v1/messages", "", &compacting(&edit(3, false), true));
    let data: Vec<_> = body.lines().filter_map(|line| line.strip_prefix("data: ")).map(json).collect();
    assert_eq!(data[2]["delta"]["content"], "w0 w1", "{body}");
    assert_eq!((&data[4]["index"], &data[4]["content_block"]["type"]), (&json!(1), &json!("text")));
}

#[test]
fn compaction_parameter_is_answered_by_a_summary() {
    let gateway = Gateway::start("");
    let mut body = json(&message("Hi", false));
    body["compaction"] = json!({"type": "summarize", "instructions": "count 3"});
    let (status, _, answer) = gateway.ask("POST", "/v1/messages", "", &body.to_string());
    let answer = json(&answer);
    assert_eq!((status, &answer["stop_reason"]), (200, &json!("compaction")), "{answer}");
    assert_eq!(answer["content"][0]["content"], "w0 w1 w2");
}

#[test]
fn failure_within_a_stream_is_an_error_event() {
    let gateway = Gateway::start("");
    let (status, _, body) = gateway.ask("POST", "/v1/messages", "", &message("fail 2", true));
    assert_eq!(status, 200);
    assert_eq!(names(&body).last(), Some(&"error"));
    let last = body.lines().filter_map(|line| line.strip_prefix("data: ")).next_back().unwrap();
    assert_eq!(json(last)["error"], json!({"type": "api_error", "message": "the device is on fire"}));
}

#[test]
fn model_list_has_the_form_of_the_clients_protocol() {
    let gateway = Gateway::start("");
    let list = |headers: &str| -> Value { json(&gateway.ask("GET", "/v1/models?limit=1000", headers, "").2) };
    assert_eq!(list("")["object"], "list");
    let anthropic = list("anthropic-version: 2023-06-01\r\n");
    assert_eq!(anthropic["has_more"], false);
    assert_eq!(anthropic["first_id"], "m");
    assert_eq!(anthropic["last_id"], anthropic["data"].as_array().unwrap().last().unwrap()["id"]);
    let first = &anthropic["data"][0];
    assert_eq!(first["type"], "model");
    assert_eq!(first["display_name"], "m");
    assert_eq!(first["id"], "m");
    assert_eq!(first["created_at"], "1970-01-01T00:00:05Z");
    assert_eq!(gateway.ask("HEAD", "/", "", "").0, 200);
}
