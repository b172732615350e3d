//! Routes whose conditions a local model judges, and roles.

use std::io::Read;
use std::time::{Duration, Instant};

use ipc_proto::gateway::GatewayConfig;
use serde_json::{Value, json};

use super::fakes::Gateway;
use super::providers::{answer, script};
use super::routes::{ask, chat, route_of};
use super::{json as parse, wait_until};

const ADMIN: &str = "authorization: Bearer sk-admin\r\n";

fn config(routes: &Value, judge: &Value) -> GatewayConfig {
    let settings = json!({"routes": routes, "judge": judge});
    let config: GatewayConfig = serde_json::from_value(settings).unwrap();
    config.check().unwrap();
    config
}

/// A gateway with these routes, whose model `m` judges.
fn gateway(routes: &Value) -> Gateway {
    Gateway::with(config(routes, &json!({"model": "m", "embedding_model": "m", "timeout_ms": 5000})))
}

fn explain(gateway: &Gateway, question: &Value) -> Value {
    let (status, _, body) = gateway.ask("POST", "/admin/v1/routes/explain", ADMIN, &question.to_string());
    assert_eq!(status, 200, "{body}");
    parse(&body)
}

#[test]
fn verdict_chooses_the_route_and_stands_in_the_trace() {
    let gateway = gateway(&json!([
        {"name": "tools", "has_tools": true, "sentence": "no", "targets": ["absent"]},
        {"name": "first", "sentence": "no", "targets": ["absent"]},
        {"name": "same", "model": "auto*", "sentence": "no", "targets": ["absent"]},
        {"name": "second", "sentence": "yes", "targets": ["m"]},
        {"name": "rest", "targets": ["absent"]},
    ]));
    let answer = ask(&gateway, "x-request-id: mine\r\n", &chat("auto", "count 1"));
    assert_eq!(route_of(&answer), "second");
    assert!(answer.1.contains("x-mlxd-backend: local") && !answer.1.contains("fallback"), "{}", answer.1);
    let asked = gateway.judged();
    assert_eq!(asked.len(), 2, "the same sentence is asked once: {asked:?}");
    assert!(asked.iter().all(|question| question.contains("]\ncount 1\n[/message-")), "{asked:?}");
    // The judge has no row of its own.
    assert_eq!(gateway.records(1).len(), 1);
    let row = parse(&gateway.ask("GET", "/admin/v1/requests/mine", "", "").2);
    let steps = row["trace"]["steps"].as_array().unwrap();
    assert_eq!(steps[0]["because"], "the request has no tools");
    assert_eq!(steps[1]["because"], "judged to be untrue: no");
    let judged = &steps[1]["judged"][0];
    let shown = ["condition", "model", "holds", "prompt_tokens", "completion_tokens"]
        .map(|field| judged[field].clone());
    assert_eq!(shown, [json!("sentence"), json!("m"), json!(false), json!(3), json!(1)]);
    assert!(judged["ms"].is_u64() && judged["similarity"].is_null(), "{judged}");
    assert!(steps[2].get("judged").is_none() && steps[2]["because"] == "judged to be untrue: no");
    assert_eq!((&steps[3]["judged"][0]["holds"], &steps[3]["matched"]), (&json!(true), &json!(true)));
    assert!(!row.to_string().contains("count 1"), "the text stands in the log: {row}");
}

#[test]
fn every_protocol_is_judged_by_the_last_message_of_the_user() {
    let gateway = gateway(&json!([
        {"model": "auto", "sentence": "yes", "targets": ["m"]},
        {"model": "auto", "targets": ["absent"]},
    ]));
    let turns = json!([{"role": "user", "content": "earlier"}, {"role": "assistant", "content": "x"},
        {"role": "user", "content": "count 2"}]);
    for (path, body) in [
        ("/v1/chat/completions", json!({"model": "auto", "messages": turns})),
        ("/v1/messages", json!({"model": "auto", "messages": turns, "max_tokens": 9})),
        ("/v1/responses", json!({"model": "auto", "input": turns})),
        ("/v1/completions", json!({"model": "auto", "prompt": "count 2"})),
        ("/api/chat", json!({"model": "auto:latest", "messages": turns, "stream": false})),
    ] {
        let (status, _, answer) = gateway.ask("POST", path, "", &body.to_string());
        assert!(status == 200 && answer.contains("w1"), "{path}: {status} {answer}");
        let asked = gateway.judged().pop().unwrap();
        assert!(asked.contains("]\ncount 2\n[/") && !asked.contains("earlier"), "{path}: {asked}");
    }
    // Calls have no text, so nothing is asked for them.
    let before = gateway.judged().len();
    let body = json!({"model": "auto", "input": "count 2"}).to_string();
    assert_eq!(gateway.ask("POST", "/v1/embeddings", "", &body).0, 404, "the route without a condition");
    assert_eq!(gateway.judged().len(), before);
}

#[test]
fn what_is_not_judged_goes_to_the_next_route() {
    let judge = json!({"model": "m", "timeout_ms": 300, "max_prompt_bytes": 40});
    for (condition, problem) in [
        (json!({"sentence": "never"}), "no answer within 300 ms"),
        (json!({"sentence": "yes", "judge": "slow"}), "no answer within 300 ms"),
        (json!({"sentence": "silent"}), "it has said neither yes nor no"),
        (json!({"sentence": "fail"}), "the judge is on fire"),
        (json!({"sentence": "yes", "judge": "absent"}), "no \"absent\""),
    ] {
        let mut judged = json!({"name": "judged", "model": "auto", "targets": ["absent"]});
        judged.as_object_mut().unwrap().extend(condition.as_object().unwrap().clone());
        let routes = json!([judged, {"name": "rest", "model": "auto", "targets": ["m"]}]);
        let gateway = Gateway::with(config(&routes, &judge));
        let began = Instant::now();
        let answer = ask(&gateway, "x-request-id: mine\r\n", &chat("auto", "count 1"));
        assert_eq!(route_of(&answer), "rest", "{condition}");
        assert!(began.elapsed() < Duration::from_secs(4), "{condition}: {:?}", began.elapsed());
        gateway.records(1);
        let row = parse(&gateway.ask("GET", "/admin/v1/requests/mine", "", "").2);
        let step = &row["trace"]["steps"][0];
        assert!(step["because"].as_str().unwrap().contains(problem), "{condition}: {step}");
        assert_eq!((&step["judged"][0]["holds"], &step["matched"]), (&json!(null), &json!(false)));
        if condition["sentence"] == "never" {
            wait_until("the verdict is cancelled", || gateway.cancelled() == 1);
        }
    }
}

#[test]
fn text_that_is_judged_is_bounded() {
    let routes = json!([{"sentence": "yes", "targets": ["m"]}]);
    let gateway = Gateway::with(config(&routes, &json!({"model": "m", "max_prompt_bytes": 16})));
    explain(&gateway, &json!({"model": "auto", "text": "ä".repeat(3000)}));
    let asked = gateway.judged().pop().unwrap();
    assert!(asked.contains("]\nää … ää\n[/"), "{asked}");
}

#[test]
fn judging_counts_in_the_time_limit_of_the_request() {
    let routes = json!([{"model": "auto", "sentence": "no 400", "targets": ["absent"]},
        {"model": "auto", "targets": ["m"]}]);
    let gateway = gateway(&routes);
    let mut body = chat("auto", "count 1");
    body["timeout"] = json!(5);
    assert_eq!(ask(&gateway, "", &body).0, 200);
    let limits = gateway.time_limits();
    let [Some(judge), Some(model)] = limits[..] else { panic!("{limits:?}") };
    assert!(judge <= 5000 && model <= 4600, "{limits:?}");
    // A request without time is not judged for longer than it lasts.
    body["timeout"] = json!(0.1);
    let began = Instant::now();
    ask(&gateway, "", &body);
    assert!(began.elapsed() < Duration::from_millis(1500), "{:?}", began.elapsed());
}

#[test]
fn client_that_leaves_ends_the_judging() {
    let gateway = gateway(&json!([{"model": "auto", "sentence": "never", "targets": ["m"]}]));
    let mut body = chat("auto", "count 1");
    body["stream"] = true.into();
    for (at, streamed) in [(1, true), (2, false)] {
        body["stream"] = streamed.into();
        let client = gateway.send("POST", "/v1/chat/completions", "", &body.to_string());
        wait_until("the judge is asked", || gateway.judged().len() == at);
        drop(client);
        wait_until("the verdict is cancelled", || gateway.cancelled() == at);
    }
    std::thread::sleep(Duration::from_millis(100));
    assert!(gateway.priorities().is_empty(), "a model was asked for a client that has left");
}

#[test]
fn judge_is_the_operators_whatever_the_key_may_use() {
    let routes = json!([{"model": "auto", "sentence": "yes", "judge": "m", "targets": ["absent", "m"]}]);
    let gateway = Gateway::with(GatewayConfig {
        api_keys: ["sk-admin"].iter().collect(),
        ..config(&routes, &json!({}))
    });
    let order = json!({"name": "bounded", "models": ["auto"], "tokens_per_minute": 1000}).to_string();
    let (status, _, made) = gateway.ask("POST", "/admin/v1/keys", ADMIN, &order);
    assert_eq!(status, 201, "{made}");
    let key = format!("authorization: Bearer {}\r\n", parse(&made)["secret"].as_str().unwrap());
    assert_eq!(ask(&gateway, &key, &chat("m", "count 1")).0, 403);
    assert_eq!(route_of(&ask(&gateway, &key, &chat("auto", "count 1"))), "auto");
    assert_eq!(gateway.judged().len(), 1);
}

#[test]
fn explanation_judges_a_given_text_only() {
    let gateway = gateway(&json!([{"name": "idea", "model": "auto", "sentence": "yes", "targets": ["m"]}]));
    let without = explain(&gateway, &json!({"model": "auto", "prompt_tokens": 9}));
    assert_eq!(without["steps"][0]["because"], "not judged: the request has no text of a user");
    assert_eq!(gateway.judged().len(), 0);
    let decision = explain(&gateway, &json!({"model": "auto", "prompt_tokens": 9, "text": "anything"}));
    assert_eq!(
        (&decision["route"], &decision["steps"][0]["judged"][0]["holds"]),
        (&json!("idea"), &json!(true))
    );
    assert_eq!(gateway.judged().len(), 1);
    assert_eq!(gateway.ask("GET", "/admin/v1/requests", "", "").2, r#"{"requests":[],"next":null}"#);
}

#[test]
fn nearest_example_decides_and_examples_are_embedded_once() {
    let gateway = gateway(&json!([
        {"name": "near", "model": "auto", "similar": {"examples": ["at 0 a", "at 180 b"], "at_least": 0.8}, "targets": ["m"]},
        {"name": "wider", "model": "auto", "similar": {"examples": ["at 0 a", "at 180 b"], "at_least": 0.6}, "targets": ["m"]},
        {"name": "rest", "model": "auto", "targets": ["m"]},
    ]));
    let decided = |text: &str| explain(&gateway, &json!({"model": "auto", "prompt_tokens": 1, "text": text}));
    for (text, route, similarity) in [
        ("at 30 x", "near", Some(0.866)),
        ("at 200 x", "near", Some(0.9397)),
        ("at 50 x", "wider", Some(0.6428)),
        ("at 80 x", "rest", Some(0.1736)),
    ] {
        let decision = decided(text);
        assert_eq!(decision["route"], route, "{decision}");
        assert_eq!(decision["steps"][0]["judged"][0]["similarity"].as_f64(), similarity);
    }
    assert_eq!(gateway.embedded(), [3, 1, 1, 1], "both routes share an answer, all requests the examples");
    // Another worker may have another version of the model.
    let lost = gateway.ask("POST", "/v1/completions", "", r#"{"model": "m", "prompt": "lose 2"}"#);
    assert_eq!(lost.0, 200, "{}", lost.2);
    assert_eq!(decided("at 30 x")["route"], "near");
    assert_eq!(gateway.embedded()[4..], [1, 2], "the text, and then all examples anew");
    assert_eq!(decided("at 30 x")["route"], "near");
    assert_eq!(gateway.embedded().last(), Some(&1));
}

#[test]
fn images_that_no_local_model_reads_are_judged_by_their_text() {
    let message = json!({"role": "assistant", "content": "far away"});
    let body = json!({"model": "m", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}], "usage": {}});
    let (address, seen) = script(vec![answer("200 OK", "", &body)]);
    let provider =
        json!({"kind": "openai", "url": format!("http://{address}"), "api_key": "k", "models": ["m"]});
    let settings = json!({"providers": {"far": provider}, "judge": {"model": "m"},
        "routes": [{"model": "auto", "sentence": "yes", "targets": ["far/m"]}]});
    let gateway = Gateway::with(serde_json::from_value(settings).unwrap());
    let content = json!([{"type": "text", "text": "what is this?"}, {"type": "image_url", "image_url": {"url": "data:,"}}]);
    let body = json!({"model": "auto", "messages": [{"role": "user", "content": content}]});
    assert_eq!(route_of(&ask(&gateway, "", &body)), "auto");
    assert!(gateway.judged()[0].contains("]\nwhat is this?\n[/"), "{:?}", gateway.judged());
    assert_eq!(seen.lock().unwrap().len(), 1);
}

fn with_roles(routes: &Value) -> Gateway {
    let far = json!({"kind": "openai", "url": "http://127.0.0.1:9", "api_key": "k", "models": ["m"]});
    let roles = json!({"fast": ["absent", "m"], "far": ["far/m"], "own": {"targets": ["far/m", "m"], "local_only": true}});
    let settings = json!({"providers": {"far": far}, "roles": roles, "routes": routes});
    let config: GatewayConfig = serde_json::from_value(settings).unwrap();
    config.check().unwrap();
    Gateway::with(config)
}

#[test]
fn role_is_a_name_in_every_protocol() {
    let gateway = with_roles(&json!([{"targets": ["absent"]}]));
    let turns = json!([{"role": "user", "content": "count 2"}]);
    for (path, body) in [
        ("/v1/chat/completions", json!({"messages": turns})),
        ("/v1/messages", json!({"messages": turns, "max_tokens": 9})),
        ("/v1/responses", json!({"input": turns})),
        ("/v1/completions", json!({"prompt": "count 2"})),
        ("/api/chat", json!({"messages": turns, "stream": false})),
    ] {
        let mut body = body;
        body["model"] = "role:fast".into();
        let (status, head, answer) = gateway.ask("POST", path, "", &body.to_string());
        assert!(status == 200 && answer.contains("w1"), "{path}: {status} {answer}");
        assert!(
            head.contains("x-mlxd-route: role:fast") && head.contains("fallback-reason: not_found"),
            "{head}"
        );
    }
    let body = json!({"model": "role:fast", "input": "count 2"}).to_string();
    assert_eq!(gateway.ask("POST", "/v1/embeddings", "", &body).0, 404, "calls ask the first model only");
}

#[test]
fn roles_are_listed_and_an_unknown_one_names_them() {
    let gateway = with_roles(&json!([{"model": "chain", "targets": ["role:fast"]}]));
    let listed = parse(&gateway.ask("GET", "/v1/models", "", "").2);
    let names: Vec<&str> =
        listed["data"].as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap()).collect();
    for name in ["role:fast", "role:far", "role:own", "chain"] {
        assert!(names.contains(&name), "{name}: {names:?}");
    }
    let owner = |name: &str| {
        let (status, _, body) = gateway.ask("GET", &format!("/v1/models/{name}"), "", "");
        assert_eq!(status, 200, "{name}: {body}");
        parse(&body)["owned_by"].clone()
    };
    assert_eq!(
        (owner("role:fast"), owner("role:far"), owner("chain")),
        (json!("local"), json!("far"), json!("local"))
    );
    assert_eq!(route_of(&ask(&gateway, "", &chat("chain", "count 1"))), "chain");
    for path in ["/v1/chat/completions", "/v1/messages"] {
        let mut body = chat("role:slow", "count 1");
        body["max_tokens"] = 9.into();
        let (status, _, answer) = gateway.ask("POST", path, "", &body.to_string());
        assert!(
            status == 404 && answer.contains("the roles are role:far, role:fast, role:own"),
            "{path}: {answer}"
        );
    }
    let count = gateway.ask("POST", "/v1/messages/count_tokens", "", &chat("role:slow", "x").to_string());
    assert!(count.0 == 404 && count.2.contains("the roles are"), "{}", count.2);
}

#[test]
fn role_of_this_machine_never_leaves_it() {
    let gateway = with_roles(&json!([{"model": "mixed", "targets": ["role:own", "far/m"]}]));
    for model in ["role:own", "mixed"] {
        let (status, head, answer) = ask(&gateway, "", &chat(model, "count 1"));
        assert!(status == 200 && head.contains("x-mlxd-backend: local"), "{model}: {answer}");
    }
    let decision = explain(&gateway, &json!({"model": "mixed"}));
    assert_eq!(decision["targets"], json!(["far/m", "m"]));
    let (status, _, answer) = ask(&gateway, "", &chat("role:own", "refuse"));
    assert!(status == 503 || status == 429, "{status} {answer}");
}

#[test]
fn routes_of_the_database_are_checked_against_roles_and_judges() {
    let gateway = with_roles(&json!([]));
    let put = |route: Value| {
        let (status, _, body) = gateway.ask(
            "PUT",
            "/admin/v1/routes",
            "",
            &json!({"routes": [{"targets": ["m"], "model": "x"}, route]}).to_string(),
        );
        (status, parse(&body))
    };
    for (route, field) in [
        (json!({"model": "a", "targets": ["role:none"]}), "routes[1].targets"),
        (json!({"model": "a", "sentence": "s", "targets": ["m"]}), "routes[1].sentence"),
        (json!({"model": "a", "sentence": "s", "judge": "far/m", "targets": ["m"]}), "routes[1].judge"),
        (
            json!({"model": "a", "similar": {"examples": ["x"], "at_least": 2}, "targets": ["m"]}),
            "routes[1].similar",
        ),
    ] {
        let (status, problem) = put(route);
        assert!(status == 400 && problem["detail"].as_str().unwrap().contains(field), "{problem}");
    }
    let route = json!({"model": "a", "sentence": "yes", "judge": "m", "targets": ["role:fast"]});
    let (status, made) = put(route.clone());
    assert_eq!(
        (status, &made["routes"][1]),
        (200, &route),
        "roles and judges are stored as they were written"
    );
    assert_eq!(route_of(&ask(&gateway, "", &chat("a", "count 1"))), "a");
}

#[test]
fn stream_begins_after_the_verdict() {
    let gateway = gateway(&json!([{"model": "auto", "sentence": "yes 200", "targets": ["m"]}]));
    let mut body = chat("auto", "count 2");
    body["stream"] = true.into();
    let mut text = String::new();
    gateway.send("POST", "/v1/chat/completions", "", &body.to_string()).read_to_string(&mut text).unwrap();
    assert!(text.to_lowercase().contains("x-mlxd-route: auto") && text.contains("data: [DONE]"), "{text}");
}
