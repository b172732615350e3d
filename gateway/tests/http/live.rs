//! Providers and routes of the database: made, changed and removed over HTTP while the gateway runs.

use std::io::Read;

use gateway::store::Db;
use gateway::store::routing_store::RoutingStore;
use ipc_proto::gateway::{GatewayConfig, MasterKey};
use serde_json::{Value, json};

use super::fakes::Gateway;
use super::{json as parse, wait_until};

const ADMIN: &str = "authorization: Bearer sk-admin\r\n";
/// The key of the upstream's provider.
const KEY: &str = "sk-far-0123456789abcdef";

fn order(upstream: &Gateway) -> Value {
    json!({
        "name": "far",
        "kind": "openai-compatible",
        "url": format!("http://{}/v1", upstream.address),
        "api_key": KEY,
        "models": ["m", {"id": "gone", "alias": "quick", "context": 4096}],
    })
}

/// Sends an order to the admin API.
fn admin(gateway: &Gateway, method: &str, path: &str, body: &Value) -> (u16, Value) {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let (status, _, body) = gateway.ask(method, &format!("/admin/v1/{path}"), ADMIN, &body);
    (status, parse(&body))
}

/// A gateway that got `upstream` as its provider `far` over HTTP.
fn in_front_of(upstream: &Gateway) -> Gateway {
    let gateway = Gateway::start("sk-admin");
    let (status, made) = admin(&gateway, "POST", "providers", &order(upstream));
    assert_eq!(status, 201, "{made}");
    gateway
}

fn chat(gateway: &Gateway, model: &str, prompt: &str) -> (u16, String) {
    let body = json!({"model": model, "messages": [{"role": "user", "content": prompt}]});
    let (status, _, body) = gateway.ask("POST", "/v1/chat/completions", ADMIN, &body.to_string());
    (status, body)
}

fn listed(gateway: &Gateway) -> String {
    gateway.ask("GET", "/v1/models", ADMIN, "").2
}

#[test]
fn made_provider_answers_at_once_until_it_is_removed() {
    let upstream = Gateway::start(KEY);
    let gateway = in_front_of(&upstream);
    let (status, body) = chat(&gateway, "far/m", "count 2");
    assert!(status == 200 && body.contains("w0 w1 "), "{status} {body}");
    assert!(listed(&gateway).contains("\"quick\""));
    let (status, shown) = admin(&gateway, "GET", "providers/far", &json!(null));
    assert_eq!((status, &shown["source"], &shown["last_four"]), (200, &json!("database"), &json!("cdef")));
    let (_, all) = admin(&gateway, "GET", "providers", &json!(null));
    assert_eq!(all["providers"], json!([shown]));
    assert_eq!(admin(&gateway, "DELETE", "providers/far", &json!(null)).0, 200);
    assert_eq!(chat(&gateway, "far/m", "count 2").0, 404);
    assert!(!listed(&gateway).contains("\"quick\""));
    for method in ["GET", "DELETE"] {
        assert_eq!(admin(&gateway, method, "providers/far", &json!(null)).0, 404, "{method}");
    }
    assert_eq!(upstream.records(1).len(), 1);
}

#[test]
fn replaced_provider_keeps_or_loses_its_key() {
    let upstream = Gateway::start(KEY);
    let gateway = in_front_of(&upstream);
    let mut settings = order(&upstream);
    settings.as_object_mut().unwrap().remove("api_key");
    let put = |settings: &Value| admin(&gateway, "PUT", "providers/far", settings);
    settings["models"] = json!([{"id": "m", "alias": "other"}]);
    let (status, shown) = put(&settings);
    assert_eq!((status, &shown["last_four"]), (200, &json!("cdef")), "{shown}");
    assert_eq!(chat(&gateway, "other", "count 1").0, 200);
    assert_eq!(chat(&gateway, "quick", "count 1").0, 404, "the model of this alias is no longer offered");
    settings["enabled"] = json!(false);
    assert_eq!(put(&settings).1["enabled"], false);
    assert_eq!(chat(&gateway, "other", "count 1").0, 404);
    settings["enabled"] = json!(true);
    settings["api_key"] = json!(null);
    let (_, shown) = put(&settings);
    assert_eq!((&shown["has_key"], &shown["last_four"]), (&json!(false), &json!(null)));
    let (status, body) = chat(&gateway, "other", "count 1");
    assert!(status == 502 && body.contains("refuses"), "the upstream wants a key: {status} {body}");
}

#[test]
fn request_that_runs_ends_well_though_its_provider_is_removed() {
    let upstream = Gateway::start(KEY);
    let gateway = in_front_of(&upstream);
    let body = json!({"model": "far/m", "stream": true, "messages": [{"role": "user", "content": "late 2"}]});
    let mut running = gateway.send("POST", "/v1/chat/completions", ADMIN, &body.to_string());
    wait_until("the upstream has the request", || !upstream.priorities().is_empty());
    assert_eq!(admin(&gateway, "DELETE", "providers/far", &json!(null)).0, 200);
    assert_eq!(chat(&gateway, "far/m", "count 1").0, 404);
    let mut text = String::new();
    running.read_to_string(&mut text).unwrap();
    assert!(text.contains("w0 ") && text.contains("data: [DONE]") && !text.contains("\"error\""), "{text}");
}

#[test]
fn key_is_in_no_answer_and_no_file() {
    let upstream = Gateway::start(KEY);
    let gateway = in_front_of(&upstream);
    let put = admin(&gateway, "PUT", "providers/far", &order(&upstream)).1.to_string();
    let wrong = chat(&gateway, "far/none", "count 1").1;
    chat(&gateway, "far/m", "count 1");
    chat(&gateway, "quick", "count 1");
    gateway.records(3);
    let mut answers = vec![put, wrong];
    for path in [
        "/admin/v1/providers",
        "/admin/v1/providers/far",
        "/admin/v1/routes",
        "/admin/v1/requests",
        "/admin/v1/pool",
        "/metrics",
        "/openapi.json",
        "/v1/models",
    ] {
        answers.push(gateway.ask("GET", path, ADMIN, "").2);
    }
    answers.push(gateway.ask("POST", "/admin/v1/providers/far/test", ADMIN, "").2);
    answers.push(gateway.ask("POST", "/admin/v1/routes/explain", ADMIN, r#"{"model": "far/m"}"#).2);
    let (_, _, conflict) = gateway.ask("POST", "/admin/v1/providers", ADMIN, &order(&upstream).to_string());
    answers.push(conflict);
    assert!(answers.iter().any(|answer| answer.contains("cdef")), "its end is shown");
    for answer in &answers {
        assert!(!answer.contains(KEY) && !answer.contains(&KEY[..12]), "{answer}");
    }
    let mut files = 0;
    for entry in std::fs::read_dir(gateway.home.path()).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_file() {
            let bytes = std::fs::read(entry.path()).unwrap();
            assert!(!bytes.windows(KEY.len()).any(|part| part == KEY.as_bytes()), "{:?}", entry.path());
            files += 1;
        }
    }
    assert!(files >= 2, "the scan sees the database and the master key");
}

#[test]
fn wrong_orders_are_refused_by_their_field() {
    let upstream = Gateway::start(KEY);
    let gateway = in_front_of(&upstream);
    let with = |field: &str, value: Value| {
        let mut order = order(&upstream);
        (order["name"], order[field]) = (json!("near"), value);
        order
    };
    for (wrong, field) in [
        (with("url", json!("ftp://x")), "url"),
        (with("url", json!("http://169.254.169.254/latest")), "url"),
        (with("kind", json!("other")), "kind"),
        (with("models", json!([])), "models"),
        (with("name", json!("a/b")), "name"),
        (with("api_key", json!("two\nlines")), "api_key"),
    ] {
        for path in ["providers", "test-provider"] {
            let (status, problem) = admin(&gateway, "POST", path, &wrong);
            assert_eq!((status, &problem["param"]), (400, &json!(field)), "{path} {wrong}: {problem}");
        }
    }
    for (taken, part) in
        [(order(&upstream), "\"far\" already"), (with("timeout_seconds", json!(9)), "\"quick\"")]
    {
        let (status, problem) = admin(&gateway, "POST", "providers", &taken);
        assert!(status == 409 && problem["detail"].as_str().unwrap().contains(part), "{problem}");
    }
    let (status, problem) = admin(&gateway, "PUT", "providers/far", &with("timeout_seconds", json!(9)));
    assert_eq!((status, &problem["param"]), (400, &json!("name")), "a name does not change: {problem}");
    let mut nameless = with("enabled", json!(true));
    nameless.as_object_mut().unwrap().remove("name");
    assert_eq!(admin(&gateway, "PUT", "providers/near", &nameless).0, 404);
}

#[test]
fn provider_of_the_settings_is_shown_and_not_changed() {
    let upstream = Gateway::start(KEY);
    let mut settings = order(&upstream);
    settings.as_object_mut().unwrap().remove("name");
    let gateway = Gateway::with(GatewayConfig {
        api_keys: ["sk-admin"].into_iter().collect(),
        providers: serde_json::from_value(json!({"far": settings})).unwrap(),
        ..GatewayConfig::default()
    });
    let (_, shown) = admin(&gateway, "GET", "providers/far", &json!(null));
    assert_eq!((&shown["source"], &shown["last_four"]), (&json!("config"), &json!("cdef")));
    for (method, path, body) in [
        ("POST", "providers", order(&upstream)),
        ("PUT", "providers/far", order(&upstream)),
        ("DELETE", "providers/far", json!(null)),
    ] {
        let (status, problem) = admin(&gateway, method, path, &body);
        let detail = problem["detail"].as_str().unwrap();
        assert!(status == 409 && detail.contains("config.toml"), "{method}: {problem}");
    }
    assert_eq!(chat(&gateway, "far/m", "count 1").0, 200);
}

#[test]
fn reader_sees_providers_and_changes_nothing() {
    let upstream = Gateway::start(KEY);
    let gateway = in_front_of(&upstream);
    let made = admin(&gateway, "POST", "keys", &json!({"name": "reader", "scopes": ["admin-read"]})).1;
    let reader = format!("x-api-key: {}\r\n", made["secret"].as_str().unwrap());
    let ask = |method: &str, path: &str, body: &Value| {
        gateway.ask(method, &format!("/admin/v1/{path}"), &reader, &body.to_string()).0
    };
    for path in ["providers", "providers/far", "routes"] {
        assert_eq!(ask("GET", path, &json!(null)), 200, "{path}");
    }
    for (method, path) in [
        ("POST", "providers"),
        ("PUT", "providers/far"),
        ("DELETE", "providers/far"),
        ("POST", "providers/far/test"),
        ("POST", "test-provider"),
        ("PUT", "routes"),
    ] {
        assert_eq!(ask(method, path, &order(&upstream)), 403, "{method} {path}");
    }
    assert_eq!(chat(&gateway, "far/m", "count 1").0, 200);
}

#[test]
fn test_before_making_lists_the_models_and_keeps_nothing() {
    let upstream = Gateway::start(KEY);
    let gateway = Gateway::start("sk-admin");
    let (status, found) = admin(&gateway, "POST", "test-provider", &order(&upstream));
    assert_eq!((status, &found["ok"], &found["missing_models"]), (200, &json!(true), &json!(["gone"])));
    let ids: Vec<_> = found["models"].as_array().unwrap().iter().map(|model| model["id"].clone()).collect();
    assert!(ids.contains(&json!("m")) && found["listed_models"] == ids.len(), "{found}");
    let mut wrong = order(&upstream);
    wrong["api_key"] = json!("sk-wrong");
    let (status, found) = admin(&gateway, "POST", "test-provider", &wrong);
    assert!(status == 200 && found["problem"].as_str().unwrap().contains("refuses"), "{found}");
    let (_, all) = admin(&gateway, "GET", "providers", &json!(null));
    assert_eq!((all, upstream.records(0).len()), (json!({"providers": []}), 0));
}

#[test]
fn replaced_routes_apply_at_once_and_have_a_tag() {
    let upstream = Gateway::start(KEY);
    let gateway = in_front_of(&upstream);
    let put = |tag: &str, routes: Value| {
        let headers = format!("{ADMIN}{tag}");
        let body = json!({"routes": routes}).to_string();
        let (status, head, body) = gateway.ask("PUT", "/admin/v1/routes", &headers, &body);
        (status, head, parse(&body))
    };
    assert_eq!(chat(&gateway, "best", "count 1").0, 404);
    let routes = json!([{"model": "best", "targets": ["absent", "far/m"]}]);
    let (status, head, shown) = put("if-match: \"0\"\r\n", routes.clone());
    assert!(status == 200 && head.contains("etag: \"1\""), "{status} {head}");
    assert_eq!((&shown["routes"], &shown["revision"]), (&routes, &json!(1)));
    assert_eq!(chat(&gateway, "best", "count 1").0, 200);
    let (status, _, problem) = put("if-match: \"0\"\r\n", json!([]));
    assert!(status == 412 && problem["detail"].as_str().unwrap().contains("revision is 1"), "{problem}");
    assert_eq!(put("if-match: x\r\n", json!([])).0, 400);
    for (wrong, param) in [
        (json!([{"model": "a", "targets": ["m"]}, {"model": "b"}]), "routes[1].targets"),
        (json!([{"model": "a*b", "targets": ["m"]}]), "routes[0].model"),
        (json!([{"model_regex": "a(", "targets": ["m"]}]), "routes[0].model_regex"),
        (json!([{"has_tools": 3, "targets": ["m"]}]), "routes[0].has_tools"),
    ] {
        let (status, _, problem) = put("", wrong);
        assert_eq!((status, &problem["param"]), (400, &json!(param)), "{problem}");
        assert!(problem["detail"].as_str().unwrap().contains("routes["), "{problem}");
    }
    assert_eq!(chat(&gateway, "best", "count 1").0, 200, "a refused list changes nothing");
    assert_eq!(put("", json!([])).0, 200);
    assert_eq!(chat(&gateway, "best", "count 1").0, 404);
}

#[test]
fn request_log_has_the_cost_by_the_price_of_the_day() {
    let upstream = Gateway::start(KEY);
    let gateway = in_front_of(&upstream);
    let mut settings = order(&upstream);
    let prices =
        json!([{"input": 1000, "output": 1000}, {"input": 2.5, "output": 10, "since": "2026-01-01"}]);
    settings["models"] = json!([{"id": "m", "price": prices}]);
    let (status, shown) = admin(&gateway, "PUT", "providers/far", &settings);
    assert_eq!((status, &shown["models"][0]["price"][1]["since"]), (200, &json!("2026-01-01")), "{shown}");
    assert_eq!(chat(&gateway, "far/m", "count 2").0, 200);
    assert_eq!(chat(&gateway, "m", "count 2").0, 200);
    gateway.records(2);
    let (_, log) = admin(&gateway, "GET", "requests", &json!(null));
    let [local, far] = &log["requests"].as_array().unwrap()[..] else { panic!("{log}") };
    let tokens = |field: &str| far[field].as_f64().unwrap();
    let expected = (tokens("prompt_tokens") * 2.5 + tokens("completion_tokens") * 10.0) / 1e6;
    assert!((far["cost_usd"].as_f64().unwrap() - expected).abs() < 1e-9 && expected > 0.0, "{far}");
    assert_eq!((&far["price_since"], &local["cost_usd"]), (&json!("2026-01-01"), &json!(null)));
    settings["models"] = json!([{"id": "m", "price": {"input": -1, "output": 1}}]);
    assert_eq!(admin(&gateway, "PUT", "providers/far", &settings).0, 400);
}

/// `mlxd provider` changes the database of a running server.
#[test]
fn provider_of_another_process_is_noticed() {
    let upstream = Gateway::start(KEY);
    let gateway = Gateway::start("sk-admin");
    let home = gateway.home.path().to_owned();
    let mut settings = order(&upstream);
    settings.as_object_mut().unwrap().remove("name");
    gateway.block_on(async {
        let other = RoutingStore::new(Db::new(&home), &home, &GatewayConfig::default(), |_| {});
        other.add("far", &serde_json::from_value(settings).unwrap(), true).await.unwrap();
    });
    wait_until("the provider answers", || chat(&gateway, "far/m", "count 1").0 == 200);
}

#[test]
fn wrong_master_key_is_named_and_the_rest_serves() {
    let upstream = Gateway::start(KEY);
    let gateway = Gateway::with(GatewayConfig {
        api_keys: ["sk-admin"].into_iter().collect(),
        master_key: Some(MasterKey::new([1; 32])),
        routes: serde_json::from_value(json!([{"model": "best", "targets": ["far/m", "m"]}])).unwrap(),
        ..GatewayConfig::default()
    });
    let home = gateway.home.path().to_owned();
    let mut settings = order(&upstream);
    settings.as_object_mut().unwrap().remove("name");
    gateway.block_on(async {
        // Another process seals by the key of the file.
        let other = RoutingStore::new(Db::new(&home), &home, &GatewayConfig::default(), |_| {});
        other.add("far", &serde_json::from_value(settings).unwrap(), true).await.unwrap();
    });
    wait_until("the provider is noticed", || listed(&gateway).contains("far/m"));
    let (status, body) = chat(&gateway, "far/m", "count 1");
    assert!(status == 503 && body.contains("sealed by the master key"), "{status} {body}");
    let (_, shown) = admin(&gateway, "GET", "providers/far", &json!(null));
    let problem = shown["problem"].as_str().unwrap();
    assert!(
        problem.contains("sealed by the master key") && problem.contains("MLXD_MASTER_KEY has"),
        "{problem}"
    );
    let (status, test) = admin(&gateway, "POST", "providers/far/test", &json!(null));
    assert_eq!((status, &test["ok"]), (200, &json!(false)));
    for model in ["m", "best"] {
        assert_eq!(chat(&gateway, model, "count 1").0, 200, "{model}");
    }
    // The key is set again, sealed by the right master key.
    let (status, _) = admin(&gateway, "PUT", "providers/far", &order(&upstream));
    assert_eq!((status, chat(&gateway, "far/m", "count 1").0), (200, 200));
}
