//! The scripted model of the tests with coding agents follows its script, whatever the sampling, and reads it from cached blocks.

use e2e::induction::{self, SCRIPTED, Script, Turn};
use e2e::{Server, http::Answer};
use serde_json::{Value, json};

fn script() -> Script {
    let turns = vec![
        Turn::Call("read_file", json!({"path": "a.txt"})),
        Turn::Call("read_file", json!({"path": "b.txt"})),
        Turn::Say("Both files are empty.".into()),
    ];
    Script { turns, aside: "Two files", summary: None }
}

fn chat(server: &Server, messages: &[Value], tools: bool) -> Answer {
    let parameters = json!({"type": "object", "properties": {"path": {"type": "string"}}});
    let function = json!({"name": "read_file", "description": "Reads a file.", "parameters": parameters});
    let mut body =
        json!({"model": SCRIPTED, "messages": messages, "temperature": 2, "seed": 1, "max_tokens": 200});
    if tools {
        body["tools"] = json!([{"type": "function", "function": function}]);
    }
    let answer = server.post("/v1/chat/completions", &body);
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer
}

#[test]
fn scripted_model_follows_its_script_from_the_cache() {
    let folder = tempfile::tempdir().unwrap();
    induction::write(folder.path(), &script());
    let server = Server::builder().models(folder.path()).start();
    let mut messages = vec![json!({"role": "user", "content": "What do a.txt and b.txt say? ".repeat(20)})];
    for (step, path) in ["a.txt", "b.txt"].into_iter().enumerate() {
        let answer = chat(&server, &messages, true);
        let call = &answer.body["choices"][0]["message"]["tool_calls"][0];
        let arguments: Value = serde_json::from_str(call["function"]["arguments"].as_str().unwrap()).unwrap();
        assert_eq!(arguments, json!({"path": path}), "{}", answer.body);
        let cached = answer.body["usage"]["prompt_tokens_details"]["cached_tokens"].as_u64().unwrap();
        // The script stands at the beginning of the prompt.
        assert!(step == 0 || cached > 300, "{}", answer.body);
        messages.push(answer.body["choices"][0]["message"].clone());
        messages.push(json!({"role": "tool", "tool_call_id": call["id"], "content": ""}));
    }
    assert_eq!(chat(&server, &messages, true).text("/choices/0/message/content"), "Both files are empty.");
    assert_eq!(chat(&server, &messages[..1], false).text("/choices/0/message/content"), "Two files");
}
