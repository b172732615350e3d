//! A worker is killed in the midst of an answer: the same HTTP response goes on, and says what it would have said undisturbed,
//! be it a call, a thought, constrained JSON or chance.

use e2e::http::Events;
use e2e::places::{QWEN, SMOLLM2};
use e2e::thinker::{self, THINKER};
use e2e::{Server, process};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

/// What a streamed chat said.
#[derive(Debug, Default, PartialEq)]
struct Said {
    content: String,
    reasoning: String,
    /// Ids, names and arguments.
    calls: Vec<[String; 3]>,
    end: String,
    /// Tokens of the answer, and of these of thoughts.
    tokens: [u64; 2],
}

impl Said {
    /// Adds a chunk; whether it is one of which `of` has more.
    fn add(&mut self, chunk: &Value, of: &str) -> bool {
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
        delta.get(of).is_some_and(|more| !more.is_null() && *more != json!(""))
    }
}

/// Reads a stream to its end; at the `at`th piece of `of` it calls `disturb`.
fn read(stream: Events, of: &str, at: usize, disturb: impl FnOnce()) -> Said {
    assert_eq!(stream.status, 200);
    let (mut said, mut seen, mut disturb, mut done) = (Said::default(), 0, Some(disturb), false);
    for piece in stream {
        if piece == "[DONE]" {
            done = true;
            continue;
        }
        seen += usize::from(said.add(&serde_json::from_str(&piece).unwrap(), of));
        if seen == at
            && let Some(disturb) = disturb.take()
        {
            disturb();
        }
    }
    assert!(done, "the stream has no end: {said:?}");
    said
}

/// Streams `body` undisturbed and then with its worker killed at the `at`th piece of `of`; what both said.
fn undisturbed(server: &Server, body: &Value, of: &str, at: usize) -> Said {
    let mut body = body.clone();
    body["stream"] = json!(true);
    body["stream_options"] = json!({"include_usage": true});
    let chat = || server.stream("/v1/chat/completions", &body);
    let said = read(chat(), of, usize::MAX, || {});
    let before = server.log().matches("a request goes on").count();
    let kill = || process::signal(server.workers().remove(0).pid, Signal::SIGKILL);
    assert_eq!(read(chat(), of, at, kill), said);
    assert_eq!(server.log().matches("a request goes on").count(), before + 1, "it died in the midst of it");
    said
}

fn ask(model: &str, question: &str, more: &Value) -> Value {
    let mut body =
        json!({"model": model, "messages": [{"role": "user", "content": question}], "temperature": 0});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

#[test]
fn a_call_goes_on() {
    let server = Server::start();
    let parameters = json!({"type": "object", "required": ["city", "plan"], "additionalProperties": false, "properties": {
        "city": {"type": "string", "maxLength": 20}, "plan": {"type": "array", "minItems": 4, "maxItems": 6,
            "items": {"type": "string", "minLength": 5, "maxLength": 30}}}});
    let function =
        json!({"name": "plan_trip", "description": "Plans a trip to a city.", "parameters": parameters});
    let more = json!({"tools": [{"type": "function", "function": function}], "tool_choice": "required", "seed": 3,
        "parallel_tool_calls": false, "max_tokens": 160});
    let said = undisturbed(&server, &ask(QWEN, "Plan a trip to Paris.", &more), "tool_calls", 12);
    let [[id, name, arguments]] = &said.calls[..] else { panic!("one call: {said:?}") };
    assert!(id.starts_with("call_") && name == "plan_trip" && said.end == "tool_calls", "{said:?}");
    let arguments: Value = serde_json::from_str(arguments).unwrap();
    assert!(arguments["plan"].as_array().unwrap().len() >= 4);
}

#[test]
fn constrained_json_goes_on() {
    let server = Server::start();
    let schema = json!({"type": "object", "required": ["name", "steps"], "additionalProperties": false, "properties": {
        "name": {"type": "string", "minLength": 10, "maxLength": 40},
        "steps": {"type": "array", "minItems": 5, "maxItems": 6, "items": {"type": "integer", "minimum": 100, "maximum": 999}}}});
    let format =
        json!({"type": "json_schema", "json_schema": {"name": "x", "schema": schema, "strict": true}});
    for (temperature, seed) in [(0.0, 0), (1.0, 11)] {
        let more =
            json!({"response_format": format, "max_tokens": 120, "temperature": temperature, "seed": seed});
        let said = undisturbed(&server, &ask(SMOLLM2, "Describe a machine as JSON.", &more), "content", 10);
        let answer: Value = serde_json::from_str(&said.content).unwrap();
        assert!(answer["steps"].as_array().unwrap().len() >= 5 && said.end == "stop", "{said:?}");
    }
}

#[test]
fn chance_goes_on() {
    let server = Server::start();
    for seed in [1, 2] {
        let more = json!({"temperature": 1, "seed": seed, "max_tokens": 90, "ignore_eos": true});
        let said = undisturbed(&server, &ask(SMOLLM2, "Tell me of the sea.", &more), "content", 30);
        assert!(said.content.len() > 100 && said.tokens[0] == 90, "{said:?}");
    }
}

#[test]
fn a_thought_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    thinker::put(folder.path());
    let server = Server::builder().models(folder.path()).start();
    let body = json!({"model": THINKER, "messages": thinker::lesson("What is 4 + 5?"), "temperature": 0, "max_tokens": 80});
    let said = undisturbed(&server, &body, "reasoning_content", 6);
    assert!(said.reasoning.len() > 20 && said.content.starts_with("The sum is"), "{said:?}");
    assert!(said.tokens[1] > 6 && said.tokens[0] > said.tokens[1], "{said:?}");
}
