//! What is told of the room that a worker has.

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
fn told(head: &str, names: [&str; 3]) -> [Option<String>; 3] {
    let value = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    names.map(|name| value(name).map(str::to_owned))
}

/// Limit and what remains, and no time to wait for.
fn free() -> [Option<String>; 3] {
    [Some(CAPACITY.limit.to_string()), Some(CAPACITY.free.to_string()), None]
}

/// Nothing remains; in a second there may be.
fn full() -> [Option<String>; 3] {
    [Some(CAPACITY.limit.to_string()), Some("0".into()), Some("1s".into())]
}

/// A request to each endpoint that generates, which does as the prompt says.
fn generations(prompt: &str) -> [(&'static str, Value); 3] {
    let turns = json!([{"role": "user", "content": prompt}]);
    [
        ("/v1/completions", json!({"model": "m", "prompt": prompt})),
        ("/v1/chat/completions", json!({"model": "m", "messages": turns})),
        ("/v1/responses", json!({"model": "m", "input": prompt, "store": false})),
    ]
}

#[test]
fn openais_clients_are_told_at_each_endpoint() {
    let gateway = Gateway::start("");
    let ask = |path: &str, body: &Value| {
        let (status, head, answer) = gateway.ask("POST", path, "", &body.to_string());
        assert!(!head.contains("anthropic"), "{path}: {head}");
        (status, told(&head, OPENAI), answer)
    };
    for stream in [false, true] {
        for (prompt, expected) in [("count 2", free()), ("last", full())] {
            for (path, mut body) in generations(prompt) {
                body["stream"] = stream.into();
                let (status, told, answer) = ask(path, &body);
                assert_eq!((status, told), (200, expected.clone()), "{path}: {answer}");
            }
        }
        for (path, mut body) in generations("refuse") {
            body["stream"] = stream.into();
            // Codex hears of it inside a stream.
            let status = if stream && path == "/v1/responses" { 200 } else { 429 };
            let (got, told, answer) = ask(path, &body);
            assert_eq!((got, told), (status, full()), "{path}");
            assert!(answer.contains("9 requests run or wait"), "{answer}");
        }
    }
    for (path, body) in [
        ("/v1/embeddings", json!({"model": "m", "input": "a"})),
        ("/v1/rerank", json!({"model": "m", "query": "q", "documents": ["d"]})),
        ("/v2/rerank", json!({"model": "m", "query": "q", "documents": ["d"]})),
    ] {
        let (status, told, answer) = ask(path, &body);
        assert_eq!((status, told), (200, free()), "{path}: {answer}");
    }
    let (status, told, _) = ask("/v1/embeddings", &json!({"model": "m", "input": "full"}));
    assert_eq!((status, told), (429, full()));
}

#[test]
fn anthropics_clients_are_told_in_their_words() {
    let gateway = Gateway::start("");
    for stream in [false, true] {
        for (prompt, status, left) in [("count 2", 200, CAPACITY.free), ("last", 200, 0), ("refuse", 429, 0)]
        {
            let turns = json!([{"role": "user", "content": prompt}]);
            let body = json!({"model": "m", "max_tokens": 9, "stream": stream, "messages": turns});
            let (got, head, answer) = gateway.ask("POST", "/v1/messages", "", &body.to_string());
            assert_eq!(got, status, "{answer}");
            assert!(!head.contains("x-ratelimit"), "{head}");
            let [limit, remaining, reset] = told(&head, ANTHROPIC).map(Option::unwrap);
            assert_eq!((limit, remaining), (CAPACITY.limit.to_string(), left.to_string()));
            // 2026-11-25t13:00:00z; heads come in lower case here.
            assert!(reset.len() == 20 && reset.ends_with('z') && reset.contains('t'), "{reset}");
        }
    }
}

/// What nobody knows, or what is no longer so, is not told.
#[test]
fn nothing_is_made_up() {
    let gateway = Gateway::start("");
    let silent = |method: &str, path: &str, headers: &str, body: Value| {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let (_, head, _) = gateway.ask(method, path, headers, &body);
        assert!(!head.contains("ratelimit"), "{path}: {head}");
    };
    let turns = json!([{"role": "user", "content": "x"}]);
    silent("GET", "/v1/models", "", Value::Null);
    silent("POST", "/v1/completions", "", json!({"model": "unknown", "prompt": "x"}));
    silent("POST", "/v1/completions", "", json!({"model": "m", "prompt": "fail 0"}));
    silent("POST", "/v1/messages/count_tokens", "", json!({"model": "m", "messages": turns}));
    silent("POST", "/v1/responses/input_tokens", "", json!({"model": "m", "input": "x"}));
    for stream in [false, true] {
        let body = json!({"model": "m", "input": "count 1", "background": true, "stream": stream});
        silent("POST", "/v1/responses", "", body);
    }
    // Who reads an answer again reads what was so when it began.
    let body = json!({"model": "m", "prompt": "count 1"});
    let key = "idempotency-key: a\r\n";
    let (_, head, _) = gateway.ask("POST", "/v1/completions", key, &body.to_string());
    assert_eq!(told(&head, OPENAI), free());
    silent("POST", "/v1/completions", key, body);
}
