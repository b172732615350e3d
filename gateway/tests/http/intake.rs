//! Bodies and paths that no handler takes are refused so that the client can read it.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};

use super::fakes::Gateway;
use super::json;

/// Sends a head and 40 MiB of body before it reads the answer.
fn upload(gateway: &Gateway, head: &str, chunked: bool) -> String {
    let mut stream = TcpStream::connect(gateway.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(head.as_bytes()).unwrap();
    let piece = " ".repeat(1 << 20);
    for _ in 0..100 {
        let sent = if chunked { format!("100000\r\n{piece}\r\n") } else { piece.clone() };
        stream.write_all(sent.as_bytes()).unwrap();
    }
    if chunked {
        stream.write_all(b"0\r\n\r\n").unwrap();
    }
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn client_that_is_still_writing_can_read_the_refusal() {
    let (open, closed) = (Gateway::start(""), Gateway::start("sk-one"));
    let start = "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n";
    for (gateway, status, code) in [(&open, "413", "request_too_large"), (&closed, "401", "invalid_api_key")]
    {
        for chunked in [false, true] {
            let length = if chunked { "transfer-encoding: chunked" } else { "content-length: 104857600" };
            let answer = upload(gateway, &format!("{start}{length}\r\n\r\n"), chunked);
            let (head, body) = answer.split_once("\r\n\r\n").unwrap();
            assert!(head.starts_with(&format!("HTTP/1.1 {status}")), "{chunked}: {head}");
            assert_eq!(json(body)["error"]["code"], code, "{chunked}");
        }
    }
}

/// A client that asks first reads the refusal before it sends anything.
#[test]
fn client_that_asks_first_is_refused_at_once() {
    let gateway = Gateway::start("");
    let headers = "content-length: 104857600\r\nexpect: 100-continue\r\n";
    let mut stream = TcpStream::connect(gateway.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    write!(stream, "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\n{headers}\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
}

#[test]
fn encoded_body_is_refused_by_the_name_of_its_encoding() {
    let gateway = Gateway::start("");
    for (path, pointer) in [
        ("/v1/chat/completions", "/error/message"),
        ("/v1/messages", "/error/message"),
        ("/api/chat", "/error"),
    ] {
        let (status, head, body) = gateway.ask("POST", path, "content-encoding: gzip\r\n", "\u{1f}no JSON");
        assert_eq!(status, 415, "{path}: {body}");
        assert!(head.contains("accept-encoding: identity"), "{head}");
        let body = json(&body);
        assert!(body.pointer(pointer).unwrap().as_str().unwrap().contains("\"gzip\""), "{path}: {body}");
    }
    let request = json!({"model": "m", "prompt": "count 1"}).to_string();
    let (status, ..) = gateway.ask("POST", "/v1/completions", "content-encoding: identity\r\n", &request);
    assert_eq!(status, 200);
}

#[test]
fn path_that_is_no_text_is_refused_in_the_protocol_of_the_client() {
    let gateway = Gateway::start("");
    let anthropic = "anthropic-version: 2023-06-01\r\n";
    for (path, headers, pointer) in [
        ("/v1/models/%ff", "", "/error/message"),
        ("/v1/models/%ff", anthropic, "/error/message"),
        ("/v1/responses/a%c3", "", "/error/message"),
        ("/api/v0/models/%ff", "", "/error/message"),
        ("/admin/v1/models/%ff", "", "/detail"),
    ] {
        let (status, _, body) = gateway.ask("GET", path, headers, "");
        assert_eq!(status, 400, "{path}: {body}");
        let body = json(&body);
        assert_eq!(body["type"] == "error", headers == anthropic, "{body}");
        assert!(body.pointer(pointer).and_then(Value::as_str).unwrap().contains(path), "{body}");
    }
    assert_eq!(gateway.ask("GET", "/v1/models/%6d", "", "").0, 200);
}

/// Half an emoji and a path that was not escaped stay in the history, so each later request has them too.
#[test]
fn half_emoji_and_bare_backslashes_are_read_by_every_protocol() {
    let gateway = Gateway::start("");
    let text = r#""a\ud83d in C:\dir""#;
    let turns = r#"[{"role": "user", "content": "count 1"}]"#;
    for (path, rest) in [
        ("/v1/chat/completions", format!(r#""messages": {turns}, "user": {text}"#)),
        ("/v1/completions", format!(r#""prompt": "count 1", "user": {text}"#)),
        ("/v1/responses", format!(r#""input": "count 1", "user": {text}"#)),
        (
            "/v1/messages",
            format!(r#""max_tokens": 9, "messages": {turns}, "metadata": {{"user_id": {text}}}"#),
        ),
        ("/v1/embeddings", format!(r#""input": [{text}]"#)),
        ("/v1/rerank", format!(r#""query": {text}, "documents": ["d"]"#)),
        ("/v2/embed", format!(r#""texts": [{text}], "input_type": "search_query""#)),
        ("/api/chat", format!(r#""messages": {turns}, "stream": false, "x": {text}"#)),
        ("/tokenize", format!(r#""prompt": {text}"#)),
    ] {
        let (status, _, body) = gateway.ask("POST", path, "", &format!(r#"{{"model": "m", {rest}}}"#));
        assert_eq!(status, 200, "{path}: {body}");
    }
    let (status, _, body) = gateway.ask("POST", "/v1/chat/completions", "", "{\"messages\": [}");
    assert_eq!(status, 400);
    assert!(body.contains("the body is not JSON"), "{body}");
}
