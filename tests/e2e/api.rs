//! Details that SDKs hide: raw streams, headers, health.

use e2e::Server;
use e2e::places::{self, SHALLOW, SMOLLM2};
use serde_json::{Value, json};

#[test]
fn completion_stream_ends_with_done_and_matches_the_plain_answer() {
    let server = Server::start();
    let mut body = json!({"model": SMOLLM2, "prompt": "2, 4, 6, 8,", "max_tokens": 12, "temperature": 0});
    let plain = server.post("/v1/completions", &body);
    assert_eq!(plain.status, 200, "{}", plain.body);
    assert!(plain.text("/choices/0/text").starts_with(" 10, 12, 14"), "{}", plain.body);
    body["stream"] = json!(true);
    let events: Vec<String> = server.stream("/v1/completions", &body).collect();
    assert_eq!(events.last().map(String::as_str), Some("[DONE]"));
    let text: String = events[..events.len() - 1]
        .iter()
        .map(|e| serde_json::from_str::<Value>(e).unwrap())
        .map(|chunk| chunk["choices"][0]["text"].as_str().unwrap_or_default().to_owned())
        .collect();
    assert_eq!(text, plain.text("/choices/0/text"));
}

/// Texts that a constraint demands arrive whole: without the end token, and with texts that look like control tokens.
#[test]
fn demanded_texts_are_kept_whole_in_answers_and_streams() {
    let server = Server::start();
    let turns = json!([{"role": "user", "content": "Choose"}]);
    let question = json!({"model": SHALLOW, "messages": turns, "temperature": 0});
    let ask = |more: &Value| {
        let mut body = question.clone();
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let answer = server.post("/v1/chat/completions", &body);
        assert_eq!(answer.status, 200, "{}", answer.body);
        body["stream"] = true.into();
        let events = server.stream("/v1/chat/completions", &body).filter(|event| event != "[DONE]");
        let chunks = events.map(|event| serde_json::from_str::<Value>(&event).unwrap());
        let deltas = chunks.map(|chunk| chunk["choices"][0]["delta"]["content"].clone());
        let streamed: String = deltas.filter_map(|delta| delta.as_str().map(str::to_owned)).collect();
        (answer.body, streamed)
    };
    for (constraint, texts, max_tokens) in [
        (json!({"guided_choice": ["A", "B"]}), &["A", "B"][..], 1),
        (json!({"structured_outputs": {"choice": ["apple", "banana"]}}), &["apple", "banana"], 8),
        (json!({"guided_regex": "a<\\|im_start\\|>b"}), &["a<|im_start|>b"], 30),
    ] {
        let mut more = constraint;
        more["max_tokens"] = max_tokens.into();
        let (answer, streamed) = ask(&more);
        let choice = &answer["choices"][0];
        let text = choice["message"]["content"].as_str().unwrap();
        assert!(texts.contains(&text) && choice["finish_reason"] == "stop", "{answer}");
        assert_eq!(streamed, text);
    }
    let write = json!({"type": "function", "function": {"name": "write", "parameters": {"type": "object",
        "properties": {"text": {"enum": ["a<|im_end|>b"]}}, "required": ["text"]}}});
    let (answer, _) = ask(&json!({"tools": [write], "tool_choice": "required", "max_tokens": 60}));
    let call = &answer["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"];
    let arguments: Value = serde_json::from_str(call.as_str().unwrap()).unwrap();
    assert_eq!(arguments, json!({"text": "a<|im_end|>b"}));
}

#[test]
fn models_and_health_start_no_worker() {
    let server = Server::start();
    assert_eq!(server.get("/health").status, 200);
    let list = server.get("/v1/models");
    assert_eq!(list.text("/object"), "list");
    let ids: Vec<_> =
        list.body["data"].as_array().unwrap().iter().map(|m| m["id"].as_str().unwrap()).collect();
    assert!(ids.contains(&SHALLOW), "{ids:?}");
    assert!(server.workers().is_empty(), "listing models starts none");
}

/// The worker counts the places: a running request occupies one.
#[test]
fn ratelimit_headers_count_the_remaining_requests() {
    let server = Server::start();
    let long = json!({"model": SHALLOW, "prompt": "Once upon a time", "max_tokens": 4000, "stream": true,
                      "temperature": 0});
    let mut events = server.stream("/v1/completions", &long);
    assert!(events.next().is_some());
    let (short, turns) = (
        json!({"model": SHALLOW, "prompt": "x", "max_tokens": 1}),
        json!([{"role": "user", "content": "x"}]),
    );
    let message = json!({"model": SHALLOW, "max_tokens": 1, "messages": turns});
    for (path, body, prefix, suffix) in [
        ("/v1/completions", short, "x-ratelimit-", "-requests"),
        ("/v1/messages", message, "anthropic-ratelimit-requests-", ""),
    ] {
        let answer =
            ureq::post(server.url(path)).content_type("application/json").send(body.to_string()).unwrap();
        let header = |name: &str| -> u32 {
            let value = answer.headers().get(format!("{prefix}{name}{suffix}")).unwrap();
            value.to_str().unwrap().parse().unwrap()
        };
        // 32 may run and 256 wait.
        assert_eq!((header("limit"), header("remaining")), (288, 286), "{path}");
    }
}

/// A full worker refuses with numbers, and accepts again when requests leave.
#[test]
fn request_over_the_limit_is_429_with_the_limit() {
    let config = format!("[models.\"{SHALLOW}\"]\nmax_batch = 1\n");
    let server = Server::builder().models(&places::models()).config(&config).start();
    // One runs, 255 wait; the second 128 come before the first, so that their stream begins.
    let many = |priority: &str| {
        let body = json!({"model": SHALLOW, "prompt": "x", "n": 128, "max_tokens": 2000, "stream": true,
                          "temperature": 1, "priority": priority});
        let mut events = server.stream("/v1/completions", &body);
        assert!(events.next().is_some());
        events
    };
    let waiting = [many("normal"), many("high")];
    let body = json!({"model": SHALLOW, "prompt": "x", "n": 2, "max_tokens": 1});
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let answer = agent.post(server.url("/v1/completions")).content_type("application/json");
    let answer = answer.send(body.to_string()).unwrap();
    let header = |name: &str| answer.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
    assert_eq!(answer.status().as_u16(), 429);
    for (name, value) in [
        ("x-ratelimit-limit-requests", "257"),
        // One of the two choices would fit.
        ("x-ratelimit-remaining-requests", "1"),
        ("x-ratelimit-reset-requests", "1s"),
        ("retry-after", "1"),
    ] {
        assert_eq!(header(name).as_deref(), Some(value), "{name}");
    }
    drop(waiting);
    e2e::process::wait_for("there is room again", std::time::Duration::from_secs(20), || {
        server.count().status == 200
    });
}

#[test]
fn disconnected_client_stops_the_computation() {
    let server = Server::start();
    let body = json!({"model": SHALLOW, "prompt": "Once upon a time", "max_tokens": 4000, "stream": true,
                      "temperature": 0});
    let mut events = server.stream("/v1/completions", &body);
    assert!(events.next().is_some());
    let worker = server.workers().remove(0).pid;
    drop(events);
    // A worker with nothing to do uses no processor time.
    e2e::process::wait_for("the worker comes to rest", std::time::Duration::from_secs(20), || {
        let before = e2e::process::cpu_ms(worker);
        std::thread::sleep(std::time::Duration::from_millis(500));
        e2e::process::cpu_ms(worker) - before < 50
    });
}
