//! Calls that are cut off, by the limit or by an end token. No protocol announces them as complete.

use e2e::Server;
use e2e::places::TOY_QWEN2;
use serde_json::{Value, json};

/// A text that takes many tokens, whatever the model's random weights choose.
const CITY: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

fn schema() -> Value {
    json!({"type": "object", "properties": {"city": {"enum": [CITY]}}, "required": ["city"], "additionalProperties": false})
}

fn chat_body(more: &Value) -> Value {
    let function =
        json!({"name": "get_weather", "description": "Weather", "parameters": schema(), "strict": true});
    let mut body = json!({"model": TOY_QWEN2, "messages": [{"role": "user", "content": "Weather?"}], "temperature": 0,
        "tools": [{"type": "function", "function": function}], "tool_choice": "required", "parallel_tool_calls": false});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

/// The arguments of the only call, and the reason of the end: whole and streamed, which must agree.
fn chat(server: &Server, more: &Value) -> (String, String) {
    let mut body = chat_body(more);
    let answer = server.post("/v1/chat/completions", &body);
    assert_eq!(answer.status, 200, "{}", answer.body);
    let arguments = answer.text("/choices/0/message/tool_calls/0/function/arguments").to_owned();
    let whole = (arguments, answer.text("/choices/0/finish_reason").to_owned());
    body["stream"] = json!(true);
    let mut streamed = (String::new(), String::new());
    for data in server.stream("/v1/chat/completions", &body).filter(|data| data != "[DONE]") {
        let choice = &serde_json::from_str::<Value>(&data).unwrap()["choices"][0];
        let arguments = &choice["delta"]["tool_calls"][0]["function"]["arguments"];
        streamed.0 += arguments.as_str().unwrap_or_default();
        streamed.1 += choice["finish_reason"].as_str().unwrap_or_default();
    }
    assert_eq!(streamed, whole);
    whole
}

/// The events of a stream.
fn events(server: &Server, path: &str, body: &Value) -> Vec<Value> {
    let mut body = body.clone();
    body["stream"] = json!(true);
    let data = server.stream(path, &body).filter(|data| data != "[DONE]");
    data.map(|data| serde_json::from_str(&data).unwrap()).collect()
}

/// The texts at `place` in all events.
fn joined(events: &[Value], place: &str) -> String {
    events.iter().filter_map(|event| event.pointer(place)?.as_str()).collect()
}

/// The ids of all tokens that hold nothing but the city's letter.
fn letters(server: &Server) -> Vec<u64> {
    let tokens = (1..=CITY.len()).flat_map(|length| {
        let body = json!({"model": TOY_QWEN2, "content": &CITY[..length]});
        let answer = server.post("/tokenize", &body);
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.body["tokens"].as_array().unwrap().iter().map(|id| id.as_u64().unwrap()).collect::<Vec<_>>()
    });
    let mut tokens: Vec<u64> = tokens.collect();
    tokens.sort_unstable();
    tokens.dedup();
    tokens
}

#[test]
fn call_that_was_cut_off_is_announced_as_such_in_chats() {
    let server = Server::start();
    let city = json!({ "city": CITY });
    let (arguments, reason) = chat(&server, &json!({"max_tokens": 200}));
    assert_eq!((arguments.parse::<Value>().unwrap(), &*reason), (city.clone(), "tool_calls"));
    // A stop text counts in an answer, and there is none.
    let (arguments, reason) = chat(&server, &json!({"max_tokens": 200, "stop": ["\"city\"", "aa"]}));
    assert_eq!((arguments.parse::<Value>().unwrap(), &*reason), (city, "tool_calls"));
    let (arguments, reason) = chat(&server, &json!({"max_tokens": 200, "stop_token_ids": letters(&server)}));
    // The white space is the model's.
    let arguments: String = arguments.split_whitespace().collect();
    assert_eq!((&*arguments, &*reason), ("{\"city\":\"", "stop"));
    let (arguments, reason) = chat(&server, &json!({"max_tokens": 22}));
    assert!(reason == "length" && arguments.parse::<Value>().is_err(), "{reason}: {arguments}");
}

#[test]
fn call_that_was_cut_off_is_announced_as_such_in_messages() {
    let server = Server::start();
    let mut body = json!({"model": TOY_QWEN2, "messages": [{"role": "user", "content": "Weather?"}], "temperature": 0,
        "tools": [{"name": "get_weather", "description": "Weather", "input_schema": schema(), "strict": true}],
        "tool_choice": {"type": "any", "disable_parallel_tool_use": true}, "max_tokens": 200, "stop_sequences": ["aa"]});
    let whole = server.post("/v1/messages", &body);
    assert_eq!((whole.text("/stop_reason"), whole.text("/content/0/input/city")), ("tool_use", CITY));
    body["max_tokens"] = json!(22);
    let cut = server.post("/v1/messages", &body);
    assert_eq!(
        (cut.text("/stop_reason"), cut.text("/content/0/type")),
        ("max_tokens", "tool_use"),
        "{}",
        cut.body
    );
    assert!(cut.body["content"][0]["input"].get("city").is_none(), "{}", cut.body);
    let events = events(&server, "/v1/messages", &body);
    let arguments = joined(&events, "/delta/partial_json");
    assert!(arguments.starts_with('{') && arguments.parse::<Value>().is_err(), "{events:?}");
    assert_eq!(joined(&events, "/delta/stop_reason"), "max_tokens");
}

#[test]
fn call_that_was_cut_off_is_announced_as_such_in_responses() {
    let server = Server::start();
    let mut body = json!({"model": TOY_QWEN2, "input": "Weather?", "temperature": 0, "max_output_tokens": 200, "stop": "aa",
        "tools": [{"type": "function", "name": "get_weather", "description": "Weather", "parameters": schema(), "strict": true}],
        "tool_choice": "required", "parallel_tool_calls": false, "store": false});
    let whole = server.post("/v1/responses", &body);
    assert_eq!((whole.text("/status"), whole.text("/output/0/status")), ("completed", "completed"));
    body["max_output_tokens"] = json!(22);
    let cut = server.post("/v1/responses", &body);
    assert_eq!(
        (cut.text("/status"), cut.text("/output/0/status")),
        ("incomplete", "incomplete"),
        "{}",
        cut.body
    );
    assert!(cut.text("/output/0/arguments").parse::<Value>().is_err(), "{}", cut.body);
    let events = events(&server, "/v1/responses", &body);
    let last = events.last().unwrap();
    assert_eq!(
        (&last["type"], &last["response"]["output"][0]["status"]),
        (&json!("response.incomplete"), &json!("incomplete"))
    );
    let done = events.iter().filter(|event| event["type"] == "response.output_item.done");
    assert_eq!(done.map(|event| &event["item"]["status"]).collect::<Vec<_>>(), ["incomplete"], "{events:?}");
}
