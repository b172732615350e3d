//! OpenAI's Responses.

use std::io::Read;
use std::time::Duration;

use serde_json::{Value, json};

use super::fakes::Gateway;
use super::{json, wait_until};

pub(crate) fn request(input: &str, more: &Value) -> String {
    let mut body = json!({"model": "m", "input": input});
    for (name, value) in more.as_object().unwrap() {
        body[name] = value.clone();
    }
    body.to_string()
}

pub(crate) fn respond(gateway: &Gateway, input: &str, more: &Value) -> (u16, Value) {
    let (status, _, body) = gateway.ask("POST", "/v1/responses", "", &request(input, more));
    (status, json(&body))
}

fn get(gateway: &Gateway, path: &str) -> (u16, Value) {
    let (status, _, body) = gateway.ask("GET", &format!("/v1/responses/{path}"), "", "");
    (status, json(&body))
}

pub(crate) fn events(body: &str) -> Vec<Value> {
    body.lines().filter_map(|line| line.strip_prefix("data: ")).map(json).collect()
}

#[test]
fn stored_response_can_be_continued_and_deleted() {
    let gateway = Gateway::start("");
    let (status, first) = respond(&gateway, "count 2", &json!({}));
    assert_eq!(status, 200);
    assert_eq!(first["output"][0]["content"][0]["text"], "w0 w1 ");
    assert_eq!(first["status"], "completed");
    assert_eq!(first["store"], true);
    let id = first["id"].as_str().unwrap();
    assert_eq!(get(&gateway, id), (200, first.clone()));
    let items = get(&gateway, &format!("{id}/input_items")).1;
    assert_eq!(items["data"][0]["content"], "count 2");
    assert_eq!(items["has_more"], false);
    let (_, unkept) = respond(&gateway, "count 1", &json!({"store": false}));
    assert_eq!(get(&gateway, unkept["id"].as_str().unwrap()).0, 404);
    let (_, third) = respond(&gateway, "count 1", &json!({"previous_response_id": id}));
    let path = format!("/v1/responses/{id}");
    assert_eq!(json(&gateway.ask("DELETE", &path, "", "").2)["deleted"], true);
    assert_eq!(gateway.ask("DELETE", &path, "", "").0, 404);
    for gone in [id, third["id"].as_str().unwrap(), "resp_x"] {
        let (status, error) = respond(&gateway, "count 1", &json!({"previous_response_id": gone}));
        assert_eq!(status, 400);
        let expected = json!(["previous_response_id", "previous_response_not_found"]);
        assert_eq!(json!([error["error"]["param"], error["error"]["code"]]), expected);
    }
}

#[test]
fn streamed_response_is_stored_before_its_last_event() {
    let gateway = Gateway::start("");
    let (_, _, body) =
        gateway.ask("POST", "/v1/responses", "", &request("count 2", &json!({"stream": true})));
    let sent = events(&body);
    let last = sent.last().unwrap();
    assert_eq!(sent[0]["type"], "response.created");
    assert_eq!(last["type"], "response.completed");
    let numbers: Vec<_> = sent.iter().map(|event| event["sequence_number"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (0..sent.len() as u64).collect::<Vec<_>>());
    assert_eq!(get(&gateway, last["response"]["id"].as_str().unwrap()), (200, last["response"].clone()));
    let (_, _, body) = gateway.ask("POST", "/v1/responses", "", &request("fail 1", &json!({"stream": true})));
    let failed = events(&body).pop().unwrap();
    assert_eq!(failed["type"], "response.failed");
    assert_eq!(failed["response"]["status"], "failed");
    assert_eq!(get(&gateway, failed["response"]["id"].as_str().unwrap()).1["error"]["code"], "server_error");
}

/// Codex reads error codes inside a stream. Other clients read the status.
#[test]
fn overload_is_an_event_inside_a_stream_and_a_status_without() {
    let gateway = Gateway::start("");
    let (status, error) = respond(&gateway, "refuse", &json!({}));
    assert_eq!(status, 429);
    assert_eq!(error["error"]["code"], "overloaded");
    let (status, _, body) =
        gateway.ask("POST", "/v1/responses", "", &request("refuse", &json!({"stream": true})));
    let events = events(&body);
    let error = &events[1]["response"]["error"];
    assert_eq!(status, 200);
    assert_eq!(events[1]["type"], "response.failed");
    assert_eq!(error["code"], "rate_limit_exceeded");
    assert!(error["message"].as_str().unwrap().contains("try again in 1s"));
}

#[test]
fn background_response_can_be_polled_and_cancelled() {
    let gateway = Gateway::start("");
    let (status, begun) = respond(&gateway, "count 2", &json!({"background": true}));
    assert_eq!(status, 200);
    assert_eq!(begun["status"], "queued");
    assert_eq!(begun["completed_at"], Value::Null);
    let id = begun["id"].as_str().unwrap().to_owned();
    wait_until("it completes", || get(&gateway, &id).1["status"] == "completed");
    let (_, ended) = get(&gateway, &id);
    assert_eq!(ended["output"][0]["content"][0]["text"], "w0 w1 ");
    assert!(ended["completed_at"].as_u64() >= ended["created_at"].as_u64(), "{ended}");
    let (_, begun) = respond(&gateway, "drip 3000", &json!({"background": true}));
    let id = begun["id"].as_str().unwrap().to_owned();
    wait_until("a worker begins it", || get(&gateway, &id).1["status"] == "in_progress");
    std::thread::sleep(Duration::from_millis(100));
    let (status, _, body) = gateway.ask("POST", &format!("/v1/responses/{id}/cancel"), "", "");
    assert_eq!(status, 200);
    assert_eq!(json(&body)["status"], "cancelled");
    wait_until("the worker gets the cancellation", || gateway.cancelled() == 1);
    assert_eq!(get(&gateway, &id).1["status"], "cancelled");
    let (_, plain) = respond(&gateway, "count 1", &json!({}));
    let path = format!("/v1/responses/{}/cancel", plain["id"].as_str().unwrap());
    assert_eq!(gateway.ask("POST", &path, "", "").0, 400);
}

#[test]
fn background_stream_can_be_replayed_from_any_event() {
    let gateway = Gateway::start("");
    let more = json!({"background": true, "stream": true});
    let connection = gateway.send("POST", "/v1/responses", "", &request("drip 30", &more));
    let mut reader = std::io::BufReader::new(connection);
    let id = loop {
        let mut line = String::new();
        std::io::BufRead::read_line(&mut reader, &mut line).unwrap();
        if let Some(data) = line.strip_prefix("data: ") {
            break json(data)["response"]["id"].as_str().unwrap().to_owned();
        }
    };
    // The response continues after its client has disconnected.
    drop(reader);
    let replay = |query: &str| {
        let (status, head, body) = gateway.ask("GET", &format!("/v1/responses/{id}?{query}"), "", "");
        assert!(status == 200 && head.contains("text/event-stream"), "{head}{body}");
        events(&body)
    };
    std::thread::sleep(Duration::from_millis(200));
    let cancelled = gateway.ask("POST", &format!("/v1/responses/{id}/cancel"), "", "");
    assert_eq!(json(&cancelled.2)["status"], "cancelled");
    let replayed = replay("stream=true");
    let numbers: Vec<_> = replayed.iter().map(|event| event["sequence_number"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (0..replayed.len() as u64).collect::<Vec<_>>());
    assert!(replayed.len() > 5 && replayed[0]["type"] == "response.created", "{replayed:?}");
    assert_eq!(replay("stream=true&starting_after=3"), replayed[4..]);
    let (_, _, body) = gateway.ask("POST", "/v1/responses", "", &request("count 2", &more));
    let completed = events(&body);
    let last = &completed.last().unwrap()["response"];
    assert_eq!(completed.last().unwrap()["type"], "response.completed");
    assert_eq!(last["status"], "completed");
    assert_eq!(get(&gateway, last["id"].as_str().unwrap()), (200, last.clone()));
    let (_, plain) = respond(&gateway, "count 1", &json!({}));
    let path = format!("{}?stream=true", plain["id"].as_str().unwrap());
    assert_eq!(get(&gateway, &path).0, 400);
    assert_eq!(get(&gateway, &path).1["error"]["param"], "stream");
}

#[test]
fn response_is_visible_to_its_own_key_only() {
    let gateway = Gateway::start("sk-one,sk-two");
    let ask = |key: &str, method: &str, path: &str, body: &str| {
        let headers = format!("authorization: Bearer {key}\r\n");
        let (status, _, body) = gateway.ask(method, path, &headers, body);
        (status, json(&body))
    };
    let (status, first) = ask("sk-one", "POST", "/v1/responses", &request("count 1", &json!({})));
    assert_eq!(status, 200);
    let id = first["id"].as_str().unwrap();
    let path = format!("/v1/responses/{id}");
    let next = request("count 1", &json!({"previous_response_id": id}));
    for (method, path, body, expected) in [
        ("GET", &*path, "", 404),
        ("GET", &*format!("{path}/input_items"), "", 404),
        ("POST", &*format!("{path}/cancel"), "", 404),
        ("DELETE", &*path, "", 404),
        ("POST", "/v1/responses", &*next, 400),
    ] {
        assert_eq!(ask("sk-two", method, path, body).0, expected, "{method} {path}");
    }
    assert_eq!(ask("sk-one", "POST", "/v1/responses", &next).0, 200);
    assert_eq!(ask("sk-one", "GET", &path, "").1, first);
}

#[test]
fn stored_item_can_be_referenced_by_id() {
    let gateway = Gateway::start("");
    let (_, first) = respond(&gateway, "count 2", &json!({}));
    let item = first["output"][0]["id"].as_str().unwrap();
    let refer = |reference: Value| {
        let input =
            json!([{"role": "user", "content": "q"}, reference, {"role": "user", "content": "count 1"}]);
        respond(&gateway, "", &json!({ "input": input }))
    };
    for reference in [json!({"type": "item_reference", "id": item}), json!({ "id": item })] {
        let (status, second) = refer(reference);
        assert_eq!(status, 200, "{second}");
        let items = get(&gateway, &format!("{}/input_items?order=asc", second["id"].as_str().unwrap())).1;
        assert_eq!(items["data"][1]["content"][0]["text"], "w0 w1 ");
    }
    let (status, error) = refer(json!({"type": "item_reference", "id": "msg_gone_0"}));
    assert_eq!(status, 400);
    assert_eq!(error["error"]["param"], "input[1].id");
}

#[test]
fn waiting_response_sends_in_progress_events() {
    let gateway = Gateway::start("");
    let body = request("late 11", &json!({"stream": true}));
    let mut text = String::new();
    gateway.send("POST", "/v1/responses", "", &body).read_to_string(&mut text).unwrap();
    let names: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("event: ")).collect();
    let progress = "response.in_progress";
    assert_eq!(names[..4], ["response.created", progress, progress, "response.output_item.added"]);
    let counted = gateway.ask("POST", "/v1/responses/input_tokens", "", &request("x", &json!({})));
    assert_eq!(json(&counted.2), json!({"object": "response.input_tokens", "input_tokens": 3}));
}
