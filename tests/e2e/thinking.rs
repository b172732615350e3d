//! A model that thinks before an answer of a demanded form.

use e2e::Server;
use e2e::http::Answer;
use e2e::thinker::{self, THINKER};
use serde_json::{Value, json};
use tempfile::TempDir;

const QUESTION: &str = "What is 4 + 5?";

fn start() -> (TempDir, Server) {
    let folder = tempfile::tempdir().unwrap();
    thinker::put(folder.path());
    let server = Server::builder().models(folder.path()).start();
    (folder, server)
}

fn chat(server: &Server, more: &Value) -> Answer {
    let mut body =
        json!({"model": THINKER, "messages": thinker::lesson(QUESTION), "temperature": 0, "max_tokens": 80});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let answer = server.post("/v1/chat/completions", &body);
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer
}

/// A demanded form is the answer's; the thought before it is free, whether the prompt has opened it or the model does.
#[test]
fn what_is_thought_precedes_demanded_json() {
    let (_folder, server) = start();
    let schema = json!({"type": "object", "properties": {"sum": {"type": "integer"}}, "required": ["sum"], "additionalProperties": false});
    let format =
        json!({"type": "json_schema", "json_schema": {"name": "sum", "schema": schema, "strict": true}});
    for hybrid in [false, true] {
        let answer =
            chat(&server, &json!({"response_format": format, "chat_template_kwargs": {"hybrid": hybrid}}));
        let sum: Value = serde_json::from_str(answer.text("/choices/0/message/content")).unwrap();
        assert!(sum["sum"].is_i64(), "{sum}");
        assert!(answer.text("/choices/0/message/reasoning_content").len() > 20, "{hybrid}: {}", answer.body);
    }
    let off = json!({"response_format": format, "chat_template_kwargs": {"enable_thinking": false}});
    let answer = chat(&server, &off);
    assert!(
        serde_json::from_str::<Value>(answer.text("/choices/0/message/content")).unwrap()["sum"].is_i64()
    );
    assert_eq!(answer.body["usage"]["completion_tokens_details"]["reasoning_tokens"], 0);
}
