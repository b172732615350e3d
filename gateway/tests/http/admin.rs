//! The admin API: state, commands and errors.

use std::io::Read;

use serde_json::Value;

use crate::fakes::Gateway;
use crate::json;

fn post(gateway: &Gateway, path: &str, body: &str) -> (u16, String, Value) {
    let (status, head, body) = gateway.ask("POST", path, "content-type: application/json\r\n", body);
    (status, head, json(&body))
}

#[test]
fn pool_and_models_return_their_state() {
    let gateway = Gateway::start("");
    let (status, _, body) = gateway.ask("GET", "/admin/v1/pool", "", "");
    let pool = json(&body);
    assert_eq!(status, 200);
    assert_eq!(pool["pressure"], "normal");
    assert_eq!(pool["recoveries"], 0);
    let (_, _, body) = gateway.ask("GET", "/admin/v1/models", "", "");
    let model = &json(&body)["models"][1];
    assert_eq!(model["details"]["modality"], "text");
    assert_eq!(model["details"]["supported"], true);
    assert_eq!(json(&body)["models"][0]["details"]["supported"], false);
    assert_eq!(model["id"], "m");
    assert_eq!(model["state"], "ready");
    assert_eq!(model["file_bytes"], 9);
    let (_, _, body) = gateway.ask("GET", "/v1/models", "", "");
    let model = &json(&body)["data"][0];
    assert_eq!(json(&body)["data"].as_array().unwrap().len(), 2);
    assert_eq!(model["id"], "m");
    assert_eq!(model["object"], "model");
    assert_eq!(model["state"], "ready");
    assert!(
        model["details"]["capabilities"].is_object() && model["details"].get("folder").is_none(),
        "{model}"
    );
}

#[test]
fn commands_return_the_model() {
    let gateway = Gateway::start("");
    for (order, body) in [
        ("load", ""),
        ("load", r#"{"keep_alive": "5m"}"#),
        ("unload", r#"{"force": true}"#),
        ("restart", "{}"),
        ("pin", r#"{"pinned": false}"#),
    ] {
        let (status, _, answer) = post(&gateway, &format!("/admin/v1/models/m/{order}"), body);
        assert_eq!(status, 200, "{order}: {answer}");
        assert_eq!(answer["id"], "m", "{order}: {answer}");
    }
}

#[test]
fn removal_is_shown_before_it_is_done() {
    let gateway = Gateway::start("");
    for (method, path) in [("GET", "/admin/v1/models/m/removal"), ("DELETE", "/admin/v1/models/m")] {
        let (status, _, body) = gateway.ask(method, path, "", "");
        assert_eq!(status, 200, "{body}");
        let removed = json(&body);
        assert_eq!((&removed["model"], &removed["freed_bytes"]), (&"m".into(), &9.into()), "{method}");
        assert_eq!(
            gateway.ask(method, &path.replace("/models/m", "/models/unknown"), "", "").0,
            404,
            "{method}"
        );
    }
}

#[test]
fn log_is_read_from_a_line_on() {
    let gateway = Gateway::start("");
    let read = |query: &str| {
        let (status, _, body) = gateway.ask("GET", &format!("/admin/v1/logs{query}"), "", "");
        assert_eq!(status, 200, "{body}");
        json(&body)
    };
    let all = read("");
    assert_eq!((all["lines"].as_array().unwrap().len(), &all["since_ms"]), (3, &5.into()));
    let rest = read("?after=2&limit=9");
    assert_eq!(rest["lines"].as_array().unwrap().len(), 1);
    let line = &rest["lines"][0];
    assert_eq!(
        (&line["number"], &line["level"], &line["text"]),
        (&3.into(), &"INFO".into(), &"mlxd: line 3".into())
    );
    for (query, name) in [("?limit=0", "limit"), ("?limit=5001", "limit"), ("?after=x", "after")] {
        let (status, _, body) = gateway.ask("GET", &format!("/admin/v1/logs{query}"), "", "");
        assert!(status == 400 && body.contains(name), "{query}: {status} {body}");
    }
}

#[test]
fn settings_can_be_read_and_replaced() {
    let gateway = Gateway::start("");
    let path = "/admin/v1/models/m/settings";
    let checked = |status, body: &str| {
        assert_eq!(status, 200, "{body}");
        json(body)
    };
    let (status, _, body) = gateway.ask("GET", path, "", "");
    assert_eq!(checked(status, &body)["replicas"], 1);
    let (status, _, body) = gateway.ask("PUT", path, "", r#"{"context": 512, "aliases": ["a/b"]}"#);
    assert_eq!(checked(status, &body)["context"], 512);
    let (status, _, body) = gateway.ask("GET", path, "", "");
    assert_eq!(checked(status, &body)["aliases"][0], "a/b");
    for (path, wrong, expected) in [
        (path, r#"{"contxt": 5}"#, 400),
        (path, r#"{"replicas": 0}"#, 400),
        ("/admin/v1/models/unknown/settings", "{}", 404),
        ("/admin/v1/models/m", "{}", 405),
    ] {
        let (status, head, body) = gateway.ask("PUT", path, "", wrong);
        assert_eq!(status, expected, "{path} {wrong}: {body}");
        assert!(head.contains("application/problem+json"), "{head}");
    }
    assert_eq!(gateway.ask("GET", "/admin/v1/models/unknown/settings", "", "").0, 404);
}

#[test]
fn model_id_is_one_percent_encoded_segment() {
    let gateway = Gateway::start("");
    let (status, _, body) =
        gateway.ask("PUT", "/admin/v1/models/m/settings", "", r#"{"aliases": ["a/settings"]}"#);
    assert_eq!(status, 200, "{body}");
    let (status, _, body) = gateway.ask("GET", "/admin/v1/models/a%2Fsettings", "", "");
    assert_eq!(status, 200);
    assert_eq!(json(&body)["id"], "m");
    let (status, _, body) = gateway.ask("GET", "/admin/v1/models/a%2Fsettings/settings", "", "");
    assert_eq!(status, 200);
    assert_eq!(json(&body)["aliases"][0], "a/settings");
    // Two segments are the settings of another model.
    assert_eq!(gateway.ask("GET", "/admin/v1/models/a/settings", "", "").0, 404);
}

#[test]
fn metrics_count_ended_requests_and_need_a_key() {
    let gateway = Gateway::start("");
    gateway.complete("count 3", false);
    gateway.complete("refuse", false);
    gateway.records(2);
    let (status, head, text) = gateway.ask("GET", "/metrics", "", "");
    assert!(status == 200 && head.contains("text/plain; version=0.0.4"), "{head}");
    for line in [
        "mlxd_requests_total{endpoint=\"/v1/completions\",outcome=\"finished\"} 1",
        "mlxd_requests_total{endpoint=\"/v1/completions\",outcome=\"failed\"} 1",
        "mlxd_tokens_total{kind=\"prompt\"} 3",
        "mlxd_tokens_total{kind=\"completion\"} 9",
        "mlxd_recoveries_total 0",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
    assert_eq!(Gateway::start("sk-one").ask("GET", "/metrics", "", "").0, 401);
}

#[test]
fn errors_are_problem_documents() {
    let gateway = Gateway::start("sk-one");
    let (status, head, body) = gateway.ask("GET", "/admin/v1/pool", "", "");
    assert!(status == 401 && head.contains("application/problem+json"), "{head}");
    assert_eq!(json(&body)["title"], "Unauthorized");
    assert_eq!(json(&body)["status"], 401);
    let gateway = Gateway::start("");
    for (path, body, status) in [
        ("/admin/v1/models/unknown/load", "", 404),
        ("/admin/v1/models/a/b/unload", "", 404),
        ("/admin/v1/models/m/explode", "", 404),
        ("/admin/v1/models/m", "", 405),
        ("/admin/v1/models/m/load", r#"{"keep_alive": "soon"}"#, 400),
        ("/admin/v1/models/m/unload", r#"{"forced": true}"#, 400),
        ("/admin/v1/models/m/pin", "{", 400),
        ("/admin/v1/nothing", "", 404),
        ("/admin/v1/pool", "", 405),
    ] {
        let (found, head, problem) = post(&gateway, path, body);
        assert_eq!(found, status, "{path}: {problem}");
        assert!(head.contains("application/problem+json"), "{path}: {head}");
        assert!(problem["detail"].is_string() && problem["status"] == status, "{path}: {problem}");
        assert!(problem["request_id"].as_str().is_some_and(|id| !id.is_empty()));
    }
}

#[test]
fn event_stream_begins_with_all_models_and_ends_with_the_server() {
    let gateway = Gateway::start("");
    let mut stream = gateway.send("GET", "/admin/v1/events", "", "");
    let mut text = String::new();
    let mut piece = [0; 4096];
    while !text.contains("event: models") {
        let length = stream.read(&mut piece).unwrap();
        assert!(length > 0, "{text}");
        text.push_str(&String::from_utf8_lossy(&piece[..length]));
    }
    gateway.watch.end();
    let mut rest = String::new();
    stream.read_to_string(&mut rest).unwrap();
    assert!(text.contains(r#""id":"m""#) || rest.contains(r#""id":"m""#), "{text}{rest}");
}

#[test]
fn settings_of_the_server_change_by_name_and_revision() {
    let gateway = Gateway::start("");
    let path = "/admin/v1/settings";
    let patch = |headers: &str, body: &str| {
        let headers = format!("content-type: application/json\r\n{headers}");
        let (status, head, body) = gateway.ask("PATCH", path, &headers, body);
        (status, head, json(&body))
    };
    let (status, head, body) = patch("", r#"{"body_seconds": 7}"#);
    assert!(status == 200 && head.contains("etag: \"x\""), "{head}");
    let setting = &body["settings"][0];
    assert_eq!(
        (&setting["name"], &setting["value"], &setting["default"]),
        (&"body_seconds".into(), &7.into(), &30.into())
    );
    assert_eq!((&setting["source"], &setting["effect"]), (&"file".into(), &"at_once".into()));
    assert_eq!((&body["has_api_keys"], &body["revision"]), (&false.into(), &"x".into()));
    assert_eq!(json(&gateway.ask("GET", path, "", "").2), body);
    let (status, _, problem) = patch("if-match: \"y\"\r\n", r#"{"body_seconds": 8}"#);
    assert!(status == 412 && problem["detail"].as_str().unwrap().contains("has changed"), "{problem}");
    assert_eq!(patch("if-match: \"x\"\r\n", r#"{"body_seconds": 8}"#).0, 200);
    let (status, _, problem) = patch("", r#"{"api_keys": ["sk-hidden"]}"#);
    assert!(
        status == 400 && problem["param"] == "api_keys" && !problem.to_string().contains("hidden"),
        "{problem}"
    );
    for body in ["{}", "[]", "{"] {
        assert_eq!(patch("", body).0, 400, "{body}");
    }
}
