//! Rules that choose the models of a request, their traces, and the way from one model to the next.

use std::time::{Duration, Instant};

use ipc_proto::gateway::GatewayConfig;
use serde_json::{Value, json};

use super::fakes::Gateway;
use super::providers::{Seen, answer, script, stream, word};
use super::{json, text};

/// A gateway with these routes, whose provider `far` answers as the script does.
fn gateway(routes: Value, answers: Vec<String>) -> (Gateway, Seen) {
    let (address, seen) = script(answers);
    let provider = json!({"kind": "openai", "url": format!("http://{address}"), "api_key": "sk-hidden", "models": ["m"]});
    (Gateway::with_routes(json!({"far": provider}), routes), seen)
}

fn far_answer() -> String {
    let message = json!({"role": "assistant", "content": "far away"});
    let body = json!({"model": "m", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}], "usage": {}});
    answer("200 OK", "", &body)
}

pub(super) fn chat(model: &str, prompt: &str) -> Value {
    json!({"model": model, "messages": [{"role": "user", "content": prompt}]})
}

pub(super) fn ask(gateway: &Gateway, headers: &str, body: &Value) -> (u16, String, String) {
    gateway.ask("POST", "/v1/chat/completions", headers, &body.to_string())
}

pub(super) fn route_of((status, head, body): &(u16, String, String)) -> String {
    assert_eq!(*status, 200, "{body}");
    head.lines().find_map(|line| line.strip_prefix("x-mlxd-route: ")).unwrap_or_default().trim().to_owned()
}

fn rules() -> Value {
    json!([
        {"name": "images", "has_images": true, "targets": ["far/m"]},
        {"name": "tools", "model": "claude-*", "has_tools": true, "targets": ["m"]},
        {"name": "long", "model": "claude-*", "prompt_tokens": {"min": 100}, "targets": ["m"]},
        {"name": "team", "model_regex": "^claude", "headers": {"X-Team": "blue"}, "targets": ["m"]},
        {"name": "project", "model": "claude-*", "metadata": {"project": "x"}, "targets": ["m"]},
        {"name": "loaded", "model": "claude-*", "local": {"model": "m", "state": "ready"}, "targets": ["m"]},
    ])
}

#[test]
fn each_condition_chooses_its_route() {
    let (gateway, seen) = gateway(rules(), vec![far_answer()]);
    let plain = chat("claude-1", "count 1");
    let with = |field: &str, value: Value| {
        let mut body = plain.clone();
        body[field] = value;
        body
    };
    let tool = json!([{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]);
    let long = [json!({"role": "system", "content": "a".repeat(500)}), plain["messages"][0].clone()];
    assert_eq!(route_of(&ask(&gateway, "", &plain)), "loaded");
    assert_eq!(route_of(&ask(&gateway, "", &with("tools", tool))), "tools");
    assert_eq!(route_of(&ask(&gateway, "", &with("messages", json!(long)))), "long");
    assert_eq!(route_of(&ask(&gateway, "x-team: blue\r\n", &plain)), "team");
    assert_eq!(route_of(&ask(&gateway, "x-team: red\r\n", &plain)), "loaded");
    assert_eq!(route_of(&ask(&gateway, "", &with("metadata", json!({"project": "x"})))), "project");
    assert_eq!(route_of(&ask(&gateway, "", &chat("m", "count 1"))), "", "no route takes this name");
    assert_eq!(seen.lock().unwrap().len(), 0);
    let image = json!([{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,"}}]}]);
    assert_eq!(route_of(&ask(&gateway, "", &with("messages", image))), "images");
    assert_eq!(seen.lock().unwrap().len(), 1);
}

#[test]
fn trace_says_why_each_route_did_not_apply() {
    let (gateway, _) = gateway(
        json!([{"model": "claude-*", "headers": {"x-team": "blue"}, "targets": ["m"]},
            {"name": "rest", "targets": ["absent", "m"]}]),
        Vec::new(),
    );
    ask(&gateway, "x-request-id: mine\r\nx-team: secret-team\r\n", &chat("claude-1", "count 1"));
    gateway.records(1);
    let row = json(&gateway.ask("GET", "/admin/v1/requests/mine", "", "").2);
    let expected = json!({
        "route": "rest", "targets": ["absent", "m"], "reasons": ["not_found"],
        "steps": [{"route": "claude-*", "matched": false, "because": "the header x-team differs"},
            {"route": "rest", "matched": true, "because": null}],
    });
    assert_eq!(row["trace"], expected);
    assert_eq!((&row["route"], &row["fallback_reason"]), (&json!("rest"), &json!("not_found")));
    assert!(!row.to_string().contains("secret-team"));
}

#[test]
fn explanation_chooses_as_a_request_would_and_asks_no_model() {
    let (gateway, seen) = gateway(rules(), Vec::new());
    let explain = |question: Value| {
        let (status, _, body) = gateway.ask("POST", "/admin/v1/routes/explain", "", &question.to_string());
        (status, json(&body))
    };
    for (more, route) in [
        (json!({"has_images": true}), json!("images")),
        (json!({"has_tools": true}), json!("tools")),
        (json!({"prompt_tokens": 100}), json!("long")),
        (json!({"headers": {"X-Team": "blue"}, "prompt_tokens": 1}), json!("team")),
        (json!({"metadata": {"project": "x"}, "prompt_tokens": 1}), json!("project")),
        (json!({"prompt_tokens": 1}), json!("loaded")),
    ] {
        let mut question = json!({"model": "claude-1"});
        question.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let (status, decision) = explain(question.clone());
        assert_eq!((status, &decision["route"]), (200, &route), "{question}: {decision}");
        assert_eq!(decision["steps"].as_array().unwrap().last().unwrap()["matched"], true);
    }
    let (_, none) = explain(json!({"model": "m"}));
    assert_eq!((&none["route"], &none["targets"]), (&json!(null), &json!([])));
    for (wrong, field) in [
        (json!({"model": "m", "time": "25:00"}), "time"),
        (json!({"model": "m", "headers": {"a b": "c"}}), "headers"),
        (json!({"model": "m", "colour": 1}), "colour"),
        (json!({}), "model"),
    ] {
        let (status, problem) = explain(wrong);
        assert!(status == 400 && problem["detail"].as_str().unwrap().contains(field), "{problem}");
    }
    assert_eq!((seen.lock().unwrap().len(), gateway.asked()), (0, 0));
}

#[test]
fn split_is_the_same_for_the_same_request_id() {
    let shares = json!([{"model": "m", "weight": 1}, {"model": "absent", "weight": 1}]);
    let (gateway, _) = gateway(json!([{"model": "mixed", "split": shares, "targets": ["m"]}]), Vec::new());
    let attempts = |id: &str| {
        let answer = ask(&gateway, &format!("x-request-id: {id}\r\n"), &chat("mixed", "count 1"));
        assert_eq!(route_of(&answer), "mixed");
        answer.1.contains("x-mlxd-fallback-reason: not_found")
    };
    let first: Vec<bool> = (0..12).map(|at| attempts(&format!("id-{at}"))).collect();
    let again: Vec<bool> = (0..12).map(|at| attempts(&format!("id-{at}"))).collect();
    assert_eq!(first, again);
    assert!(first.contains(&true) && first.contains(&false), "both models are asked: {first:?}");
}

#[test]
fn local_only_route_never_leaves_the_machine() {
    let routes =
        json!([{"model": "private", "targets": ["absent", "crashing", "far/m"], "local_only": true}]);
    let (gateway, seen) = gateway(routes, vec![far_answer()]);
    let mut limited = chat("private", "count 1");
    limited["max_tokens"] = json!(9);
    let input = json!({"model": "private", "input": "count 1"});
    for (path, body) in
        [("/v1/chat/completions", &limited), ("/v1/messages", &limited), ("/v1/responses", &input)]
    {
        let (status, _, answer) = gateway.ask("POST", path, "", &body.to_string());
        assert!(status == 404 && answer.contains("must not leave"), "{path}: {status} {answer}");
    }
    let count = gateway.ask("POST", "/v1/messages/count_tokens", "", &chat("private", "x").to_string());
    assert_eq!(count.0, 404);
    assert_eq!(seen.lock().unwrap().len(), 0, "a request left the machine");
}

#[test]
fn slow_model_is_cancelled_before_the_next_one_is_asked() {
    let routes = json!([{"model": "fast", "targets": ["m", "far/m"], "first_token_seconds": 1}]);
    let (gateway, seen) = gateway(routes, vec![far_answer(), stream(&[word("far away", Some("stop"))])]);
    for (at, streamed) in [(1, false), (2, true)] {
        let mut body = chat("fast", "late 20");
        body["stream"] = streamed.into();
        let start = Instant::now();
        let answer = ask(&gateway, "", &body);
        assert!(answer.0 == 200 && answer.2.contains("far away"), "{answer:?}");
        assert!(answer.1.contains("x-mlxd-fallback-reason: timeout"), "{}", answer.1);
        assert!(start.elapsed() < Duration::from_secs(8), "{:?}", start.elapsed());
        assert_eq!((gateway.cancelled(), seen.lock().unwrap().len()), (at, at));
    }
    // A model that begins in time keeps the request.
    let answer = ask(&gateway, "", &chat("fast", "count 2"));
    assert!(answer.2.contains("w0 w1 ") && !answer.1.contains("fallback"), "{answer:?}");
}

#[test]
fn all_models_of_a_route_share_the_time_limit() {
    let routes = json!([{"model": "fast", "targets": ["m", "slow", "far/m"], "first_token_seconds": 30}]);
    let (gateway, seen) = gateway(routes, Vec::new());
    let mut body = chat("fast", "late 30");
    body["timeout"] = json!(0.3);
    let start = Instant::now();
    let (status, _, answer) = ask(&gateway, "", &body);
    assert!(status == 504 && start.elapsed() < Duration::from_secs(5), "{status} {answer}");
    assert_eq!(seen.lock().unwrap().len(), 0);
}

#[test]
fn stream_that_fails_before_its_output_goes_to_the_next_model() {
    let routes = json!([{"model": "away", "targets": ["far/m", "m"]}]);
    let failure = stream(&[json!({"error": {"message": "on fire"}})]);
    let empty = stream(&[]);
    let (gateway, seen) = gateway(routes, vec![failure, empty]);
    // Another protocol than the provider's, so that the stream is translated.
    for at in 1..=2 {
        let body = json!({"model": "away", "input": "count 2", "stream": true}).to_string();
        let (status, head, answer) = gateway.ask("POST", "/v1/responses", "", &body);
        assert!(status == 200 && answer.contains("w1 ") && !answer.contains("on fire"), "{answer}");
        assert!(head.contains("x-mlxd-fallback-reason: upstream"), "{head}");
        assert_eq!(seen.lock().unwrap().len(), at);
    }
}

#[test]
fn provider_that_keeps_failing_is_left_alone() {
    let refused = answer("401 No", "", &json!({"error": {"message": "no"}}));
    let routes = json!([{"model": "away", "targets": ["far/m", "m"]}]);
    let (gateway, seen) = gateway(routes, vec![refused; 9]);
    for _ in 0..5 {
        assert_eq!(ask(&gateway, "", &chat("far/m", "x")).0, 502);
    }
    let (status, head, body) = ask(&gateway, "", &chat("far/m", "x"));
    assert!(
        status == 503 && body.contains("has failed repeatedly") && head.contains("retry-after: "),
        "{head} {body}"
    );
    let answer = ask(&gateway, "", &chat("away", "count 1"));
    assert!(
        answer.2.contains("w0 ") && answer.1.contains("x-mlxd-fallback-reason: unavailable"),
        "{answer:?}"
    );
    assert_eq!(seen.lock().unwrap().len(), 5, "the provider was asked during the pause");
}

#[test]
fn provider_whose_answers_break_off_is_left_alone() {
    let cut_off = stream(&[word("half", None)]);
    // The first protocol is the provider's, so its answer passes unchanged; the other's is translated.
    for (path, body) in [
        ("/v1/chat/completions", chat("far/m", "x")),
        ("/v1/responses", json!({"model": "far/m", "input": "x"})),
    ] {
        let (gateway, seen) = gateway(json!([]), vec![cut_off.clone(); 9]);
        let mut body = body;
        body["stream"] = true.into();
        for _ in 0..5 {
            let (status, _, answer) = gateway.ask("POST", path, "", &body.to_string());
            assert!(status == 200 && answer.contains("half") && answer.contains("error"), "{answer}");
        }
        let (status, _, answer) = gateway.ask("POST", path, "", &body.to_string());
        assert!(status == 503 && answer.contains("has failed repeatedly"), "{path}: {answer}");
        assert_eq!(seen.lock().unwrap().len(), 5, "{path}");
    }
}

#[test]
fn errors_say_which_model_was_asked() {
    let refused = answer("401 No", "", &json!({"error": {"message": "no"}}));
    let routes = json!([{"model": "away", "targets": ["absent", "far/m"]}]);
    let (gateway, _) = gateway(routes, vec![refused; 9]);
    let asked = |path: &str, body: Value| {
        let (status, head, answer) = gateway.ask("POST", path, "", &body.to_string());
        assert!(status >= 400, "{answer}");
        let named = |name: &str| {
            let line = head.lines().find_map(|line| line.strip_prefix(&format!("x-mlxd-{name}: ")));
            line.unwrap_or_default().trim().to_owned()
        };
        (status, ["backend", "route", "fallback-reason"].map(named))
    };
    let local = ["local", "", ""].map(String::from);
    let far = ["far", "", ""].map(String::from);
    let along = ["far", "away", "not_found"].map(String::from);
    let turns = json!([{"role": "user", "content": "x"}]);
    assert_eq!(asked("/v1/chat/completions", chat("far/m", "x")), (502, far.clone()));
    assert_eq!(
        asked("/v1/messages", json!({"model": "away", "messages": turns, "max_tokens": 9})),
        (502, along.clone())
    );
    let labelled = json!({"model": "away", "input": "x", "metadata": {"a": "b"}});
    assert_eq!(asked("/v1/responses", labelled), (502, along));
    assert_eq!(asked("/v1/embeddings", json!({"model": "far/m", "input": "x"})), (400, far));
    assert_eq!(asked("/v1/completions", json!({"model": "absent", "prompt": "x"})), (404, local));
    // No model was asked.
    assert_eq!(asked("/v1/chat/completions", json!({"model": "m"})), (400, [const { String::new() }; 3]));
}

/// A stream of a route that has begun goes on at the model that began it, also if an earlier one of the route has come back.
#[test]
fn lost_output_continues_at_the_model_that_began_it() {
    let (gateway, seen) =
        gateway(json!([{"model": "chain", "targets": ["absent", "m", "far/m"]}]), Vec::new());
    let mut body = chat("chain", "lose 3");
    body["stream"] = true.into();
    let (status, _, answer) = ask(&gateway, "", &body);
    assert!(status == 200 && answer.contains("w2 ") && !answer.contains("error"), "{answer}");
    assert_eq!(seen.lock().unwrap().len(), 0);
}

#[test]
fn routes_without_conditions_cost_others_nothing() {
    let gateway = Gateway::with(GatewayConfig::default());
    let (status, head, body) = gateway.complete("count 2", true);
    assert_eq!((status, text(&body)), (200, "w0 w1 ".to_owned()));
    assert!(head.contains("x-mlxd-backend: local") && !head.contains("x-mlxd-route"), "{head}");
    gateway.records(1);
    let log = json(&gateway.ask("GET", "/admin/v1/requests", "", "").2);
    let id = log["requests"][0]["id"].as_str().unwrap().replace('/', "%2F");
    assert_eq!(
        json(&gateway.ask("GET", &format!("/admin/v1/requests/{id}"), "", "").2)["trace"],
        json!(null)
    );
}
