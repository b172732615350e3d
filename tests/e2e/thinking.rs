//! A model that thinks, through each protocol. Thoughts are separate from the answer, are counted, and may be sent back.

use e2e::Server;
use e2e::http::Answer;
use e2e::places::TOY_QWEN3;
use e2e::thinker::{self, EXAMPLES, THINKER};
use serde_json::{Value, json};
use tempfile::TempDir;

const QUESTION: &str = "What is 4 + 5?";

fn start() -> (TempDir, Server) {
    let folder = tempfile::tempdir().unwrap();
    thinker::write(folder.path());
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

/// Thought and answer of a plain chat: every protocol has to give the same.
fn think_in_chat(server: &Server) -> (String, String) {
    let answer = chat(server, &json!({}));
    let (thought, said) =
        (answer.text("/choices/0/message/reasoning_content"), answer.text("/choices/0/message/content"));
    assert!(thought.len() > 20 && said.starts_with("The sum is"), "{}", answer.body);
    assert!(!said.contains("think>") && !thought.contains("think>"), "{}", answer.body);
    let thought_tokens =
        answer.body["usage"]["completion_tokens_details"]["reasoning_tokens"].as_u64().unwrap();
    let tokens = answer.body["usage"]["completion_tokens"].as_u64().unwrap();
    assert!(thought_tokens > 5 && thought_tokens < tokens, "{}", answer.body);
    (thought.to_owned(), said.to_owned())
}

#[test]
fn chat_returns_thoughts_and_accepts_them_back() {
    let (_folder, server) = start();
    let (thought, said) = think_in_chat(&server);
    // Earlier thoughts are in the prompt: without them it is shorter.
    let mut forgetful = thinker::lesson(QUESTION);
    for turn in forgetful.as_array_mut().unwrap() {
        turn.as_object_mut().unwrap().remove("reasoning_content");
    }
    let tokens = |answer: &Answer| answer.body["usage"]["prompt_tokens"].as_u64().unwrap();
    let with = tokens(&chat(&server, &json!({"max_tokens": 1})));
    assert!(with > tokens(&chat(&server, &json!({"max_tokens": 1, "messages": forgetful}))) + 40);
    // Cut off within its thoughts, it has no answer.
    let short = chat(&server, &json!({"max_tokens": 6}));
    assert!(
        short.body["choices"][0]["message"]["content"].as_str().is_none_or(str::is_empty),
        "{}",
        short.body
    );
    assert!(thought.starts_with(short.text("/choices/0/message/reasoning_content").trim_end()));
    assert_eq!(short.body["usage"]["completion_tokens_details"]["reasoning_tokens"], 6);
    // The template's switch turns it off.
    let plain = chat(&server, &json!({"chat_template_kwargs": {"enable_thinking": false}}));
    assert!(
        plain.body["choices"][0]["message"].get("reasoning_content").is_none_or(Value::is_null),
        "{}",
        plain.body
    );
    assert!(!plain.text("/choices/0/message/content").is_empty() && !said.is_empty());
}

/// The beginning of `answer` before `stop`, and whether it occurs.
fn before<'a>(answer: &'a str, stop: &str) -> (&'a str, bool) {
    answer.split_once(stop).map_or((answer, false), |(before, _)| (before, true))
}

/// Evaluation harnesses send stop texts with every request.
#[test]
fn stop_text_ends_the_answer_and_not_the_thought() {
    let (_folder, server) = start();
    let (thought, said) = think_in_chat(&server);
    for stop in [&thought[..8], "\n\n", "sum is"] {
        let (expected, stops) = before(&said, stop);
        let answer = chat(&server, &json!({"stop": [stop]}));
        assert_eq!(answer.text("/choices/0/message/reasoning_content"), thought, "{stop}");
        assert_eq!(answer.text("/choices/0/message/content"), expected, "{stop}");
        assert!(!stops || answer.text("/choices/0/finish_reason") == "stop", "{}", answer.body);
        let body = json!({"model": THINKER, "messages": thinker::lesson(QUESTION), "temperature": 0, "max_tokens": 80,
            "stop": stop, "stream": true});
        let mut streamed = [String::new(), String::new()];
        for data in server.stream("/v1/chat/completions", &body).filter(|data| data != "[DONE]") {
            let delta = serde_json::from_str::<Value>(&data).unwrap()["choices"][0]["delta"].clone();
            streamed[0] += delta["reasoning_content"].as_str().unwrap_or_default();
            streamed[1] += delta["content"].as_str().unwrap_or_default();
        }
        assert_eq!(streamed, [&thought, expected]);
        let turns = EXAMPLES.iter().flat_map(|[asked, thought, answered]| {
            let content = json!([{"type": "thinking", "thinking": thought, "signature": "s"}, {"type": "text", "text": answered}]);
            [json!({"role": "user", "content": asked}), json!({"role": "assistant", "content": content})]
        });
        let messages: Value = turns.chain([json!({"role": "user", "content": QUESTION})]).collect();
        let answer = server.post(
            "/v1/messages",
            &json!({"model": THINKER, "messages": messages, "temperature": 0,
            "max_tokens": 80, "thinking": {"type": "adaptive"}, "stop_sequences": [stop]}),
        );
        assert_eq!(
            [answer.text("/content/0/thinking"), answer.text("/content/1/text")],
            [&thought, expected]
        );
        assert!(!stops || answer.text("/stop_sequence") == stop, "{}", answer.body);
    }
}

/// A schema constrains the answer only. The thought before it is free, whether the prompt or the model opens it.
#[test]
fn constrained_json_follows_a_free_thought() {
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

#[test]
fn messages_have_thinking_blocks() {
    let (_folder, server) = start();
    let (thought, said) = think_in_chat(&server);
    let turns = EXAMPLES.iter().flat_map(|[asked, thought, answered]| {
        let content = json!([{"type": "thinking", "thinking": thought, "signature": "s"}, {"type": "text", "text": answered}]);
        [json!({"role": "user", "content": asked}), json!({"role": "assistant", "content": content})]
    });
    let messages: Value = turns.chain([json!({"role": "user", "content": QUESTION})]).collect();
    let mut body = json!({"model": THINKER, "messages": messages, "temperature": 0, "max_tokens": 80, "thinking": {"type": "adaptive"}});
    let answer = server.post("/v1/messages", &body);
    assert_eq!(answer.text("/content/0/type"), "thinking", "{}", answer.body);
    assert_eq!([answer.text("/content/0/thinking"), answer.text("/content/1/text")], [&thought, &said]);
    assert!(!answer.text("/content/0/signature").is_empty());
    body["stream"] = json!(true);
    let (mut streamed, mut kinds) = ([String::new(), String::new()], Vec::new());
    for event in server.stream("/v1/messages", &body) {
        let event: Value = serde_json::from_str(&event).unwrap();
        kinds.push(
            [&event["type"], &event["delta"]["type"]]
                .map(|kind| kind.as_str().unwrap_or_default().to_owned())
                .join(" "),
        );
        streamed[0] += event["delta"]["thinking"].as_str().unwrap_or_default();
        streamed[1] += event["delta"]["text"].as_str().unwrap_or_default();
    }
    assert_eq!(streamed, [thought, said]);
    kinds.dedup();
    let signature = kinds.iter().position(|kind| kind == "content_block_delta signature_delta").unwrap();
    assert_eq!(kinds[signature + 1], "content_block_stop ", "{kinds:?}");
}

#[test]
fn responses_have_reasoning_items() {
    let (_folder, server) = start();
    let (thought, said) = think_in_chat(&server);
    let turns = EXAMPLES.iter().flat_map(|[asked, thought, answered]| {
        let reasoning = json!({"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": thought}]});
        [json!({"role": "user", "content": asked}), reasoning, json!({"role": "assistant", "content": answered})]
    });
    let input: Vec<Value> = turns.chain([json!({"role": "user", "content": QUESTION})]).collect();
    let respond = |input: &Value, more: &Value| {
        let mut body = json!({"model": THINKER, "input": input, "temperature": 0, "max_output_tokens": 80});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let answer = server.post("/v1/responses", &body);
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer
    };
    let answer = respond(&json!(input), &json!({"include": ["reasoning.encrypted_content"], "store": false}));
    assert_eq!(answer.text("/output/0/type"), "reasoning", "{}", answer.body);
    assert_eq!(
        [answer.text("/output/0/content/0/text"), answer.text("/output/1/content/0/text")],
        [&thought, &said]
    );
    assert!(answer.body["usage"]["output_tokens_details"]["reasoning_tokens"].as_u64().unwrap() > 5);
    // Encrypted, it makes the same prompt when it comes back.
    let tokens = |answer: &Answer| answer.body["usage"]["input_tokens"].as_u64().unwrap();
    let next = |reasoning: Option<&Value>| {
        let mut all = input.clone();
        all.extend(reasoning.cloned());
        all.extend([answer.body["output"][1].clone(), json!({"role": "user", "content": "And 1 + 1?"})]);
        tokens(&respond(&json!(all), &json!({"max_output_tokens": 1, "store": false})))
    };
    let mut sealed = answer.body["output"][0].clone();
    assert!(sealed["encrypted_content"].as_str().is_some_and(|sealed| !sealed.is_empty()), "{sealed}");
    let open = next(Some(&sealed));
    sealed.as_object_mut().unwrap().remove("content");
    assert_eq!(next(Some(&sealed)), open);
    assert!(open > next(None) + 10);
}

/// Qwen3's tags are tokens of their own, and its template closes the thought in the prompt.
#[test]
fn qwen3_chat_without_thinking_constrains_the_whole_answer() {
    let server = Server::start();
    let schema = json!({"type": "object", "properties": {"sum": {"enum": [8, 9]}}, "required": ["sum"], "additionalProperties": false});
    let format =
        json!({"type": "json_schema", "json_schema": {"name": "sum", "schema": schema, "strict": true}});
    let body = json!({"model": TOY_QWEN3, "messages": [{"role": "user", "content": QUESTION}], "temperature": 0, "max_tokens": 40,
        "response_format": format, "chat_template_kwargs": {"enable_thinking": false}});
    let rendered = server.post("/v1/chat/completions/render", &body);
    assert!(rendered.text("/prompt").ends_with("<think>\n\n</think>\n\n"), "{}", rendered.body);
    let answer = server.post("/v1/chat/completions", &body);
    assert_eq!(answer.status, 200, "{}", answer.body);
    let sum: Value = serde_json::from_str(answer.text("/choices/0/message/content")).unwrap();
    assert!(sum == json!({"sum": 8}) || sum == json!({"sum": 9}), "{sum}");
    assert_eq!(answer.body["usage"]["completion_tokens_details"]["reasoning_tokens"], 0);
}
