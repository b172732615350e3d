//! Limits of providers: a provider that has reached one is passed over, or refuses in the client's protocol.

use serde_json::{Value, json};

use super::fakes::Gateway;
use super::providers::{answer, script};
use super::{json as parse, wait_until};

/// A gateway with the provider `far`, which answers `count` times and has these limits, and a route from `any` to it and then `m`.
fn gateway(count: usize, limits: &Value) -> Gateway {
    let choice = json!({"index": 0, "message": {"content": "far"}, "finish_reason": "stop"});
    let usage = json!({"prompt_tokens": 1000, "completion_tokens": 500});
    let whole = answer("200 OK", "", &json!({"choices": [choice], "usage": usage}));
    let (address, _) = script(vec![whole; count]);
    let price = json!({"input": 1000, "output": 2000});
    let far = json!({"kind": "openai", "url": format!("http://{address}/v1"), "models": [{"id": "m", "price": price}],
        "limits": limits});
    let route = json!({"name": "r", "model": "any", "targets": ["far/m", "m"]});
    Gateway::with_routes(json!({"far": far}), json!([route]))
}

/// The status, head and body of a chat's answer.
fn chat(gateway: &Gateway, path: &str, model: &str) -> (u16, String, Value) {
    chat_with(gateway, "", path, model)
}

/// As [`chat`], with the header of a key.
fn chat_with(gateway: &Gateway, key: &str, path: &str, model: &str) -> (u16, String, Value) {
    let messages = json!([{"role": "user", "content": "count 1"}]);
    let body = json!({"model": model, "max_tokens": 9, "messages": messages});
    let (status, head, body) =
        gateway.ask("POST", path, &format!("x-request-id: one\r\n{key}"), &body.to_string());
    (status, head, parse(&body))
}

#[test]
fn route_passes_over_a_provider_at_its_limit() {
    let gateway = gateway(1, &json!({"requests_per_minute": 1}));
    let (status, head, _) = chat(&gateway, "/v1/chat/completions", "any");
    assert!(status == 200 && head.contains("x-mlxd-backend: far"), "{head}");
    let (status, head, body) = chat(&gateway, "/v1/chat/completions", "any");
    assert!(status == 200 && head.contains("x-mlxd-backend: local"), "{head}");
    assert!(head.contains("x-mlxd-fallback-reason: provider_limit"), "{head}");
    assert_eq!(body["model"], "m");
    gateway.records(2);
    let detail = parse(&gateway.ask("GET", "/admin/v1/requests/one", "", "").2);
    assert_eq!(detail["trace"]["reasons"], json!(["provider_limit"]));
}

#[test]
fn client_of_a_provider_at_its_limit_is_told_when_to_come_back() {
    let gateway = gateway(1, &json!({"tokens_per_minute": 1200}));
    assert_eq!(chat(&gateway, "/v1/chat/completions", "far/m").0, 200);
    for (path, pointer, kind) in [
        ("/v1/chat/completions", "/error/code", "rate_limit_exceeded"),
        ("/v1/messages", "/error/type", "rate_limit_error"),
    ] {
        let (status, head, body) = chat(&gateway, path, "far/m");
        assert_eq!((status, body.pointer(pointer)), (429, Some(&json!(kind))), "{body}");
        // 1,500 tokens are used, and about one is asked for: 301 at 20 a second.
        assert!(head.contains("retry-after: 16") || head.contains("retry-after: 15"), "{head}");
        assert!(body["error"]["message"].as_str().unwrap().contains("1200 tokens a minute"), "{body}");
    }
}

#[test]
fn cost_counts_by_the_prices_of_the_models() {
    // A request costs 2 dollars.
    let gateway = gateway(2, &json!({"cost_per_day": 3.5}));
    for status in [200, 200, 429] {
        let (got, _, body) = chat(&gateway, "/v1/chat/completions", "far/m");
        assert_eq!(got, status, "{body}");
    }
    wait_until("the cost is in the log", || {
        let all = parse(&gateway.ask("GET", "/admin/v1/requests?backend=far", "", "").2);
        all["requests"].as_array().unwrap().iter().filter(|one| one["cost_usd"] == 2.0).count() == 2
    });
}

#[test]
fn limits_stay_in_a_replacement_without_them() {
    let gateway = Gateway::start("");
    let body = |more: Value| {
        let mut body = json!({"kind": "openai", "url": "http://far.example/v1", "models": ["m"]});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body.to_string()
    };
    let limits = json!({"requests_per_minute": 7});
    let made = gateway.ask(
        "POST",
        "/admin/v1/providers",
        "",
        &body(json!({"name": "far", "api_key": null, "limits": limits})),
    );
    assert_eq!((made.0, &parse(&made.2)["limits"]), (201, &limits), "{}", made.2);
    let replace = |more: Value| {
        let (status, _, text) = gateway.ask("PUT", "/admin/v1/providers/far", "", &body(more));
        assert_eq!(status, 200, "{text}");
        parse(&text)["limits"].take()
    };
    assert_eq!(replace(json!({"timeout_seconds": 9})), limits);
    assert_eq!(replace(json!({"limits": {}})), json!({}));
    let (status, _, text) =
        gateway.ask("PUT", "/admin/v1/providers/far", "", &body(json!({"limits": {"cost_per_day": 1}})));
    assert!(status == 400 && parse(&text)["param"] == "limits", "{text}");
}

#[test]
fn key_at_its_limit_of_cost_is_served_by_local_models_only() {
    // A request costs 2 dollars.
    let gateway = gateway(4, &json!({}));
    let make_as = |maker: &str, fields: Value| {
        let (status, _, body) = gateway.ask("POST", "/admin/v1/keys", maker, &fields.to_string());
        assert_eq!(status, 201, "{body}");
        (format!("authorization: Bearer {}\r\n", parse(&body)["secret"].as_str().unwrap()), parse(&body))
    };
    let (admin, _) = make_as("", json!({"name": "admin", "scopes": ["admin", "inference"]}));
    let make = |fields: Value| make_as(&admin, fields);
    let (key, made) = make(json!({"name": "a", "cost_per_day": 3.5, "cost_per_month": 60}));
    assert_eq!((&made["cost_per_day"], &made["cost_per_month"]), (&json!(3.5), &json!(60.0)));
    for _ in 0..2 {
        assert_eq!(chat_with(&gateway, &key, "/v1/chat/completions", "far/m").0, 200);
    }
    let (status, head, body) = chat_with(&gateway, &key, "/v1/chat/completions", "far/m");
    let message = body["error"]["message"].as_str().unwrap();
    assert!(status == 429 && message.contains("limit of $3.5 a day (UTC)"), "{body}");
    assert!(head.contains("retry-after"), "{head}");
    let (status, head, _) = chat_with(&gateway, &key, "/v1/chat/completions", "any");
    assert!(status == 200 && head.contains("x-mlxd-fallback-reason: provider_limit"), "{head}");
    assert_eq!(chat_with(&gateway, &key, "/v1/messages", "m").0, 200);
    let (other, _) = make(json!({"name": "b", "cost_per_month": 1}));
    assert_eq!(
        chat_with(&gateway, &other, "/v1/chat/completions", "far/m").0,
        200,
        "one that is alone passes"
    );
    let refused = gateway.ask("POST", "/admin/v1/keys", &admin, r#"{"name": "c", "cost_per_day": 0}"#);
    assert!(refused.0 == 400 && refused.2.contains("more than 0"), "{}", refused.2);
}

#[test]
fn key_with_a_limit_of_cost_gets_no_model_without_a_price() {
    let (address, _) = script(Vec::new());
    let far = json!({"kind": "openai", "url": format!("http://{address}/v1"), "models": ["m"]});
    let gateway = Gateway::with_routes(json!({"far": far}), json!([]));
    let fields = json!({"name": "a", "cost_per_day": 1}).to_string();
    let (status, _, body) = gateway.ask("POST", "/admin/v1/keys", "", &fields);
    assert_eq!(status, 201, "{body}");
    let key = format!("authorization: Bearer {}\r\n", parse(&body)["secret"].as_str().unwrap());
    let (status, _, body) = chat_with(&gateway, &key, "/v1/chat/completions", "far/m");
    assert!(status == 404 && body["error"]["message"].as_str().unwrap().contains("no price"), "{body}");
}

#[test]
fn provider_that_falls_silent_is_given_up() {
    // It takes connections and sends one event of an answer to the second.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let silent = listener.accept().unwrap();
        let (mut begun, _) = listener.accept().unwrap();
        std::io::Read::read(&mut begun, &mut [0; 4096]).unwrap();
        let chunk = json!({"choices": [{"index": 0, "delta": {"content": "be"}}]});
        let answer = super::providers::stream(&[chunk]).replace("connection: close\r\n", "");
        std::io::Write::write_all(&mut begun, answer.as_bytes()).unwrap();
        std::thread::sleep(std::time::Duration::from_secs(60));
        drop(silent);
    });
    let far =
        json!({"kind": "openai", "url": format!("http://{address}/v1"), "models": ["m"], "idle_seconds": 1});
    let gateway = Gateway::with_routes(json!({"far": far}), json!([]));
    let began = std::time::Instant::now();
    let (status, _, body) = chat(&gateway, "/v1/messages", "far/m");
    let message = body["error"]["message"].as_str().unwrap();
    assert!(status == 504 && message.contains("sent nothing for 1 s"), "{status} {body}");
    let messages = json!([{"role": "user", "content": "x"}]);
    let request = json!({"model": "far/m", "messages": messages, "stream": true}).to_string();
    let (status, _, body) = gateway.ask("POST", "/v1/chat/completions", "", &request);
    assert!(status == 200 && body.contains("\"be\"") && body.contains("sent nothing for 1 s"), "{body}");
    assert!(began.elapsed() < std::time::Duration::from_secs(20), "{:?}", began.elapsed());
}
