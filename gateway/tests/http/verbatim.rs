//! Requests whose provider speaks the client's own protocol: both directions pass unchanged but for the model's name.

use serde_json::{Value, json};

use super::fakes::Gateway;
use super::json;
use super::providers::{Seen, answer, script, stream, word};

/// A gateway whose only provider `far` speaks by this script, and the requests that it gets.
fn gateway(kind: &str, answers: Vec<String>) -> (Gateway, Seen) {
    let (address, seen) = script(answers);
    let provider =
        json!({"kind": kind, "url": format!("http://{address}"), "api_key": "sk-hidden", "models": ["m"]});
    let routes = json!([
        {"model": "home", "targets": ["m", "far/m"]},
        {"model": "away", "targets": ["far/m"]},
        {"model": "back", "targets": ["far/m", "m"]},
    ]);
    (Gateway::with_routes(json!({"far": provider}), routes), seen)
}

/// The body of a request that a script has received.
fn body(seen: &Seen, at: usize) -> String {
    let seen = seen.lock().unwrap();
    seen[at][seen[at].find('{').unwrap()..].to_owned()
}

/// A request with fields and parts that mlxd does not know.
fn chat(model: &str, stream: bool) -> String {
    format!(
        r#"{{"model": "{model}", "messages": [{{"role": "user", "content": [{{"type": "image_url", "image_url": {{"url": "data:,"}}}}]}}],
            "new_field": {{"model": 1.0}}, "stream": {stream}}}"#
    )
}

/// The data of each event of a streamed answer.
fn data(body: &str) -> Vec<Value> {
    let lines = body.lines().filter_map(|line| line.strip_prefix("data: ")).filter(|data| *data != "[DONE]");
    lines.map(json).collect()
}

#[test]
fn whole_chat_passes_unchanged() {
    let full = json!({"id": "x-1", "model": "m", "new_field": [1], "usage": {"prompt_tokens": 7, "completion_tokens": 2},
        "choices": [{"index": 0, "message": {"content": "ok", "annotations": []}, "finish_reason": "stop"}]});
    let limits = "x-ratelimit-remaining-tokens: 9\r\nset-cookie: a=b\r\n";
    let (gateway, seen) = gateway("openai", vec![answer("200 OK", limits, &full); 2]);
    for (model, name) in [("far/m", "far/m"), ("away", "far/m")] {
        let (status, head, answer) = gateway.ask("POST", "/v1/chat/completions", "", &chat(model, false));
        assert_eq!(status, 200, "{answer}");
        assert_eq!(answer, full.to_string().replace(r#""model":"m""#, &format!(r#""model":"{name}""#)));
        assert!(head.contains("x-ratelimit-remaining-tokens: 9") && !head.contains("set-cookie"), "{head}");
        assert!(
            head.contains("x-mlxd-backend: far") && head.contains("content-type: application/json"),
            "{head}"
        );
    }
    assert_eq!(body(&seen, 0), chat("m", false));
    gateway.records(2);
    let log = json(&gateway.ask("GET", "/admin/v1/requests", "", "").2);
    let row = &log["requests"][0];
    assert_eq!((&row["prompt_tokens"], &row["completion_tokens"]), (&json!(7), &json!(2)));
}

#[test]
fn streamed_chat_passes_unchanged_but_for_unwanted_counts() {
    let chunk = |text: &str, reason: Option<&str>| {
        let mut chunk = word(text, reason);
        (chunk["model"], chunk["new_field"]) = (json!("m"), json!(1.5));
        chunk
    };
    let counts = json!({"model": "m", "choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 2}});
    let events = [chunk("a", None), chunk("b", Some("stop")), counts.clone()];
    let script = format!("{}data: [DONE]\n\n", stream(&events));
    let (gateway, seen) = gateway("openai-compatible", vec![script; 2]);
    let (status, _, answer) = gateway.ask("POST", "/v1/chat/completions", "", &chat("far/m", true));
    let named = |event: &Value| {
        let mut event = event.clone();
        event["model"] = json!("far/m");
        event
    };
    assert_eq!((status, data(&answer)), (200, events[..2].iter().map(named).collect()), "{answer}");
    assert!(answer.contains("data: [DONE]"), "{answer}");
    let asked = json(&body(&seen, 0));
    assert_eq!(
        (&asked["stream_options"]["include_usage"], &asked["new_field"]["model"]),
        (&json!(true), &json!(1.0))
    );
    // A client that asks for the counts gets them.
    let wanted = chat("far/m", true).replacen('{', r#"{"stream_options": {"include_usage": true}, "#, 1);
    let (_, _, answer) = gateway.ask("POST", "/v1/chat/completions", "", &wanted);
    assert_eq!(data(&answer), events.iter().map(named).collect::<Vec<_>>());
    gateway.records(2);
    let log = json(&gateway.ask("GET", "/admin/v1/requests?status=finished", "", "").2);
    assert_eq!(log["requests"][1]["completion_tokens"], 2, "{log}");
}

#[test]
fn thinking_with_its_signature_passes_both_ways() {
    let events = [
        json!({"type": "message_start", "message": {"model": "m", "content": [], "usage": {"input_tokens": 3}}}),
        json!({"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": ""}}),
        json!({"type": "content_block_delta", "index": 0, "delta": {"type": "signature_delta", "signature": "EqQB"}}),
        json!({"type": "content_block_start", "index": 1, "content_block": {"type": "redacted_thinking", "data": "Zm9v"}}),
        json!({"type": "content_block_delta", "index": 2, "delta": {"type": "text_delta", "text": "ok"}}),
        json!({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 5}}),
        json!({"type": "message_stop"}),
    ];
    let (gateway, seen) = gateway("anthropic", vec![stream(&events)]);
    let blocks = json!([{"type": "thinking", "thinking": "hm", "signature": "EqQB"}, {"type": "redacted_thinking", "data": "Zm9v"},
        {"type": "server_tool_use", "id": "s1", "name": "new_tool", "input": {}}]);
    let request = json!({"model": "far/m", "max_tokens": 9, "stream": true, "thinking": {"type": "new"}, "messages": [
        {"role": "user", "content": "x"}, {"role": "assistant", "content": blocks}, {"role": "user", "content": "y"}]});
    let headers =
        "anthropic-beta: new-2026\r\nanthropic-version: 2023-06-01\r\nauthorization: Bearer mine\r\n";
    let (status, _, answer) = gateway.ask("POST", "/v1/messages", headers, &request.to_string());
    let mut expected = events.to_vec();
    expected[0]["message"]["model"] = json!("far/m");
    assert_eq!((status, data(&answer)), (200, expected), "{answer}");
    let mut asked = request;
    asked["model"] = json!("m");
    assert_eq!(json(&body(&seen, 0)), asked);
    let seen = seen.lock().unwrap();
    assert!(
        seen[0].contains("anthropic-beta: new-2026") && seen[0].contains("x-api-key: sk-hidden"),
        "{}",
        seen[0]
    );
    assert_eq!(seen[0].matches("anthropic-version").count(), 1);
    assert!(!seen[0].contains("mine"), "the client's key went to the provider");
}

#[test]
fn error_in_a_passed_stream_reaches_the_client_once() {
    let error = json!({"error": {"message": "on fire", "code": "x"}});
    let broken = stream(&[word("a", None)]);
    let (gateway, _) = gateway("openai", vec![stream(&[word("a", None), error]), broken]);
    let (status, _, answer) = gateway.ask("POST", "/v1/chat/completions", "", &chat("far/m", true));
    assert_eq!((status, answer.matches("\"error\"").count()), (200, 1), "{answer}");
    assert!(answer.contains("on fire"), "{answer}");
    let (status, _, answer) = gateway.ask("POST", "/v1/chat/completions", "", &chat("far/m", true));
    assert_eq!((status, answer.matches("\"error\"").count()), (200, 1), "{answer}");
    assert!(answer.contains("before the answer's end"), "{answer}");
    assert!(gateway.records(2).iter().all(|(outcome, _)| outcome == "failed"));
}

#[test]
fn request_that_only_the_provider_understands_never_reaches_another_model() {
    let busy = answer("404 No", "", &json!({"error": {"message": "gone"}}));
    let (gateway, seen) = gateway("openai", vec![busy]);
    // The first model of this route is local, and its error is the request's own.
    let (status, _, answer) = gateway.ask("POST", "/v1/chat/completions", "", &chat("home", false));
    assert!(status == 400 && answer.contains("image"), "{answer}");
    assert_eq!(seen.lock().unwrap().len(), 0, "the request left the machine");
    let (status, _, answer) = gateway.ask("POST", "/v1/chat/completions", "", &chat("back", false));
    assert!(status == 400 && answer.contains("image"), "the local model cannot take over: {answer}");
    assert_eq!(seen.lock().unwrap().len(), 1);
    // Another protocol needs the neutral form.
    let request = json!({"model": "far/m", "max_tokens": 9, "messages": [{"role": "user", "content": [
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": ""}}]}]});
    assert_eq!(gateway.ask("POST", "/v1/messages", "", &request.to_string()).0, 400);
    assert_eq!(seen.lock().unwrap().len(), 1);
}

#[test]
fn configured_headers_go_along_until_the_client_sends_its_own() {
    let full = json!({"id": "x", "type": "message", "role": "assistant", "model": "m", "content": [], "stop_reason": "end_turn",
        "usage": {"input_tokens": 1, "output_tokens": 1}});
    let (address, seen) = script(vec![answer("200 OK", "", &full); 2]);
    let headers = json!({"X-Title": "mlxd", "anthropic-beta": "usual-1"});
    let provider =
        json!({"kind": "anthropic", "url": format!("http://{address}"), "headers": headers, "models": ["m"]});
    let gateway = Gateway::with_providers(json!({"far": provider}));
    let request = json!({"model": "far/m", "max_tokens": 9, "messages": [{"role": "user", "content": "x"}]})
        .to_string();
    for sent in ["", "anthropic-beta: own-2\r\n"] {
        let (status, _, answer) = gateway.ask("POST", "/v1/messages", sent, &request);
        assert_eq!(status, 200, "{answer}");
    }
    let seen = seen.lock().unwrap();
    assert!(seen[0].contains("x-title: mlxd") && seen[0].contains("anthropic-beta: usual-1"), "{}", seen[0]);
    assert!(seen[1].contains("anthropic-beta: own-2") && !seen[1].contains("usual-1"), "{}", seen[1]);
}

/// The events of a response with sealed reasoning.
fn response_events() -> Vec<Value> {
    let usage = json!({"input_tokens": 11, "input_tokens_details": {"cached_tokens": 4}, "output_tokens": 5,
        "output_tokens_details": {"reasoning_tokens": 3}});
    let reasoning =
        json!({"type": "reasoning", "id": "rs_1", "encrypted_content": "c2VhbGVk", "new_field": 1.0});
    vec![
        json!({"type": "response.created", "response": {"id": "resp_far", "model": "m"}}),
        json!({"type": "response.output_item.done", "item": reasoning}),
        json!({"type": "response.output_text.delta", "delta": "ok"}),
        json!({"type": "response.completed", "response": {"id": "resp_far", "model": "m", "usage": usage}}),
    ]
}

#[test]
fn stateless_response_passes_with_its_sealed_reasoning() {
    let (gateway, seen) = gateway("openai", vec![stream(&response_events())]);
    let sealed = json!({"type": "reasoning", "summary": [], "encrypted_content": "c2VhbGVk"});
    let request = json!({"model": "away", "store": false, "stream": true, "include": ["reasoning.encrypted_content"],
        "input": [sealed, {"role": "user", "content": "x"}]});
    let (status, head, answer) = gateway.ask("POST", "/v1/responses", "", &request.to_string());
    let mut expected = response_events();
    for at in [0, 3] {
        expected[at]["response"]["model"] = json!("far/m");
    }
    assert_eq!((status, data(&answer)), (200, expected), "{answer}");
    assert!(head.contains("x-mlxd-backend: far"), "{head}");
    assert!(seen.lock().unwrap()[0].starts_with("post /responses "), "{:?}", seen.lock().unwrap()[0]);
    assert_eq!(body(&seen, 0), request.to_string().replace("away", "m"));
    gateway.records(1);
    let row = json(&gateway.ask("GET", "/admin/v1/requests", "", "").2)["requests"][0].take();
    let counts =
        ["prompt_tokens", "cached_tokens", "completion_tokens", "status"].map(|name| row[name].clone());
    assert_eq!(counts, [json!(11), json!(4), json!(5), json!("finished")], "{row}");
}

#[test]
fn whole_stateless_response_passes_and_a_stored_one_is_made_here() {
    let full = json!({"id": "resp_far", "object": "response", "model": "m", "new_field": [1], "output": [],
        "usage": {"input_tokens": 7, "output_tokens": 2}});
    let chat = [word("ok", Some("stop"))];
    let (gateway, seen) = gateway("openai", vec![answer("200 OK", "", &full), stream(&chat)]);
    let request = |store: bool| json!({"model": "far/m", "store": store, "input": "x"}).to_string();
    let (status, _, passed) = gateway.ask("POST", "/v1/responses", "", &request(false));
    assert_eq!((status, passed), (200, full.to_string().replace(r#""model":"m""#, r#""model":"far/m""#)));
    // A stored response is continued and read here, so it is made here.
    let (status, _, made) = gateway.ask("POST", "/v1/responses", "", &request(true));
    assert_eq!(status, 200, "{made}");
    let id = json(&made)["id"].as_str().unwrap().to_owned();
    assert_eq!(gateway.ask("GET", &format!("/v1/responses/{id}"), "", "").0, 200);
    assert!(seen.lock().unwrap()[1].starts_with("post /chat/completions "));
    gateway.records(2);
    let log = json(&gateway.ask("GET", "/admin/v1/requests", "", "").2);
    let tokens = |at: usize| log["requests"][at]["prompt_tokens"].as_u64();
    assert!(tokens(0) == Some(7) || tokens(1) == Some(7), "{log}");
}

#[test]
fn response_that_cannot_be_read_here_passes_to_openai_only() {
    let full = json!({"id": "resp_far", "model": "m", "output": []});
    let request = |model: &str| {
        let tools = json!([{"type": "web_search"}]);
        json!({"model": model, "input": "x", "tools": tools, "previous_response_id": "resp_elsewhere"})
            .to_string()
    };
    let (openai, seen) = gateway("openai", vec![answer("200 OK", "", &full)]);
    let (status, _, answered) = openai.ask("POST", "/v1/responses", "", &request("far/m"));
    assert_eq!(status, 200, "{answered}");
    assert_eq!(body(&seen, 0), request("m"));
    // The first target of this route is a model of this machine.
    assert_eq!(openai.ask("POST", "/v1/responses", "", &request("home")).0, 400);
    let (compatible, seen) = gateway("openai-compatible", Vec::new());
    assert_eq!(compatible.ask("POST", "/v1/responses", "", &request("far/m")).0, 400);
    assert!(seen.lock().unwrap().is_empty());
}

#[test]
fn failed_response_is_recorded_as_one() {
    let error = json!({"code": "rate_limit_exceeded", "message": "slow down"});
    let mut events = response_events();
    events[3] = json!({"type": "response.failed", "response": {"model": "m", "error": error}});
    let (gateway, _) = gateway("openai", vec![stream(&events)]);
    let request = json!({"model": "far/m", "store": false, "stream": true, "input": "x"}).to_string();
    let (status, _, answer) = gateway.ask("POST", "/v1/responses", "", &request);
    let last = data(&answer).pop().unwrap();
    assert_eq!((status, last["type"].as_str()), (200, Some("response.failed")), "{answer}");
    assert_eq!(data(&answer).len(), 4, "the client sees the failure once: {answer}");
    gateway.records(1);
    let row = json(&gateway.ask("GET", "/admin/v1/requests", "", "").2)["requests"][0].take();
    assert_eq!(row["status"], "failed", "{row}");
}
