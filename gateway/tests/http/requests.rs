//! Requests of all endpoints: answers, streams, errors, records, cancellation.

use std::io::Read;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::fakes::{Gateway, completion};
use crate::{json, text, wait_until};

#[test]
fn completion_is_answered_and_recorded() {
    let gateway = Gateway::start("");
    let (status, _, body) = gateway.complete("count 3", false);
    assert_eq!(status, 200);
    assert_eq!(json(&body)["choices"][0]["text"], "w0 w1 w2 ");
    assert_eq!(json(&body)["usage"]["total_tokens"], 12);
    let (status, head, body) = gateway.complete("count 3", true);
    assert_eq!(status, 200);
    assert_eq!(text(&body).as_str(), "w0 w1 w2 ");
    assert!(head.contains("content-type: text/event-stream") && body.contains("data: [DONE]"));
    assert!(head.contains("x-accel-buffering: no") && head.contains("cache-control: no-cache"), "{head}");
    let records = gateway.records(2);
    assert_eq!(records, vec![("finished".into(), None); 2]);
    assert_eq!(gateway.cancelled(), 0);
}

/// With shared text, the time to the first token would reveal the prompts of others.
#[test]
fn requests_of_different_keys_have_different_cache_scopes() {
    let gateway = Gateway::start("sk-one,sk-two");
    let ask = |path: &str, key: &str, body: Value| {
        let headers = format!("authorization: Bearer {key}\r\n");
        assert_eq!(gateway.ask("POST", path, &headers, &body.to_string()).0, 200);
    };
    let completion = |salt: Option<&str>, n: u32| serde_json::json!({"model": "m", "prompt": "count 1", "n": n, "cache_salt": salt});
    let chat = serde_json::json!({"model": "m", "messages": [{"role": "user", "content": "count 1"}]});
    let messages = serde_json::json!({
        "model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "count 1"}],
    });
    let responses = serde_json::json!({"model": "m", "input": "count 1"});
    ask("/v1/completions", "sk-one", completion(None, 2));
    ask("/v1/chat/completions", "sk-one", chat);
    ask("/v1/messages", "sk-one", messages);
    ask("/v1/responses", "sk-one", responses);
    ask("/v1/completions", "sk-one", completion(Some("a"), 1));
    ask("/v1/completions", "sk-two", completion(None, 1));
    let scopes = gateway.scopes();
    let [one, rest @ .., salted, two] = &scopes[..] else { panic!("{scopes:?}") };
    assert!(rest.len() == 3 && rest.iter().all(|scope| scope == one), "{scopes:?}");
    assert!(one != two && one != salted && salted != two && !scopes.concat().contains("sk-"), "{scopes:?}");
    let open = Gateway::start("");
    open.complete("count 1", false);
    assert_eq!(open.scopes(), [""]);
}

#[test]
fn embeddings_and_rerank_requests_are_answered_and_recorded() {
    let gateway = Gateway::start("");
    let ask = |path: &str, body: Value| gateway.ask("POST", path, "", &body.to_string());
    let (status, head, body) = ask("/v1/embeddings", json(r#"{"model": "m", "input": ["abc", "de"]}"#));
    assert_eq!(status, 200);
    assert_eq!(json(&body)["data"][1]["embedding"][0].as_f64(), Some(2.0));
    assert!(head.contains("content-type: application/json") && json(&body)["usage"]["total_tokens"] == 5);
    let (status, _, body) =
        ask("/v1/embeddings", json(r#"{"model": "m", "input": [[1, 2, 3]], "encoding_format": "base64"}"#));
    assert_eq!(status, 200);
    assert_eq!(json(&body)["data"][0]["embedding"], "AABAQAAAgD4=");
    let (status, _, body) = ask("/v1/embeddings", json(r#"{"model": "m"}"#));
    assert_eq!(status, 400);
    assert_eq!(json(&body)["error"]["param"], "input");
    let ranking =
        json(r#"{"model": "m", "query": "q", "documents": ["long", "d"], "return_documents": true}"#);
    for path in ["/v1/rerank", "/v2/rerank"] {
        let (status, _, body) = ask(path, ranking.clone());
        let ranked = json(&body);
        assert_eq!(status, 200, "{path}: {body}");
        assert_eq!(ranked["results"][0]["index"].as_u64(), Some(1), "{path}: {body}");
        assert_eq!(ranked["results"][1]["document"]["text"], "long");
        assert_eq!(ranked["meta"]["tokens"]["input_tokens"], 7);
        assert_eq!(ranked["usage"]["total_tokens"], 7);
    }
    let (status, _, body) =
        ask("/v1/rerank", json(r#"{"model": "m", "query": "refuse", "documents": ["d"]}"#));
    assert_eq!(status, 400);
    assert_eq!(json(&body)["error"]["param"], "model");
    let records = gateway.records(5);
    assert_eq!(records.iter().filter(|(outcome, _)| outcome == "finished").count(), 4, "{records:?}");
    let (status, head, page) = gateway.ask("GET", "/docs", "", "");
    assert!(status == 200 && head.contains("text/html") && page.contains("/openapi.json"), "{head}");
}

#[test]
fn failure_before_the_stream_begins_has_its_own_status() {
    let gateway = Gateway::start("");
    for stream in [false, true] {
        let (status, head, body) = gateway.complete("fail 0", stream);
        assert_eq!(status, 500);
        assert_eq!(json(&body)["error"]["message"], "the device is on fire");
        assert!(head.contains("x-should-retry: false"));
        let (status, head, body) = gateway.complete("refuse", stream);
        assert_eq!(status, 429);
        assert_eq!(json(&body)["error"]["code"], "overloaded");
        assert!(head.contains("retry-after: 1"));
    }
    let (status, _, body) = gateway.complete("fail 2", true);
    assert_eq!(status, 200);
    assert_eq!(text(&body).as_str(), "w0 w1 ");
    assert!(body.contains("the device is on fire") && !body.contains("[DONE]"));
    let records = gateway.records(5);
    assert!(records.iter().all(|(outcome, error)| outcome == "failed" && error.is_some()), "{records:?}");
}

#[test]
fn lost_request_is_retried_twice_and_then_fails() {
    let gateway = Gateway::start("");
    let (status, _, body) = gateway.complete("lose 3", true);
    assert_eq!(status, 200);
    assert_eq!(text(&body).as_str(), "w0 w1 w2 ");
    assert!(body.contains("[DONE]"), "{body}");
    let (status, _, body) = gateway.complete("lose 3", false);
    assert_eq!(status, 200);
    assert_eq!(json(&body)["choices"][0]["text"], "w0 w1 w2 ");
    gateway.records(2);
    assert_eq!(gateway.recoveries(), [2, 2]);
    let (status, _, body) = gateway.complete("leave", true);
    assert_eq!(status, 200);
    assert!(text(&body) == "w0 w1 w2 " && body.contains("stopped while the request was running"), "{body}");
    let (status, _, body) = gateway.complete("leave", false);
    assert_eq!(status, 503);
    assert_eq!(json(&body)["error"]["code"], "unavailable");
    assert_eq!(gateway.complete("count 1", false).0, 200);
}

/// A draining worker refuses requests while the supervisor still names it. That costs one retry, not all of them.
#[test]
fn request_refused_by_a_draining_worker_waits_for_another() {
    let gateway = Gateway::start("");
    let (status, _, body) = gateway.complete("drain", false);
    assert_eq!(status, 200, "{body}");
    gateway.records(1);
    assert_eq!(gateway.recoveries(), [1]);
}

/// The supervisor returns the reason for not starting a crashing model. The gateway does not retry at once.
#[test]
fn crashing_model_uses_no_retry() {
    let gateway = Gateway::start("");
    let body = completion("count 1", false).replace("\"m\"", "\"crashing\"");
    let (status, _, answer) = gateway.ask("POST", "/v1/completions", "", &body);
    assert!(status == 503 && answer.contains("ended (signal 9)"), "{answer}");
    let body = r#"{"model": "crashing", "input": "a"}"#;
    assert_eq!(gateway.ask("POST", "/v1/embeddings", "", body).0, 503);
    assert_eq!(gateway.asked(), 2);
    gateway.records(2);
    assert_eq!(gateway.recoveries(), [0, 0]);
    let (_, _, body) = gateway.ask("GET", "/admin/v1/pool", "", "");
    assert_eq!(json(&body)["recoveries"], 0);
    assert_eq!(json(&body)["given_up"], 0);
}

/// A call that kills two workers is given up: further workers would die too.
#[test]
fn call_that_kills_workers_is_given_up_and_counted() {
    let gateway = Gateway::start("");
    let poison = r#"{"model": "m", "input": "poison"}"#;
    let (status, _, body) = gateway.ask("POST", "/v1/embeddings", "", poison);
    assert_eq!(status, 500);
    assert!(
        body.contains("2 worker processes ended one after another while they read this request"),
        "{body}"
    );
    assert_eq!(gateway.poisoned(), 2);
    let count = r#"{"model": "m", "messages": [{"role": "user", "content": "poison"}]}"#;
    assert_eq!(gateway.ask("POST", "/v1/messages/count_tokens", "", count).0, 500);
    assert_eq!(gateway.poisoned(), 4);
    gateway.records(1);
    assert_eq!(gateway.recoveries(), [1]);
    let (_, _, body) = gateway.ask("GET", "/admin/v1/pool", "", "");
    assert_eq!(json(&body)["recoveries"], 2);
    assert_eq!(json(&body)["given_up"], 2);
    // The first death of each call counts against the model, and the second does not.
    wait_until("no death is excused", || gateway.excused().len() >= 2);
    assert_eq!(gateway.excused().len(), 2);
    // Others are served.
    assert_eq!(gateway.ask("POST", "/v1/embeddings", "", r#"{"model": "m", "input": "a"}"#).0, 200);
}

/// For a served model the gateway does not ask the supervisor.
#[test]
fn running_model_is_found_within_microseconds() {
    let gateway = Gateway::start("");
    let backend = std::sync::Arc::clone(&gateway.backend);
    let mut times: Vec<Duration> = gateway.block_on(async move {
        backend.connect("m").await.unwrap();
        let mut times = Vec::with_capacity(10_000);
        for _ in 0..10_000 {
            let start = Instant::now();
            backend.connect("m").await.unwrap();
            times.push(start.elapsed());
        }
        times
    });
    times.sort_unstable();
    let (median, late) = (times[5000], times[9900]);
    println!("a running model is found in {median:?} (median), {late:?} (99 of 100)");
    // For `cargo xtask bench fleet`.
    println!("figure ensure_ready_us {:.3}", median.as_secs_f64() * 1e6);
    assert!(median <= Duration::from_micros(50), "{median:?}");
}

#[test]
fn disconnected_client_cancels_its_request() {
    let gateway = Gateway::start("");
    for (number, stream) in [(1, true), (2, false)] {
        let mut connection = gateway.send("POST", "/v1/completions", "", &completion("drip 3000", stream));
        if stream {
            // The stream runs.
            connection.read_exact(&mut [0; 200]).unwrap();
        } else {
            std::thread::sleep(Duration::from_millis(200));
        }
        drop(connection);
        wait_until("the worker gets the cancellation", || gateway.cancelled() == number);
        assert_eq!(gateway.records(number).last().unwrap().0, "cancelled");
    }
}

#[test]
fn waiting_stream_sends_keep_alives() {
    let gateway = Gateway::start("");
    let start = Instant::now();
    let mut connection = gateway.send("POST", "/v1/completions", "", &completion("late 12", true));
    let mut first = [0; 12];
    connection.read_exact(&mut first).unwrap();
    assert!(&first == b"HTTP/1.1 200" && start.elapsed() < Duration::from_millis(11_500));
    let mut rest = String::new();
    connection.read_to_string(&mut rest).unwrap();
    assert!(rest.contains(": keep-alive") && text(&rest) == "w0 ", "{rest}");
}

/// A model loads for longer than the wait for a status. Streams begin, and send keep-alives in their protocol's form and the loading
/// progress.
#[test]
fn slow_model_start_sends_progress_in_every_protocol() {
    let gateway = Gateway::start("");
    let turns = serde_json::json!([{"role": "user", "content": "count 1"}]);
    let ask = |path: &str, mut body: Value| {
        (body["model"], body["stream"]) = ("slow".into(), true.into());
        let (status, head, answer) = gateway.ask("POST", path, "", &body.to_string());
        assert!(status == 200 && answer.contains(": loading 45 %\n\n"), "{path}: {answer}");
        assert!(!head.contains("ratelimit"), "the capacity was unknown when the headers were sent: {head}");
        let names = answer.lines().filter_map(|line| line.strip_prefix("event: ").map(str::to_owned));
        (names.collect::<Vec<_>>(), answer)
    };
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let (names, _) =
                ask("/v1/messages", serde_json::json!({"max_tokens": 9, "messages": turns.clone()}));
            assert_eq!(names[..3], ["ping", "message_start", "content_block_start"]);
        });
        scope.spawn(|| {
            let (names, _) = ask("/v1/responses", serde_json::json!({"input": "count 1"}));
            let progress = "response.in_progress";
            assert_eq!(names[..4], ["response.created", progress, progress, "response.output_item.added"]);
        });
        scope.spawn(|| {
            let (_, answer) = ask("/v1/chat/completions", serde_json::json!({"messages": turns.clone()}));
            assert!(answer.contains(": keep-alive\n\n") && answer.contains("data: [DONE]"), "{answer}");
        });
    });
}

#[test]
fn request_over_its_time_limit_returns_504() {
    let gateway = Gateway::start("");
    for (path, prompt) in [
        ("/v1/completions", json(r#"{"prompt": "late 30"}"#)),
        ("/v1/chat/completions", json(r#"{"messages": [{"role": "user", "content": "late 30"}]}"#)),
        ("/v1/messages", json(r#"{"max_tokens": 9, "messages": [{"role": "user", "content": "late 30"}]}"#)),
        ("/v1/responses", json(r#"{"input": "late 30"}"#)),
        ("/v1/embeddings", json(r#"{"input": "late"}"#)),
        ("/v1/rerank", json(r#"{"query": "late", "documents": ["d"]}"#)),
        ("/v1/messages/count_tokens", json(r#"{"messages": [{"role": "user", "content": "late"}]}"#)),
        ("/v1/responses/input_tokens", json(r#"{"input": "late"}"#)),
    ] {
        let mut body = prompt;
        (body["model"], body["timeout"]) = ("m".into(), 0.1.into());
        let start = Instant::now();
        let (status, head, answer) = gateway.ask("POST", path, "", &body.to_string());
        assert_eq!(status, 504, "{path}: {answer}");
        assert!(start.elapsed() < Duration::from_secs(5) && head.contains("x-should-retry: false"), "{head}");
        assert!(answer.contains("time limit"), "{answer}");
    }
}

#[test]
fn request_with_idempotency_key_runs_once() {
    let gateway = Gateway::start("");
    let ask = |key: &str, body: &str| {
        gateway.ask("POST", "/v1/completions", &format!("idempotency-key: {key}\r\n"), body)
    };
    let body = completion("count 2", false);
    let (status, _, first) = ask("a", &body);
    assert_eq!(status, 200);
    assert_eq!(json(&first)["choices"][0]["text"], "w0 w1 ");
    assert_eq!(json(&ask("a", &body).2), json(&first));
    let id = |body: &str| json(body)["id"].clone();
    assert_ne!(id(&ask("b", &body).2), id(&first));
    let (status, _, other) = ask("a", &completion("count 3", false));
    assert_eq!(status, 400);
    assert_eq!(json(&other)["error"]["param"], "Idempotency-Key");
    // The request continues after its client has disconnected.
    let slow = completion("late 1", true);
    let gone = gateway.send("POST", "/v1/completions", "idempotency-key: d\r\n", &slow);
    std::thread::sleep(Duration::from_millis(100));
    drop(gone);
    let (_, head, again) = ask("d", &slow);
    assert!(
        head.contains("text/event-stream") && text(&again) == "w0 " && again.contains("[DONE]"),
        "{again}"
    );
    assert_eq!(gateway.cancelled(), 0);
    // Transient failures are not stored.
    for _ in 0..2 {
        assert_eq!(ask("e", &completion("refuse", false)).0, 429);
    }
    gateway.records(5);
}

/// Without these headers proxies delay tokens.
#[test]
fn streams_of_all_protocols_have_no_buffering_headers() {
    let gateway = Gateway::start("");
    let turns = serde_json::json!([{"role": "user", "content": "count 1"}]);
    for (path, mut body) in [
        ("/v1/completions", serde_json::json!({"prompt": "count 1"})),
        ("/v1/chat/completions", serde_json::json!({"messages": turns})),
        ("/v1/messages", serde_json::json!({"max_tokens": 9, "messages": turns})),
        ("/v1/responses", serde_json::json!({"input": "count 1"})),
        ("/v1/responses", serde_json::json!({"input": "count 1", "background": true})),
    ] {
        (body["model"], body["stream"]) = ("m".into(), true.into());
        let (status, head, _) = gateway.ask("POST", path, "", &body.to_string());
        assert!(status == 200 && head.contains("content-type: text/event-stream"), "{path}: {head}");
        assert!(head.contains("x-accel-buffering: no") && head.contains("cache-control: no-cache"), "{head}");
    }
}

#[test]
fn sender_labels_of_completion_are_recorded() {
    let gateway = Gateway::start("");
    let headers = "x-claude-code-session-id: s1\r\nx-openwebui-user-id: u1\r\n";
    let body =
        json(r#"{"model": "m", "prompt": "count 1", "user": "u2", "metadata": {"k": "v"}}"#).to_string();
    assert_eq!(gateway.ask("POST", "/v1/completions", headers, &body).0, 200);
    gateway.records(1);
    let [user, session, notes] = gateway.labels();
    assert_eq!(
        [user.as_deref(), session.as_deref(), notes.as_deref()],
        [Some("u2"), Some("s1"), Some(r#"{"k":"v"}"#)]
    );
}

#[test]
fn sender_labels_of_embedding_are_recorded() {
    let gateway = Gateway::start("");
    let headers = "x-openwebui-chat-id: s1\r\nx-openwebui-user-id: u1\r\n";
    let body = r#"{"model": "m", "input": "a", "user": "u2"}"#;
    assert_eq!(gateway.ask("POST", "/v1/embeddings", headers, body).0, 200);
    gateway.records(1);
    assert_eq!(gateway.labels(), [Some("u2".into()), Some("s1".into()), None]);
}

/// Anthropic's SDKs send `user_profile_id` in this header.
#[test]
fn anthropic_user_profile_header_is_recorded() {
    let gateway = Gateway::start("");
    let body = r#"{"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "count 1"}]}"#;
    assert_eq!(gateway.ask("POST", "/v1/messages", "anthropic-user-profile-id: u1\r\n", body).0, 200);
    gateway.records(1);
    assert_eq!(gateway.labels()[0].as_deref(), Some("u1"));
}

/// Clients use these endpoints to detect Ollama.
#[test]
fn ollama_probes_are_answered() {
    let gateway = Gateway::start("sesame");
    let failed = |(status, head, body): (u16, String, String)| {
        let error = json(&body);
        assert!(error["error"].is_string() && error.as_object().unwrap().len() == 1, "{body}");
        assert!(head.contains("content-type: application/json"), "{head}");
        status
    };
    assert_eq!(failed(gateway.ask("GET", "/api/tags", "", "")), 401);
    let key = "authorization: Bearer sesame\r\nanthropic-version: 2023-06-01\r\n";
    assert_eq!(failed(gateway.ask("GET", "/api/unknown", key, "")), 404);
    assert_eq!(failed(gateway.ask("POST", "/api/version", key, "{}")), 405);
    let ask = |path: &str| gateway.ask("GET", path, "authorization: Bearer sesame\r\n", "");
    let (status, _, body) = ask("/api/tags");
    let models = json(&body);
    assert_eq!(status, 200, "{body}");
    assert_eq!(models["models"].as_array().unwrap().len(), 2, "{body}");
    let model = &models["models"][0];
    assert_eq!(model["name"], "m");
    assert_eq!(model["model"], "m");
    assert_eq!(model["size"], 9);
    assert_eq!(model["modified_at"], "1970-01-01T00:00:05Z");
    let (status, _, body) = ask("/api/version");
    assert!(status == 200 && json(&body)["version"].is_string(), "{body}");
}

/// One frame has more events than a request's queue holds.
#[test]
fn burst_of_events_arrives_complete() {
    let gateway = Gateway::start("");
    let (_, _, body) = gateway.complete("burst 10000", true);
    assert_eq!(text(&body).split_whitespace().count(), 10_000);
    let (status, _, body) = gateway.complete("burst 10000", false);
    assert_eq!(status, 200, "{body}");
    assert!(body.contains("w9999 "), "{}", body.len());
}

/// A client that never reads does not delay other requests.
#[test]
fn client_that_does_not_read_is_cancelled() {
    let gateway = Gateway::start("");
    let _sleeps = gateway.send("POST", "/v1/completions", "", &completion("count 200000", true));
    wait_until("the worker gets the cancellation", || gateway.cancelled() == 1);
    assert_eq!(gateway.complete("count 1", false).0, 200);
}

#[test]
fn request_without_valid_key_or_host_is_refused() {
    let gateway = Gateway::start("sesame, second");
    let body = completion("count 1", false);
    for headers in
        ["", "authorization: Bearer sesam\r\n", "authorization: Basic sesame\r\n", "x-api-key: x\r\n"]
    {
        let (status, _, answer) = gateway.ask("POST", "/v1/completions", headers, &body);
        assert_eq!(status, 401, "{headers}");
        assert_eq!(json(&answer)["error"]["code"], "invalid_api_key", "{headers}");
        assert!(!answer.contains("sesam"));
    }
    for headers in [
        "authorization: Bearer sesame\r\n",
        "authorization: bearer second\r\n",
        "x-api-key: second\r\n",
        // A wrong key beside a valid one does no harm.
        "authorization: Bearer dummy\r\nx-api-key: second\r\n",
    ] {
        assert_eq!(gateway.ask("POST", "/v1/completions", headers, &body).0, 200, "{headers}");
    }
    // Health checks need no key.
    assert_eq!(gateway.ask("GET", "/health", "", "").0, 200);
    let open = Gateway::start("");
    let mut stream = std::net::TcpStream::connect(open.address).unwrap();
    std::io::Write::write_all(
        &mut stream,
        b"GET /v1/models HTTP/1.1\r\nhost: evil.example\r\nconnection: close\r\n\r\n",
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
    assert!(answer.contains("evil.example") && answer.contains("MLXD_ALLOWED_HOSTS"), "{answer}");
}

#[test]
fn unknown_path_or_method_returns_json_error() {
    let gateway = Gateway::start("");
    for (method, path, expected) in [
        ("GET", "/v1/nothing", 404),
        ("GET", "/v1/chat/completions", 405),
        ("POST", "/health", 405),
        ("GET", "/v1/models/unknown", 404),
    ] {
        let (status, _, body) = gateway.ask(method, path, "", "");
        assert_eq!(status, expected, "{method} {path}");
        assert!(!json(&body)["error"]["message"].as_str().unwrap().is_empty());
    }
    assert_eq!(json(&gateway.ask("GET", "/v1/models/m", "", "").2)["id"], "m");
}

#[test]
fn request_id_is_returned_in_the_response() {
    let gateway = Gateway::start("");
    let (_, head, _) = gateway.ask("GET", "/health", "x-request-id: mine-1\r\n", "");
    assert!(head.contains("x-request-id: mine-1") && head.contains("openai-processing-ms: "), "{head}");
    assert!(!head.contains("access-control"), "pages of other origins may not read it");
    let (_, head, _) = gateway.ask("GET", "/health", "", "");
    assert!(head.contains("x-request-id: "), "{head}");
}
