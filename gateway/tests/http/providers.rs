//! Models of providers. The provider is another gateway, or a script that answers with given bytes.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use gateway::backends::by_name::ProviderPool;
use ipc_proto::gateway::GatewayConfig;
use serde_json::{Value, json};

use super::fakes::Gateway;
use super::{json, text};

/// A gateway whose providers `far` and `claude` are `upstream`, by either protocol.
fn in_front_of(upstream: &Gateway) -> Gateway {
    Gateway::with_providers(providers(upstream))
}

fn providers(upstream: &Gateway) -> Value {
    let address = upstream.address;
    json!({
        "far": {
            "kind": "openai-compatible",
            "url": format!("http://{address}/v1"),
            "api_key": "sk-far",
            "models": ["m", {"id": "gone", "alias": "quick", "context": 4096}],
        },
        "claude": {
            "kind": "anthropic",
            "url": format!("http://{address}"),
            "api_key": "sk-far",
            "models": ["m"],
        },
    })
}

fn chat(model: &str, prompt: &str, stream: bool) -> String {
    let messages = json!([{"role": "user", "content": prompt}]);
    json!({"model": model, "max_tokens": 99, "messages": messages, "stream": stream}).to_string()
}

#[test]
fn every_protocol_is_answered_by_either_provider() {
    let upstream = Gateway::start("sk-far");
    let gateway = in_front_of(&upstream);
    for model in ["far/m", "claude/m"] {
        let (status, _, body) =
            gateway.ask("POST", "/v1/chat/completions", "", &chat(model, "count 3", false));
        let body = json(&body);
        assert_eq!((status, &body["choices"][0]["message"]["content"]), (200, &json!("w0 w1 w2 ")), "{body}");
        assert_eq!((&body["model"], &body["usage"]["completion_tokens"]), (&json!(model), &json!(9)));
        let (status, _, body) = gateway.ask("POST", "/v1/messages", "", &chat(model, "count 3", false));
        let body = json(&body);
        assert_eq!((status, &body["content"][0]["text"]), (200, &json!("w0 w1 w2 ")), "{body}");
        assert_eq!(
            body["usage"],
            json(&gateway.ask("POST", "/v1/messages", "", &chat("m", "count 3", false)).2)["usage"]
        );
        let request = json!({"model": model, "input": "count 3"}).to_string();
        let (status, _, body) = gateway.ask("POST", "/v1/responses", "", &request);
        assert_eq!(
            (status, &json(&body)["output"][0]["content"][0]["text"]),
            (200, &json!("w0 w1 w2 ")),
            "{body}"
        );
        let (status, _, body) =
            gateway.ask("POST", "/v1/chat/completions", "", &chat(model, "count 3", true));
        let words = body.matches("\"content\":\"w").count();
        assert!(status == 200 && words == 3 && body.contains("data: [DONE]"), "{body}");
    }
    let completion = json!({"model": "far/m", "prompt": "count 2", "stream": true}).to_string();
    let (status, _, body) = gateway.ask("POST", "/v1/completions", "", &completion);
    assert_eq!((status, text(&body)), (200, "w0 w1 ".to_owned()));
    let (status, _, body) =
        gateway.ask("POST", "/v1/messages/count_tokens", "", &chat("claude/m", "x", false));
    assert_eq!((status, json(&body)), (200, json!({"input_tokens": 3})));
}

#[test]
fn several_choices_are_one_request_upstream() {
    let upstream = Gateway::start("sk-far");
    let gateway = in_front_of(&upstream);
    let request =
        json!({"model": "far/m", "n": 2, "messages": [{"role": "user", "content": "count 2"}]}).to_string();
    let (status, _, body) = gateway.ask("POST", "/v1/chat/completions", "", &request);
    let texts: Vec<_> =
        json(&body)["choices"].as_array().unwrap().iter().map(|c| c["message"]["content"].clone()).collect();
    assert_eq!((status, texts), (200, vec![json!("w0 w1 "); 2]));
    assert_eq!(upstream.records(1).len(), 1);
}

#[test]
fn lists_have_the_providers_models_with_their_owner() {
    let upstream = Gateway::start("sk-far");
    let gateway = in_front_of(&upstream);
    let body = json(&gateway.ask("GET", "/v1/models", "", "").2);
    let listed: Vec<_> =
        body["data"].as_array().unwrap().iter().map(|m| (&m["id"], &m["owned_by"])).collect();
    for (id, owner) in
        [("m", "local"), ("far/m", "far"), ("quick", "far"), ("far/gone", "far"), ("claude/m", "claude")]
    {
        assert!(listed.contains(&(&json!(id), &json!(owner))), "{id}: {listed:?}");
    }
    let one = json(&gateway.ask("GET", "/v1/models/far/gone", "", "").2);
    assert_eq!((&one["id"], &one["context_length"]), (&json!("far/gone"), &json!(4096)));
}

#[test]
fn only_listed_models_leave_the_machine() {
    let upstream = Gateway::start("sk-far");
    let gateway = in_front_of(&upstream);
    let (status, _, body) =
        gateway.ask("POST", "/v1/chat/completions", "", &chat("far/slow", "count 1", false));
    assert_eq!(status, 404);
    assert!(body.contains("not among the models that the provider far is to offer"), "{body}");
    assert_eq!(gateway.ask("POST", "/v1/chat/completions", "", &chat("gone", "count 1", false)).0, 404);
    // The alias is known, and the provider does not have the model.
    let (status, _, body) = gateway.ask("POST", "/v1/chat/completions", "", &chat("quick", "count 1", false));
    assert!(status == 404 && body.contains("the provider far: "), "{body}");
    assert_eq!(upstream.records(1).len(), 1);
}

#[test]
fn client_that_leaves_cancels_the_provider() {
    let upstream = Gateway::start("sk-far");
    let gateway = in_front_of(&upstream);
    let mut connection = gateway.send("POST", "/v1/chat/completions", "", &chat("far/m", "drip 400", true));
    connection.read_exact(&mut [0; 600]).unwrap();
    drop(connection);
    super::wait_until("the upstream's worker is cancelled", || upstream.cancelled() > 0);
}

/// The requests that a script has received: the head in lower case, then the body.
pub(crate) type Seen = Arc<Mutex<Vec<String>>>;

/// A gateway with the provider `far`, which answers as [`script`] does.
fn scripted(answers: Vec<String>) -> (Gateway, Seen) {
    let (address, requests) = script(answers);
    let provider = json!({"kind": "openai", "url": format!("http://{address}/v1"), "api_key": "sk-hidden", "models": ["m"]});
    (Gateway::with_providers(json!({"far": provider})), requests)
}

/// A server that answers each connection with the next text.
pub(crate) fn script(answers: Vec<String>) -> (SocketAddr, Seen) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let requests = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&requests);
    std::thread::spawn(move || {
        for answer in answers {
            let Ok((mut stream, _)) = listener.accept() else { return };
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let (mut head, mut line) = (String::new(), String::new());
            while reader.read_line(&mut line).unwrap() > 2 {
                head += &std::mem::take(&mut line).to_lowercase();
            }
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
            let mut body = vec![0; length.trim().parse().unwrap()];
            reader.read_exact(&mut body).unwrap();
            seen.lock().unwrap().push(head + std::str::from_utf8(&body).unwrap());
            stream.write_all(answer.as_bytes()).unwrap();
        }
    });
    (address, requests)
}

pub(crate) fn answer(status: &str, headers: &str, body: &Value) -> String {
    let body = body.to_string();
    format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {}\r\n{headers}\r\n{body}", body.len())
}

pub(crate) fn stream(events: &[Value]) -> String {
    let events: String = events.iter().map(|event| format!("data: {event}\n\n")).collect();
    format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: text/event-stream\r\n\r\n{events}")
}

pub(crate) fn word(text: &str, reason: Option<&str>) -> Value {
    json!({"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": reason}]})
}

#[test]
fn passing_failures_are_tried_again_before_the_answer_begins() {
    let full = answer("503 Busy", "", &json!({"error": {"message": "busy"}}));
    let choice = json!({"index": 0, "message": {"content": "ok"}, "finish_reason": "stop"});
    let (gateway, requests) =
        scripted(vec![full.clone(), full, answer("200 OK", "", &json!({"choices": [choice]}))]);
    let start = Instant::now();
    let (status, _, body) = gateway.ask("POST", "/v1/chat/completions", "", &chat("far/m", "x", false));
    assert_eq!((status, &json(&body)["choices"][0]["message"]["content"]), (200, &json!("ok")));
    assert!(start.elapsed() >= Duration::from_millis(500), "it did not pause");
    let requests = requests.lock().unwrap();
    assert_eq!(requests.len(), 3);
    assert!(requests[0].contains("authorization: bearer sk-hidden"), "{}", requests[0]);
}

#[test]
fn failures_reach_the_client_in_its_protocol() {
    let limit = answer("429 Slow", "retry-after: 33\r\n", &json!({"error": {"message": "slow down"}}));
    let key = answer("401 No", "", &json!({"error": {"message": "wrong key sk-hid***"}}));
    let long = json!({"error": {"message": "too many tokens", "code": "context_length_exceeded"}});
    let moved = "HTTP/1.1 307 Moved\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    let (gateway, requests) = scripted(vec![limit, key, answer("400 Bad", "", &long), moved.into()]);
    let ask = || gateway.ask("POST", "/v1/chat/completions", "", &chat("far/m", "x", false));
    let (status, head, body) = ask();
    assert!(status == 429 && head.contains("retry-after: 33") && body.contains("slow down"), "{head} {body}");
    let (status, _, body) = ask();
    assert!(
        status == 502 && body.contains("refuses the configured API key") && !body.contains("sk-"),
        "{body}"
    );
    let (status, _, body) = ask();
    assert_eq!((status, &json(&body)["error"]["code"]), (400, &json!("context_length_exceeded")), "{body}");
    let (status, _, body) = ask();
    assert!(status == 502, "{status} {body}");
    assert_eq!(requests.lock().unwrap().len(), 4, "none of them is tried again");
}

#[test]
fn stream_that_breaks_off_fails_and_is_not_begun_anew() {
    let (gateway, requests) =
        scripted(vec![stream(&[word("half", None)]), stream(&[word("x", Some("stop"))])]);
    let (status, _, body) = gateway.ask("POST", "/v1/chat/completions", "", &chat("far/m", "x", true));
    assert!(status == 200 && body.contains("half") && body.contains("\"error\""), "{body}");
    assert_eq!(requests.lock().unwrap().len(), 1);
}

#[test]
fn what_a_provider_does_not_do_is_refused() {
    let (gateway, requests) = scripted(Vec::new());
    for (path, body) in [
        ("/v1/embeddings", json!({"model": "far/m", "input": "x"})),
        ("/v1/rerank", json!({"model": "far/m", "query": "x", "documents": ["y"]})),
        ("/tokenize", json!({"model": "far/m", "prompt": "x"})),
    ] {
        let (status, _, body) = gateway.ask("POST", path, "", &body.to_string());
        assert!(status == 400 && body.contains("the provider far"), "{path}: {status} {body}");
    }
    assert_eq!(requests.lock().unwrap().len(), 0);
}

/// Routes of this machine's model `m`, and of `upstream`'s.
fn routed(upstream: &Gateway) -> Gateway {
    let routes = json!([
        {"model": "claude-*", "targets": ["m", "far/m"]},
        {"model": "best", "targets": ["absent", "crashing", "far/gone", "claude/m"]},
        {"model": "nothing", "targets": ["absent", "far/gone"]},
    ]);
    Gateway::with_routes(providers(upstream), routes)
}

#[test]
fn route_stays_here_while_the_local_model_answers() {
    let upstream = Gateway::start("sk-far");
    let gateway = routed(&upstream);
    let (status, _, body) = gateway.ask("POST", "/v1/messages", "", &chat("claude-opus-9", "count 2", false));
    assert_eq!((status, &json(&body)["content"][0]["text"]), (200, &json!("w0 w1 ")), "{body}");
    // The model's own worker is full, and the provider has room.
    let (status, _, body) = gateway.ask("POST", "/v1/messages", "", &chat("claude-opus-9", "refuse", false));
    assert!(status == 429 || status == 529, "both refuse this prompt: {status} {body}");
    assert_eq!(upstream.records(3).len(), 3, "only the refused request left the machine, with its retries");
}

#[test]
fn route_goes_on_until_a_model_answers() {
    let upstream = Gateway::start("sk-far");
    let gateway = routed(&upstream);
    let (status, _, body) = gateway.ask("POST", "/v1/chat/completions", "", &chat("best", "count 2", true));
    assert!(status == 200 && body.contains("w1 "), "{status} {body}");
    let (status, _, body) =
        gateway.ask("POST", "/v1/chat/completions", "", &chat("nothing", "count 2", false));
    assert!(status == 404 && body.contains("the provider far: "), "the last model's error counts: {body}");
}

#[test]
fn route_does_not_go_on_after_a_fault_of_the_request_or_in_its_output() {
    let upstream = Gateway::start("sk-far");
    let gateway = routed(&upstream);
    let wrong =
        json!({"model": "claude-1", "messages": [{"role": "user", "content": "x"}], "temperature": 9})
            .to_string();
    assert_eq!(gateway.ask("POST", "/v1/chat/completions", "", &wrong).0, 400);
    let (status, _, body) =
        gateway.ask("POST", "/v1/chat/completions", "", &chat("claude-1", "fail 2", true));
    assert!(status == 200 && body.contains("w1 ") && body.contains("on fire"), "{body}");
    // A lost worker's request continues at the local model.
    let (status, _, body) =
        gateway.ask("POST", "/v1/chat/completions", "", &chat("claude-1", "lose 3", true));
    assert!(status == 200 && body.contains("w2 ") && !body.contains("error"), "{body}");
    assert_eq!(gateway.ask("POST", "/v1/chat/completions", "", &chat("far/m", "count 1", false)).0, 200);
    assert_eq!(upstream.records(1).len(), 1, "no other request left the machine");
}

#[test]
fn routes_are_listed_with_their_first_models_owner() {
    let upstream = Gateway::start("sk-far");
    let routes =
        json!([{"model": "cloud", "targets": ["far/gone"]}, {"model": "home", "targets": ["m", "far/m"]}]);
    let gateway = Gateway::with_routes(providers(&upstream), routes);
    let body = json(&gateway.ask("GET", "/v1/models", "", "").2);
    let listed: Vec<_> =
        body["data"].as_array().unwrap().iter().map(|m| (&m["id"], &m["owned_by"])).collect();
    assert!(listed.contains(&(&json!("cloud"), &json!("far"))), "{listed:?}");
    assert!(listed.contains(&(&json!("home"), &json!("local"))), "{listed:?}");
    let one = json(&gateway.ask("GET", "/v1/models/cloud", "", "").2);
    assert_eq!((&one["id"], &one["context_length"]), (&json!("cloud"), &json!(4096)));
}

/// The answer's `model` and the headers about the model that answered.
fn answered_by(answer: &(u16, String, String)) -> [Option<String>; 4] {
    let (status, head, body) = answer;
    assert_eq!(*status, 200, "{body}");
    let header = |name: &str| {
        head.lines()
            .find_map(|line| line.strip_prefix(&format!("x-mlxd-{name}: ")))
            .map(|value| value.trim().to_owned())
    };
    let data = body.lines().find_map(|line| line.strip_prefix("data: ")).unwrap_or(body);
    let data = json(data);
    let model =
        data.pointer("/message/model").or_else(|| data.pointer("/response/model")).unwrap_or(&data["model"]);
    [model.as_str().map(str::to_owned), header("backend"), header("route"), header("fallback-reason")]
}

fn some(values: [&str; 4]) -> [Option<String>; 4] {
    values.map(|value| (!value.is_empty()).then(|| value.to_owned()))
}

#[test]
fn answers_say_which_model_answered() {
    let upstream = Gateway::start("sk-far");
    let gateway = routed(&upstream);
    for stream in [false, true] {
        for (model, expected) in [
            ("m", ["m", "local", "", ""]),
            ("far/m", ["far/m", "far", "", ""]),
            ("claude-1", ["m", "local", "claude-*", ""]),
            ("best", ["claude/m", "claude", "best", "not_found, unavailable, not_found"]),
        ] {
            for path in ["/v1/chat/completions", "/v1/messages"] {
                let answer = gateway.ask("POST", path, "", &chat(model, "count 1", stream));
                assert_eq!(answered_by(&answer), some(expected), "{path} {model} {stream}");
            }
            let request = json!({"model": model, "input": "count 1", "stream": stream}).to_string();
            let answer = gateway.ask("POST", "/v1/responses", "", &request);
            assert_eq!(answered_by(&answer), some(expected), "responses {model} {stream}");
        }
    }
    let request = json!({"model": "claude-1", "input": "x"}).to_string();
    let answer = gateway.ask("POST", "/v1/embeddings", "", &request);
    assert_eq!(answered_by(&answer), some(["m", "local", "claude-*", ""]));
}

/// The records that the admin API lists, once there are `count` of them.
fn listed(gateway: &Gateway, query: &str, count: usize) -> Vec<Value> {
    gateway.records(count);
    let (status, _, body) = gateway.ask("GET", &format!("/admin/v1/requests?{query}"), "", "");
    assert_eq!(status, 200, "{body}");
    json(&body)["requests"].as_array().unwrap().clone()
}

#[test]
fn request_log_says_which_model_answered() {
    let upstream = Gateway::start("sk-far");
    let gateway = routed(&upstream);
    for model in ["m", "quick", "best"] {
        gateway.ask(
            "POST",
            "/v1/chat/completions",
            "x-request-id: my-id\r\n",
            &chat(model, "count 2", false),
        );
    }
    let rows = listed(&gateway, "", 3);
    let part = |row: &Value| {
        ["model", "backend", "used_model", "route", "fallback_reason", "attempts", "status"]
            .map(|name| row[name].clone())
    };
    let reasons = "not_found, unavailable, not_found";
    let expected = [
        [
            json!("best"),
            json!("claude"),
            json!("m"),
            json!("best"),
            json!(reasons),
            json!(4),
            json!("finished"),
        ],
        [json!("quick"), json!("far"), json!("gone"), json!(null), json!(null), json!(1), json!("failed")],
        [json!("m"), json!("local"), json!(null), json!(null), json!(null), json!(1), json!("finished")],
    ];
    assert_eq!(rows.iter().map(part).collect::<Vec<_>>(), expected);
    assert_eq!(rows[0]["completion_tokens"], 9);
    assert_eq!(listed(&gateway, "backend=far", 3), rows[1..2]);
    assert_eq!(listed(&gateway, "model=m&status=finished", 3), [rows[0].clone(), rows[2].clone()]);
    let id = rows[1]["id"].as_str().unwrap().replace('/', "%2F");
    for (id, row) in [(&*id, &rows[1]), ("my-id", &rows[0])] {
        let mut one = json(&gateway.ask("GET", &format!("/admin/v1/requests/{id}"), "", "").2);
        for own in ["trace", "content"] {
            assert!(one.as_object_mut().unwrap().remove(own).is_some(), "only the detail has it: {one}");
        }
        assert_eq!(one, *row);
    }
}

#[test]
fn request_log_has_pages_and_refuses_wrong_queries() {
    let gateway = Gateway::start("");
    for _ in 0..3 {
        gateway.complete("count 1", false);
    }
    gateway.records(3);
    let page = |query: &str| json(&gateway.ask("GET", &format!("/admin/v1/requests?{query}"), "", "").2);
    let first = page("limit=2");
    assert_eq!(first["requests"].as_array().unwrap().len(), 2);
    let second = page(&format!("limit=2&after={}", first["next"].as_str().unwrap()));
    assert_eq!(second["requests"].as_array().unwrap().len(), 1);
    assert_eq!(second["next"], json!(null));
    for query in ["limit=0", "limit=501", "since=noon", "after=x", "status=done", "colour=red"] {
        let (status, head, body) = gateway.ask("GET", &format!("/admin/v1/requests?{query}"), "", "");
        assert_eq!(status, 400, "{query}: {body}");
        assert!(head.contains("application/problem+json"), "{head}");
    }
    assert_eq!(gateway.ask("GET", "/admin/v1/requests/nothing", "", "").0, 404);
}

#[test]
fn test_of_a_provider_says_what_is_wrong() {
    let upstream = Gateway::start("sk-far");
    let mut settings = providers(&upstream);
    settings["wrong"] = settings["far"].clone();
    settings["wrong"]["api_key"] = json!("sk-bad");
    settings["wrong"]["models"] = json!(["m"]);
    settings["silent"] = json!({"kind": "openai", "url": "http://127.0.0.1:9/v1", "models": ["m"]});
    let gateway = Gateway::with_providers(settings);
    let test = |name: &str| {
        let (status, _, body) = gateway.ask("POST", &format!("/admin/v1/providers/{name}/test"), "", "");
        (status, json(&body))
    };
    for (name, missing) in [("far", json!(["gone"])), ("claude", json!([]))] {
        let (status, found) = test(name);
        assert_eq!(
            (status, &found["ok"], &found["missing_models"]),
            (200, &json!(true), &missing),
            "{found}"
        );
        assert!(found["listed_models"].as_u64().unwrap() > 0, "{found}");
    }
    for (name, part) in [("wrong", "refuses the configured API key"), ("silent", "cannot be reached")] {
        let (status, found) = test(name);
        assert_eq!((status, &found["ok"]), (200, &json!(false)));
        assert!(found["problem"].as_str().unwrap().contains(part), "{found}");
    }
    assert_eq!(test("nothing").0, 404);
    assert_eq!(upstream.records(0).len(), 0);
}

#[test]
fn link_local_address_is_refused_unless_allowed() {
    for url in [
        "http://169.254.169.254/v1",
        "http://[fe80::1]/v1",
        "http://0xa9fea9fe/v1",
        "http://[::ffff:169.254.1.1]",
    ] {
        let settings = |allowed: bool| {
            let far = json!({"kind": "openai", "url": url, "models": ["m"], "allow_link_local": allowed});
            let providers = serde_json::from_value(json!({"far": far})).unwrap();
            GatewayConfig { providers, ..GatewayConfig::default() }
        };
        let start = |config: &GatewayConfig| ProviderPool::new(config).map(drop);
        let problem = start(&settings(false)).unwrap_err().to_string();
        assert!(
            problem.contains("providers.far.url") && problem.contains("allow_link_local"),
            "{url}: {problem}"
        );
        assert!(start(&settings(true)).is_ok(), "{url}");
    }
}
