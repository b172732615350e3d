//! A worker is killed in the middle of an answer. The same HTTP response continues as it would have undisturbed: a call, a
//! thought, constrained JSON, or sampled text.

use e2e::http::Events;
use e2e::places::{SHALLOW, TOY_QWEN2};
use e2e::thinker::{self, THINKER};
use e2e::{Server, process};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

/// The content of a streamed chat.
#[derive(Debug, Default, PartialEq)]
struct ChatContent {
    content: String,
    reasoning: String,
    /// Ids, names and arguments.
    calls: Vec<[String; 3]>,
    end: String,
    /// Tokens of the answer, and the thought's share of them.
    tokens: [u64; 2],
}

impl ChatContent {
    /// Adds a chunk. Returns whether its delta extends `field`.
    fn add(&mut self, chunk: &Value, field: &str) -> bool {
        assert!(chunk.get("error").is_none(), "{chunk}");
        if let Some(usage) = chunk["usage"].as_object() {
            let thought = &usage["completion_tokens_details"]["reasoning_tokens"];
            self.tokens = [&usage["completion_tokens"], thought].map(|count| count.as_u64().unwrap());
        }
        let choice = &chunk["choices"][0];
        self.end += choice["finish_reason"].as_str().unwrap_or_default();
        let delta = &choice["delta"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        self.content += &text(&delta["content"]);
        self.reasoning += &text(&delta["reasoning_content"]);
        for call in delta["tool_calls"].as_array().into_iter().flatten() {
            let at = call["index"].as_u64().unwrap() as usize;
            self.calls.resize_with(self.calls.len().max(at + 1), Default::default);
            for (part, more) in [&call["id"], &call["function"]["name"], &call["function"]["arguments"]]
                .into_iter()
                .enumerate()
            {
                self.calls[at][part] += &text(more);
            }
        }
        delta.get(field).is_some_and(|more| !more.is_null() && *more != json!(""))
    }
}

/// Reads a stream to its end. Calls `disturb` at the `at`th piece of `field`.
fn read_stream(stream: Events, field: &str, at: usize, disturb: impl FnOnce()) -> ChatContent {
    assert_eq!(stream.status, 200);
    let (mut chat, mut seen, mut disturb, mut done) = (ChatContent::default(), 0, Some(disturb), false);
    for piece in stream {
        if piece == "[DONE]" {
            done = true;
            continue;
        }
        seen += usize::from(chat.add(&serde_json::from_str(&piece).unwrap(), field));
        if seen == at
            && let Some(disturb) = disturb.take()
        {
            disturb();
        }
    }
    assert!(done, "the stream has no end: {chat:?}");
    chat
}

/// Streams `body` undisturbed, and again with its worker killed at the `at`th piece of `field`. Returns their common content.
fn stream_twice(server: &Server, body: &Value, field: &str, at: usize) -> ChatContent {
    let mut body = body.clone();
    body["stream"] = json!(true);
    body["stream_options"] = json!({"include_usage": true});
    let stream = || server.stream("/v1/chat/completions", &body);
    let chat = read_stream(stream(), field, usize::MAX, || {});
    let before = server.log().matches("a request goes on").count();
    let kill = || process::signal(server.workers().remove(0).pid, Signal::SIGKILL);
    assert_eq!(read_stream(stream(), field, at, kill), chat);
    assert_eq!(
        server.log().matches("a request goes on").count(),
        before + 1,
        "the worker died during the answer"
    );
    chat
}

fn chat_body(model: &str, question: &str, more: &Value) -> Value {
    let mut body =
        json!({"model": model, "messages": [{"role": "user", "content": question}], "temperature": 0});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

#[test]
fn call_continues_after_its_worker_dies() {
    let server = Server::start();
    let parameters = json!({"type": "object", "required": ["city", "plan"], "additionalProperties": false, "properties": {
        "city": {"type": "string", "maxLength": 20}, "plan": {"type": "array", "minItems": 4, "maxItems": 6,
            "items": {"type": "string", "minLength": 5, "maxLength": 30}}}});
    let function =
        json!({"name": "plan_trip", "description": "Plans a trip to a city.", "parameters": parameters});
    let more = json!({"tools": [{"type": "function", "function": function}], "tool_choice": "required", "seed": 3,
        "parallel_tool_calls": false, "max_tokens": 160});
    let chat = stream_twice(&server, &chat_body(TOY_QWEN2, "Plan a trip to Paris.", &more), "tool_calls", 12);
    let [[id, name, arguments]] = &chat.calls[..] else { panic!("one call: {chat:?}") };
    assert!(id.starts_with("call_") && name == "plan_trip" && chat.end == "tool_calls", "{chat:?}");
    let arguments: Value = serde_json::from_str(arguments).unwrap();
    assert!(arguments["plan"].as_array().unwrap().len() >= 4);
}

#[test]
fn constrained_json_continues_after_its_worker_dies() {
    let server = Server::start();
    let schema = json!({"type": "object", "required": ["name", "steps"], "additionalProperties": false, "properties": {
        "name": {"type": "string", "minLength": 10, "maxLength": 40},
        "steps": {"type": "array", "minItems": 5, "maxItems": 6, "items": {"type": "integer", "minimum": 100, "maximum": 999}}}});
    let format =
        json!({"type": "json_schema", "json_schema": {"name": "x", "schema": schema, "strict": true}});
    for (temperature, seed) in [(0.0, 0), (1.0, 11)] {
        let more =
            json!({"response_format": format, "max_tokens": 120, "temperature": temperature, "seed": seed});
        let chat =
            stream_twice(&server, &chat_body(SHALLOW, "Describe a machine as JSON.", &more), "content", 10);
        let answer: Value = serde_json::from_str(&chat.content).unwrap();
        assert!(answer["steps"].as_array().unwrap().len() >= 5 && chat.end == "stop", "{chat:?}");
    }
}

#[test]
fn sampled_text_continues_after_its_worker_dies() {
    let server = Server::start();
    for seed in [1, 2] {
        let more = json!({"temperature": 1, "seed": seed, "max_tokens": 90, "ignore_eos": true});
        let chat = stream_twice(&server, &chat_body(SHALLOW, "Describe the sea.", &more), "content", 30);
        assert!(chat.content.len() > 100 && chat.tokens[0] == 90, "{chat:?}");
    }
}

/// The first stop text occurs in the thought, the second one in the answer.
#[test]
fn stop_text_ends_the_answer_after_its_worker_dies() {
    let folder = tempfile::tempdir().unwrap();
    thinker::write(folder.path());
    let server = Server::builder().models(folder.path()).start();
    let body = json!({"model": THINKER, "messages": thinker::lesson("What is 4 + 5?"), "temperature": 0, "max_tokens": 80,
        "stop": ["The user", "sum is"]});
    let chat = stream_twice(&server, &body, "reasoning_content", 6);
    assert!(chat.reasoning.starts_with("The user"), "{chat:?}");
    assert_eq!((&*chat.content, &*chat.end), ("The ", "stop"));
}

#[test]
fn thought_continues_after_its_worker_dies() {
    let folder = tempfile::tempdir().unwrap();
    thinker::write(folder.path());
    let server = Server::builder().models(folder.path()).start();
    let body = json!({"model": THINKER, "messages": thinker::lesson("What is 4 + 5?"), "temperature": 0, "max_tokens": 80});
    let chat = stream_twice(&server, &body, "reasoning_content", 6);
    assert!(chat.reasoning.len() > 20 && chat.content.starts_with("The sum is"), "{chat:?}");
    assert!(chat.tokens[1] > 6 && chat.tokens[0] > chat.tokens[1], "{chat:?}");
}
