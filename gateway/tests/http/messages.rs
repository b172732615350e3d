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

/// Names of a stream's events.
fn names(body: &str) -> Vec<&str> {
    body.lines().filter_map(|line| line.strip_prefix("event: ")).collect()
}

#[test]
fn messages_are_answered_and_recorded() {
    let gateway = Gateway::start("");
    let (status, head, body) = gateway.ask("POST", "/v1/messages?beta=true", "", &message("count 2", false));
    let body = json(&body);
    assert_eq!((status, &body["content"][0]["text"]), (200, &"w0 w1 ".into()));
    assert_eq!((&body["stop_reason"], &body["usage"]["input_tokens"]), (&"end_turn".into(), &3.into()));
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
    assert_eq!((status, json(&body)), (200, json!({"input_tokens": 3})));
}

/// Clients wait 300 s for the first byte: it comes once the prompt is tokenised, and signs of life follow.
#[test]
fn a_message_that_waits_begins_at_once_and_pings() {
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
fn errors_are_anthropics_wherever_they_come_from() {
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
        assert_eq!((&error["type"], &error["error"]["type"]), (&"error".into(), &kind.into()), "{path}");
        let id = error["request_id"].as_str().unwrap();
        assert!(head.contains(&format!("request-id: {id}")) && id.starts_with("req_"), "{head}");
        assert!(!error["error"]["message"].as_str().unwrap().is_empty());
    }
    // By these details the SDKs know that they must send whole conversations.
    let mut asked = json(&message("count 1", false));
    asked["thread"] = json!({"type": "create"});
    let (status, _, body) = gateway.ask("POST", "/v1/messages", "", &asked.to_string());
    let details = json!({"error_code": "thread_unsupported_request", "unsupported": ["thread"]});
    assert_eq!((status, &json(&body)["error"]["details"]), (400, &details));
    let locked = Gateway::start("sesame");
    let (status, _, body) = locked.ask("POST", "/v1/messages", "", &message("count 1", false));
    assert_eq!((status, &json(&body)["error"]["type"]), (401, &"authentication_error".into()));
    for key in ["x-api-key: sesame\r\n", "authorization: Bearer sesame\r\n"] {
        assert_eq!(locked.ask("POST", "/v1/messages", key, &message("count 1", false)).0, 200);
    }
}

/// Also what is refused before it is read.
#[test]
fn foreign_names_and_too_much_are_refused_in_anthropics_form() {
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
        assert_eq!((&error["type"], &error["error"]["type"]), (&"error".into(), &kind.into()));
        assert!(error["request_id"].as_str().unwrap().starts_with("req_"), "{answer}");
    }
}

#[test]
fn a_failure_within_a_message_is_an_error_event() {
    let gateway = Gateway::start("");
    let (status, _, body) = gateway.ask("POST", "/v1/messages", "", &message("fail 2", true));
    assert_eq!((status, names(&body).last()), (200, Some(&"error")));
    let last = body.lines().filter_map(|line| line.strip_prefix("data: ")).next_back().unwrap();
    assert_eq!(json(last)["error"], json!({"type": "api_error", "message": "the device is on fire"}));
}

#[test]
fn models_are_listed_as_the_client_expects() {
    let gateway = Gateway::start("");
    let list = |headers: &str| -> Value { json(&gateway.ask("GET", "/v1/models?limit=1000", headers, "").2) };
    assert_eq!(list("")["object"], "list");
    let anthropic = list("anthropic-version: 2023-06-01\r\n");
    assert_eq!((&anthropic["has_more"], &anthropic["first_id"]), (&false.into(), &"m".into()));
    assert_eq!(anthropic["last_id"], anthropic["data"].as_array().unwrap().last().unwrap()["id"]);
    let first = &anthropic["data"][0];
    assert_eq!((&first["type"], &first["display_name"]), (&"model".into(), &"m".into()));
    assert_eq!((&first["id"], &first["created_at"]), (&"m".into(), &"1970-01-01T00:00:05Z".into()));
    assert_eq!(gateway.ask("HEAD", "/", "", "").0, 200);
}
