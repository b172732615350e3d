//! Responses over a WebSocket.

use std::net::TcpStream;

use serde_json::{Value, json};
use tungstenite::client::IntoClientRequest;
use tungstenite::http::HeaderValue;
use tungstenite::{Message, WebSocket};

use super::fakes::Gateway;
use super::wait_until;

type Handshake = Result<WebSocket<TcpStream>, u16>;

/// Opens a connection with these headers. An error is the status of the refusal.
pub(crate) fn open(gateway: &Gateway, path: &str, headers: &[(&'static str, &str)]) -> Handshake {
    let stream = TcpStream::connect(gateway.address).unwrap();
    let mut request = format!("ws://localhost{path}").into_client_request().unwrap();
    for (name, value) in headers {
        request.headers_mut().insert(*name, HeaderValue::from_str(value).unwrap());
    }
    match tungstenite::client(request, stream) {
        Ok((socket, _)) => Ok(socket),
        Err(tungstenite::HandshakeError::Failure(tungstenite::Error::Http(answer))) => {
            Err(answer.status().as_u16())
        }
        Err(problem) => panic!("{problem}"),
    }
}

pub(crate) fn connect(gateway: &Gateway) -> WebSocket<TcpStream> {
    open(gateway, "/v1/responses", &[]).unwrap()
}

pub(crate) fn send(socket: &mut WebSocket<TcpStream>, input: &str, more: &Value) {
    let mut frame = json!({"type": "response.create", "model": "m", "input": input});
    for (name, value) in more.as_object().unwrap() {
        frame[name] = value.clone();
    }
    socket.send(Message::text(frame.to_string())).unwrap();
}

fn next(socket: &mut WebSocket<TcpStream>) -> Value {
    match socket.read().unwrap() {
        Message::Text(text) => serde_json::from_str(&text).unwrap(),
        other => panic!("no text: {other}"),
    }
}

/// The events of one response, or one error.
pub(crate) fn events(socket: &mut WebSocket<TcpStream>) -> Vec<Value> {
    let mut events = Vec::new();
    loop {
        let event = next(socket);
        let last = ["response.completed", "response.incomplete", "response.failed", "error"];
        let is_last = last.contains(&event["type"].as_str().unwrap());
        events.push(event);
        if is_last {
            return events;
        }
    }
}

/// The last event's response to a request.
fn respond(socket: &mut WebSocket<TcpStream>, input: &str, more: &Value) -> Value {
    send(socket, input, more);
    let last = events(socket).pop().unwrap();
    assert_eq!(last["type"], "response.completed", "{last}");
    last["response"].clone()
}

#[test]
fn socket_sends_the_events_of_a_stream_one_a_frame() {
    let gateway = Gateway::start("");
    let mut socket = connect(&gateway);
    send(&mut socket, "count 2", &json!({"stream_id": "s"}));
    let over_socket = events(&mut socket);
    let body = super::responses::request("count 2", &json!({"stream": true}));
    let over_http = super::responses::events(&gateway.ask("POST", "/v1/responses", "", &body).2);
    let shape = |events: &[Value]| {
        let shape =
            |event: &Value| (event["type"].clone(), event["sequence_number"].clone(), event["delta"].clone());
        events.iter().map(shape).collect::<Vec<_>>()
    };
    assert_eq!(shape(&over_socket), shape(&over_http));
    assert!(over_socket.iter().all(|event| event["stream_id"] == "s"), "{over_socket:?}");
}

#[test]
fn latest_response_of_a_connection_can_be_continued_though_it_is_not_stored() {
    let gateway = Gateway::start("");
    let mut socket = connect(&gateway);
    let unkept = json!({"store": false});
    let first = respond(&mut socket, "count 1", &unkept);
    let second =
        respond(&mut socket, "count 1", &json!({"store": false, "previous_response_id": first["id"]}));
    // A stored one holds the whole conversation, and can be continued over HTTP.
    let third = respond(&mut socket, "count 1", &json!({"previous_response_id": second["id"]}));
    let more = json!({"previous_response_id": third["id"]});
    assert_eq!(super::responses::respond(&gateway, "count 1", &more).0, 200);
    let items =
        gateway.ask("GET", &format!("/v1/responses/{}/input_items", third["id"].as_str().unwrap()), "", "");
    assert_eq!(super::json(&items.2)["data"].as_array().unwrap().len(), 5);
    // The first is neither the latest nor stored.
    send(&mut socket, "count 1", &json!({"previous_response_id": first["id"]}));
    let error = events(&mut socket).remove(0);
    assert_eq!((&error["status"], &error["error"]["param"]), (&json!(400), &json!("previous_response_id")));
    respond(&mut socket, "count 1", &unkept);
}

#[test]
fn failed_continuation_forgets_a_response_that_is_not_stored() {
    let gateway = Gateway::start("");
    let mut socket = connect(&gateway);
    let result = json!([{"type": "function_call_output", "call_id": "c", "output": "x"}]);
    for stored in [false, true] {
        let first = respond(&mut socket, "count 1", &json!({"store": stored}));
        let more = json!({"store": stored, "previous_response_id": first["id"]});
        let mut wrong = more.clone();
        wrong["input"] = result.clone();
        send(&mut socket, "", &wrong);
        let error = events(&mut socket).remove(0);
        assert_eq!(
            (&error["status"], &error["error"]["param"]),
            (&json!(400), &json!("input[0].call_id")),
            "{error}"
        );
        send(&mut socket, "count 1", &more);
        let last = events(&mut socket).pop().unwrap();
        if stored {
            assert_eq!(last["type"], "response.completed", "{last}");
        } else {
            assert_eq!(last["error"]["code"], "previous_response_not_found", "{last}");
        }
    }
}

#[test]
fn errors_are_frames_and_keep_the_connection() {
    let gateway = Gateway::start("");
    let mut socket = connect(&gateway);
    for (frame, status, param) in [
        ("no json".to_owned(), 400, Value::Null),
        (json!({"type": "response.steer"}).to_string(), 400, json!("type")),
        (json!({"type": "response.create", "model": "m", "input": 3}).to_string(), 400, json!("input")),
        (
            json!({"type": "response.create", "model": "m", "input": "x", "background": true}).to_string(),
            400,
            json!("background"),
        ),
        (json!({"type": "response.create", "model": "none", "input": "x"}).to_string(), 404, Value::Null),
    ] {
        socket.send(Message::text(frame.clone())).unwrap();
        let error = next(&mut socket);
        assert_eq!((&error["type"], &error["status"]), (&json!("error"), &json!(status)), "{frame}: {error}");
        assert_eq!(error["error"]["param"], param, "{frame}: {error}");
    }
    respond(&mut socket, "count 1", &json!({}));
}

#[test]
fn requests_wait_for_the_one_that_runs() {
    let gateway = Gateway::start("");
    let mut socket = connect(&gateway);
    for number in 1..4 {
        send(&mut socket, &format!("count {number}"), &json!({}));
    }
    for number in 1..4 {
        let deltas = |events: Vec<Value>| events.iter().filter(|event| event["delta"].is_string()).count();
        assert_eq!(deltas(events(&mut socket)), number);
    }
}

#[test]
fn client_that_leaves_cancels_its_response() {
    let gateway = Gateway::start("");
    let mut socket = connect(&gateway);
    send(&mut socket, "drip 3000", &json!({}));
    assert_eq!(next(&mut socket)["type"], "response.created");
    drop(socket);
    wait_until("the worker gets the cancellation", || gateway.cancelled() == 1);
}

#[test]
fn generate_false_completes_without_output_and_can_be_continued() {
    let gateway = Gateway::start("");
    let mut socket = connect(&gateway);
    let warm = respond(&mut socket, "count 2", &json!({"generate": false, "store": false}));
    assert_eq!((&warm["output"], &warm["usage"]["output_tokens"]), (&json!([]), &json!(0)));
    respond(&mut socket, "count 1", &json!({"previous_response_id": warm["id"]}));
}

#[test]
fn upgrade_is_refused_without_a_key_from_a_foreign_page_and_at_other_paths() {
    let open_gateway = Gateway::start("");
    let foreign = [("origin", "https://evil.example")];
    assert_eq!(open(&open_gateway, "/v1/responses", &foreign).unwrap_err(), 403);
    for path in ["/v1/chat/completions", "/v1/models", "/v1/responses/resp_1", "/nothing"] {
        assert_eq!(open(&open_gateway, path, &[]).unwrap_err(), 400, "{path}");
    }
    let (status, _, body) = open_gateway.ask("GET", "/v1/responses", "", "");
    assert_eq!(status, 405, "{body}");
    let keyed = Gateway::start("sk-one");
    assert_eq!(open(&keyed, "/v1/responses", &[]).unwrap_err(), 401);
    assert!(open(&keyed, "/v1/responses", &[("authorization", "Bearer sk-one")]).is_ok());
}

#[test]
fn frame_larger_than_a_body_may_be_is_refused() {
    let gateway = Gateway::start("");
    let mut socket = connect(&gateway);
    // The gateway may close the connection before it has read everything.
    let _ = socket.send(Message::text("x".repeat((96 << 20) + 1)));
    let error = next(&mut socket);
    assert_eq!((&error["status"], &error["error"]["code"]), (&json!(413), &json!("request_too_large")));
}
