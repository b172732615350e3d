//! Agent loops under published chat templates: a call, its result, another call, its result, an answer. Each template has
//! SmolLM2's first layers. The calls make no sense, but the server renders, parses and caches every form of calls.

use std::path::Path;

use e2e::{Server, derived, places};
use serde_json::{Value, json};

/// Templates of families that write calls in different forms.
const TEMPLATES: [&str; 12] = [
    "Qwen-Qwen3-0.6B",
    "Qwen-QwQ-32B",
    "Qwen3-Coder",
    "NVIDIA-Nemotron-3-Nano-30B-A3B-BF16",
    "openai-gpt-oss-120b",
    "unsloth-mistral-Devstral-Small-2507",
    "mistralai-Ministral-3-14B-Reasoning-2512",
    "ibm-granite-granite-3.3-2B-Instruct",
    "meta-llama-Llama-3.1-8B-Instruct",
    "NousResearch-Hermes-3-Llama-3.1-8B-tool_use",
    "deepseek-ai-DeepSeek-V3.1",
    "Mistral-Small-3.2-24B-Instruct-2506",
];
const TOOL: &str = "read_file";
/// Tokens of a block of the prefix cache.
const BLOCK: u64 = 32;
/// Tokens of an answer: enough for eight of reasoning and a call.
const fn max_tokens(forced: Option<&str>) -> u32 {
    if forced.is_some() { 96 } else { 8 }
}

/// The result of one request of a loop.
struct Turn {
    call: Option<Call>,
    prompt_tokens: u64,
    cached_tokens: u64,
}

#[derive(Clone, Default)]
struct Call {
    id: String,
    name: String,
    arguments: String,
}

fn scripted(step: usize) -> Call {
    Call { id: format!("call_{step}"), name: TOOL.into(), arguments: r#"{"path": "lib.py"}"#.into() }
}

/// A client's protocol: its requests, its answers, and the next turn.
struct Protocol {
    path: &'static str,
    /// Whether a request can limit reasoning to eight tokens: SmolLM2 does not stop by itself.
    bounds_reasoning: bool,
    request: fn(&str, &[Value], Option<&str>) -> Value,
    read: fn(&[Value]) -> Turn,
    continued: fn(&Call, &str) -> Vec<Value>,
}

const PROTOCOLS: [Protocol; 3] = [
    Protocol {
        path: "/v1/chat/completions",
        bounds_reasoning: true,
        request: chat,
        read: read_chat,
        continued: continued_chat,
    },
    Protocol {
        path: "/v1/responses",
        bounds_reasoning: true,
        request: responses,
        read: read_responses,
        continued: continued_responses,
    },
    Protocol {
        path: "/v1/messages",
        bounds_reasoning: false,
        request: messages,
        read: read_messages,
        continued: continued_messages,
    },
];

fn schema() -> Value {
    let path = json!({"type": "string", "enum": ["main.py", "lib.py"], "description": "The file to read"});
    json!({"type": "object", "properties": {"path": path}, "required": ["path"], "additionalProperties": false})
}

const ASKED: &str =
    "The tests fail since yesterday. Read the files of this project, one at a time, and find out why.";
const SYSTEM: &str = "You are a careful coding agent. You read before you write, and you answer in few words. \
    The project is a small Python program with two files, main.py and lib.py, and its tests run in a minute.";

fn chat(model: &str, turns: &[Value], forced: Option<&str>) -> Value {
    let mut messages =
        vec![json!({"role": "system", "content": SYSTEM}), json!({"role": "user", "content": ASKED})];
    messages.extend_from_slice(turns);
    let function =
        json!({"name": TOOL, "description": "Reads a file", "parameters": schema(), "strict": true});
    json!({"model": model, "messages": messages, "stream": true, "stream_options": {"include_usage": true},
        "tools": [{"type": "function", "function": function}], "tool_choice": forced.unwrap_or("auto"),
        "temperature": 0, "max_tokens": max_tokens(forced), "parallel_tool_calls": false, "thinking_budget": 8})
}

fn read_chat(events: &[Value]) -> Turn {
    let mut call = Call::default();
    let mut usage = Value::Null;
    for event in events {
        let made = &event["choices"][0]["delta"]["tool_calls"][0];
        call.id += made["id"].as_str().unwrap_or_default();
        call.name += made["function"]["name"].as_str().unwrap_or_default();
        call.arguments += made["function"]["arguments"].as_str().unwrap_or_default();
        if event["usage"].is_object() {
            usage = event["usage"].clone();
        }
    }
    Turn {
        call: Some(call).filter(|call| !call.name.is_empty()),
        prompt_tokens: usage["prompt_tokens"].as_u64().unwrap(),
        cached_tokens: usage["prompt_tokens_details"]["cached_tokens"].as_u64().unwrap(),
    }
}

fn continued_chat(call: &Call, result: &str) -> Vec<Value> {
    let function = json!({"name": call.name, "arguments": call.arguments});
    let made = json!({"id": call.id, "type": "function", "function": function});
    vec![
        json!({"role": "assistant", "content": null, "tool_calls": [made]}),
        json!({"role": "tool", "tool_call_id": call.id, "content": result}),
    ]
}

fn responses(model: &str, turns: &[Value], forced: Option<&str>) -> Value {
    let mut input = vec![json!({"role": "user", "content": ASKED})];
    input.extend_from_slice(turns);
    json!({"model": model, "instructions": SYSTEM, "input": input, "stream": true, "store": false,
        "tools": [{"type": "function", "name": TOOL, "description": "Reads a file", "parameters": schema(), "strict": true}],
        "tool_choice": forced.unwrap_or("auto"), "temperature": 0, "max_output_tokens": max_tokens(forced),
        "parallel_tool_calls": false, "reasoning": {"max_tokens": 8}})
}

fn read_responses(events: &[Value]) -> Turn {
    let last = &events.last().unwrap()["response"];
    let call = last["output"].as_array().unwrap().iter().find(|item| item["type"] == "function_call");
    let text = |item: &Value, key: &str| item[key].as_str().unwrap().to_owned();
    let call = call.map(|item| Call {
        id: text(item, "call_id"),
        name: text(item, "name"),
        arguments: text(item, "arguments"),
    });
    let usage = &last["usage"];
    Turn {
        call,
        prompt_tokens: usage["input_tokens"].as_u64().unwrap(),
        cached_tokens: usage["input_tokens_details"]["cached_tokens"].as_u64().unwrap(),
    }
}

fn continued_responses(call: &Call, result: &str) -> Vec<Value> {
    vec![
        json!({"type": "function_call", "call_id": call.id, "name": call.name, "arguments": call.arguments}),
        json!({"type": "function_call_output", "call_id": call.id, "output": result}),
    ]
}

fn messages(model: &str, turns: &[Value], forced: Option<&str>) -> Value {
    let mut messages = vec![json!({"role": "user", "content": ASKED})];
    messages.extend_from_slice(turns);
    let kind = if forced.is_some() { "any" } else { "auto" };
    json!({"model": model, "system": SYSTEM, "messages": messages, "stream": true, "max_tokens": max_tokens(forced), "temperature": 0,
        "tools": [{"name": TOOL, "description": "Reads a file", "input_schema": schema(), "strict": true}],
        "tool_choice": {"type": kind, "disable_parallel_tool_use": true}, "thinking": {"type": "disabled"}})
}

fn read_messages(events: &[Value]) -> Turn {
    let mut call = Call::default();
    let mut turn = Turn { call: None, prompt_tokens: 0, cached_tokens: 0 };
    for event in events {
        let block = &event["content_block"];
        if block["type"] == "tool_use" {
            call = Call {
                id: block["id"].as_str().unwrap().into(),
                name: block["name"].as_str().unwrap().into(),
                ..call
            };
        }
        call.arguments += event["delta"]["partial_json"].as_str().unwrap_or_default();
        if event["type"] == "message_delta" {
            let usage = |key: &str| event["usage"][key].as_u64().unwrap_or(0);
            turn.cached_tokens = usage("cache_read_input_tokens");
            turn.prompt_tokens =
                usage("input_tokens") + turn.cached_tokens + usage("cache_creation_input_tokens");
        }
    }
    turn.call = Some(call).filter(|call| !call.name.is_empty());
    turn
}

fn continued_messages(call: &Call, result: &str) -> Vec<Value> {
    let input: Value = serde_json::from_str(&call.arguments).unwrap();
    vec![
        json!({"role": "assistant", "content": [{"type": "tool_use", "id": call.id, "name": call.name, "input": input}]}),
        json!({"role": "user", "content": [{"type": "tool_result", "tool_use_id": call.id, "content": result}]}),
    ]
}

/// SmolLM2's first layers and tokenizer behind a published template.
fn write_model(folder: &Path, template: &str) {
    let path = places::templates().join(format!("llama.cpp/{template}.jinja"));
    let model = derived::write(folder, template, &std::fs::read_to_string(path).unwrap());
    if template.starts_with("openai-gpt-oss") {
        write_harmony_tokens(&model.join("tokenizer.json"));
    }
}

/// Gives special tokens that SmolLM2 does not use the names of gpt-oss' control tokens: grammars rely on them.
fn write_harmony_tokens(file: &Path) {
    let mut text = std::fs::read_to_string(file).unwrap();
    let unused = [
        "<repo_name>",
        "<reponame>",
        "<file_sep>",
        "<filename>",
        "<gh_stars>",
        "<issue_start>",
        "<issue_comment>",
    ];
    let control = ["start", "end", "message", "channel", "call", "return", "constrain"];
    for (unused, name) in unused.iter().zip(control) {
        assert!(text.contains(unused), "{unused} is a token of SmolLM2");
        text = text.replace(unused, &format!("<|{name}|>"));
    }
    std::fs::remove_file(file).unwrap();
    std::fs::write(file, text).unwrap();
}

/// The events of a stream that must succeed.
fn events(server: &Server, path: &str, body: &Value, context: &str) -> Vec<Value> {
    let stream = server.stream(path, body);
    let refused = || server.post(path, body).body;
    assert!(stream.status == 200, "{context}: {}", refused());
    let parsed = stream.filter(|data| data != "[DONE]").map(|data| serde_json::from_str(&data).unwrap());
    let events: Vec<Value> = parsed.collect();
    let failed =
        |event: &&Value| event.get("error").is_some_and(|error| !error.is_null()) || event["type"] == "error";
    assert!(!events.iter().any(|event| failed(&event)), "{context}: {events:?}");
    events
}

/// Three requests. The cache serves the prefix that each shares with the one before.
fn agent_loop(server: &Server, template: &str, protocol: &Protocol) {
    let mut turns = Vec::new();
    let mut before = 0;
    for step in 1..=3 {
        let context = format!("{template}, {}, step {step}", protocol.path);
        let forced = (step < 3).then_some("required");
        let body = (protocol.request)(template, &turns, forced);
        let turn = (protocol.read)(&events(server, protocol.path, &body, &context));
        assert!(turn.prompt_tokens > before, "{context}: the prompt grows");
        // The last block is not full, and a template may render the end of the prompt differently in the next turn.
        let enough = (before * 9 / 10).saturating_sub(BLOCK);
        assert!(turn.cached_tokens >= enough, "{context}: {} of {before} cached", turn.cached_tokens);
        before = turn.prompt_tokens;
        if forced.is_some() {
            let call = match turn.call {
                Some(call) => call,
                // All its tokens were reasoning.
                None if !protocol.bounds_reasoning => scripted(step),
                None => panic!("{context}: no call"),
            };
            assert_eq!(call.name, TOOL, "{context}");
            let arguments: Value = serde_json::from_str(&call.arguments).unwrap();
            assert!(["main.py", "lib.py"].contains(&arguments["path"].as_str().unwrap()), "{context}");
            // A result that looks like a number, and one of several lines.
            let result = ["42", "def run():\n    return {\"a\": None}\n"][step % 2];
            turns.extend((protocol.continued)(&call, result));
        }
    }
}

#[test]
fn agent_loop_under_a_published_template_calls_and_is_cached() {
    let folder = tempfile::tempdir().unwrap();
    for template in TEMPLATES {
        write_model(folder.path(), template);
    }
    let server = Server::builder().models(folder.path()).start();
    for template in TEMPLATES {
        for protocol in &PROTOCOLS {
            agent_loop(&server, template, protocol);
        }
        server.mlxd(&["unload", template]);
    }
}
