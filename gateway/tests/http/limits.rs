//! Rate-limit headers: the free capacity of a worker.

use serde_json::{Value, json};

use super::fakes::{CAPACITY, Gateway};

const OPENAI: [&str; 3] =
    ["x-ratelimit-limit-requests", "x-ratelimit-remaining-requests", "x-ratelimit-reset-requests"];
const ANTHROPIC: [&str; 3] = [
    "anthropic-ratelimit-requests-limit",
    "anthropic-ratelimit-requests-remaining",
    "anthropic-ratelimit-requests-reset",
];

/// The values of these headers.
fn header_values(head: &str, names: [&str; 3]) -> [Option<String>; 3] {
    let value = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    names.map(|name| value(name).map(str::to_owned))
}

/// Limit and remaining requests, without a time to wait.
fn free() -> [Option<String>; 3] {
    [Some(CAPACITY.limit.to_string()), Some(CAPACITY.free.to_string()), None]
}

/// No remaining requests, and a second to wait.
fn full() -> [Option<String>; 3] {
    [Some(CAPACITY.limit.to_string()), Some("0".into()), Some("1s".into())]
}

/// A request with this prompt to each generating endpoint.
fn generations(prompt: &str) -> [(&'static str, Value); 3] {
    let turns = json!([{"role": "user", "content": prompt}]);
    [
        ("/v1/completions", json!({"model": "m", "prompt": prompt})),
        ("/v1/chat/completions", json!({"model": "m", "messages": turns})),
        ("/v1/responses", json!({"model": "m", "input": prompt, "store": false})),
    ]
}

#[test]
fn openai_endpoints_return_rate_limit_headers() {
    let gateway = Gateway::start("");
    let ask = |path: &str, body: &Value| {
        let (status, head, answer) = gateway.ask("POST", path, "", &body.to_string());
        assert!(!head.contains("anthropic"), "{path}: {head}");
        (status, header_values(&head, OPENAI), answer)
    };
    for stream in [false, true] {
        for (prompt, expected) in [("count 2", free()), ("last", full())] {
            for (path, mut body) in generations(prompt) {
                body["stream"] = stream.into();
                let (status, limits, answer) = ask(path, &body);
                assert_eq!(status, 200, "{path}: {answer}");
                assert_eq!(limits, expected.clone(), "{path}: {answer}");
            }
        }
        for (path, mut body) in generations("refuse") {
            body["stream"] = stream.into();
            // In a stream the refusal is an event, as Codex expects.
            let status = if stream && path == "/v1/responses" { 200 } else { 429 };
            let (got, limits, answer) = ask(path, &body);
            assert_eq!(got, status, "{path}");
            assert_eq!(limits, full(), "{path}");
            assert!(answer.contains("9 requests run or wait"), "{answer}");
        }
    }
    for (path, body) in [
        ("/v1/embeddings", json!({"model": "m", "input": "a"})),
        ("/v1/rerank", json!({"model": "m", "query": "q", "documents": ["d"]})),
        ("/v2/rerank", json!({"model": "m", "query": "q", "documents": ["d"]})),
    ] {
        let (status, limits, answer) = ask(path, &body);
        assert_eq!(status, 200, "{path}: {answer}");
        assert_eq!(limits, free(), "{path}: {answer}");
    }
    let (status, limits, _) = ask("/v1/embeddings", &json!({"model": "m", "input": "full"}));
    assert_eq!(status, 429);
    assert_eq!(limits, full());
}

#[test]
fn anthropic_endpoints_return_their_own_rate_limit_headers() {
    let gateway = Gateway::start("");
    for stream in [false, true] {
        for (prompt, status, left) in [("count 2", 200, CAPACITY.free), ("last", 200, 0), ("refuse", 429, 0)]
        {
            let turns = json!([{"role": "user", "content": prompt}]);
            let body = json!({"model": "m", "max_tokens": 9, "stream": stream, "messages": turns});
            let (got, head, answer) = gateway.ask("POST", "/v1/messages", "", &body.to_string());
            assert_eq!(got, status, "{answer}");
            assert!(!head.contains("x-ratelimit"), "{head}");
            let [limit, remaining, reset] = header_values(&head, ANTHROPIC).map(Option::unwrap);
            assert_eq!(limit, CAPACITY.limit.to_string());
            assert_eq!(remaining, left.to_string());
            // 2026-11-25t13:00:00z; heads come in lower case here.
            assert!(reset.len() == 20 && reset.ends_with('z') && reset.contains('t'), "{reset}");
        }
    }
}

/// There are no headers if the capacity is unknown or outdated.
#[test]
fn responses_without_known_capacity_have_no_rate_limit_headers() {
    let gateway = Gateway::start("");
    let expect_none = |method: &str, path: &str, headers: &str, body: Value| {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let (_, head, _) = gateway.ask(method, path, headers, &body);
        assert!(!head.contains("ratelimit"), "{path}: {head}");
    };
    let turns = json!([{"role": "user", "content": "x"}]);
    expect_none("GET", "/v1/models", "", Value::Null);
    expect_none("POST", "/v1/completions", "", json!({"model": "unknown", "prompt": "x"}));
    expect_none("POST", "/v1/completions", "", json!({"model": "m", "prompt": "fail 0"}));
    expect_none("POST", "/v1/messages/count_tokens", "", json!({"model": "m", "messages": turns}));
    expect_none("POST", "/v1/responses/input_tokens", "", json!({"model": "m", "input": "x"}));
    for stream in [false, true] {
        let body = json!({"model": "m", "input": "count 1", "background": true, "stream": stream});
        expect_none("POST", "/v1/responses", "", body);
    }
    // A repeated response would hold an outdated capacity.
    let body = json!({"model": "m", "prompt": "count 1"});
    let key = "idempotency-key: a\r\n";
    let (_, head, _) = gateway.ask("POST", "/v1/completions", key, &body.to_string());
    assert_eq!(header_values(&head, OPENAI), free());
    expect_none("POST", "/v1/completions", key, body);
}
