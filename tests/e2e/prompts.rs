//! Rendered prompts of a real model: over HTTP, on the command line, and with an invalid template.

use e2e::places::{self, TOY_QWEN2, TOY_QWEN3};
use e2e::{Server, derived};
use serde_json::{Value, json};
use tempfile::TempDir;

const MODEL: &str = "only";

/// A server with one model: SmolLM2, with its own chat template or with `template`.
fn start_with(template: Option<&str>) -> (TempDir, Server) {
    let folder = tempfile::tempdir().unwrap();
    if let Some(template) = template {
        derived::write(folder.path(), MODEL, template);
    } else {
        derived::link(folder.path(), MODEL);
    }
    let server = Server::builder().models(folder.path()).start();
    (folder, server)
}

fn chat(content: &str) -> Value {
    json!({"model": MODEL, "messages": [{"role": "user", "content": content}], "max_tokens": 2})
}

/// The answer of the `render` endpoint.
fn rendered(server: &Server, body: &Value) -> Value {
    let answer = server.post("/v1/chat/completions/render", body);
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.body
}

#[test]
fn rendered_prompt_has_the_tokens_of_the_generation() {
    let (_folder, server) = start_with(None);
    let rendered = rendered(&server, &chat("Hi"));
    assert!(rendered["prompt"].as_str().unwrap().ends_with("user\nHi<|im_end|>\n<|im_start|>assistant\n"));
    assert_eq!(rendered["template"]["file"], "tokenizer_config.json");
    let answer = server.post("/v1/chat/completions", &chat("Hi"));
    assert_eq!(answer.body["usage"]["prompt_tokens"], rendered["token_count"]);
    // The same text has the same tokens, and they the same text; the only model needs no name.
    let tokens = server.post("/tokenize", &json!({"content": rendered["prompt"]})).body;
    assert_eq!(tokens["tokens"], rendered["token_ids"]);
    assert_eq!(server.post("/detokenize", &tokens).body["content"], rendered["prompt"]);
    assert_eq!(server.post("/apply-template", &chat("Hi")).body["prompt"], rendered["prompt"]);
}

#[test]
fn invalid_template_fails_chats_and_not_completions() {
    let (_folder, server) = start_with(Some("{% if %}"));
    let message = server.post("/v1/chat/completions", &chat("Hi"));
    let message = message.expect_error(400);
    assert!(message.contains("chat_template.jinja") && message.contains("completions"), "{message}");
    let completed = server.post("/v1/completions", &json!({"model": MODEL, "prompt": "Hi", "max_tokens": 2}));
    assert_eq!(completed.status, 200, "{}", completed.body);
    let models = server.get("/v1/models").body;
    let problem = models["data"][0]["details"]["chat_problem"].as_str().unwrap();
    assert!(problem.starts_with("chat_template.jinja: the chat template is not valid"), "{problem}");
    assert_eq!(models["data"][0]["details"]["capabilities"]["chat"], false);
    assert!(server.mlxd(&["ps", "--all"]).contains("chat"), "ps says that chats fail");
    assert!(server.mlxd(&["show", MODEL]).contains(problem));
}

/// A template comes with a downloaded model. Each of these would take the memory, the time or the stack of the worker.
#[test]
fn template_without_bounds_is_refused_and_its_worker_goes_on() {
    let twice = "{% for i in range(40) %}{% set n.x = n.x ~ n.x %}{% endfor %}";
    let texts = [
        format!("{{% set n = namespace(x='x' * 1000) %}}{twice}{{{{ n.x | length }}}}"),
        "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}".to_owned(),
        "{% set n = namespace() %}{% set n.x = [n] %}{{ n }}".to_owned(),
    ];
    let folder = tempfile::tempdir().unwrap();
    let names = ["memory", "time", "stack"];
    for (name, text) in names.into_iter().zip(&texts) {
        derived::write(folder.path(), name, text);
    }
    let server = Server::builder().models(folder.path()).start();
    for name in names {
        let mut body = chat("Hi");
        body["model"] = name.into();
        let complete =
            || server.post("/v1/completions", &json!({"model": name, "prompt": "Hi", "max_tokens": 1}));
        assert_eq!(complete().status, 200, "{name}");
        let worker = server.workers().remove(0).pid;
        server.post("/v1/chat/completions", &body).expect_error(400);
        assert_eq!(complete().status, 200, "{name}");
        assert_eq!(server.workers().remove(0).pid, worker, "{name}: {}", server.log());
        server.mlxd(&["unload", name]);
    }
}

#[test]
fn control_tokens_in_a_message_are_text_by_request_or_setting() {
    let (_folder, server) = start_with(None);
    let count = |body: &Value| rendered(&server, body)["token_count"].as_u64().unwrap();
    let plain = chat("say <|im_end|> now");
    let mut sanitized = plain.clone();
    sanitized["sanitize_control_tokens"] = true.into();
    let difference = count(&sanitized) - count(&plain);
    assert!(difference > 3, "one control token is several of text: {difference}");
    server.mlxd(&["set", MODEL, "sanitize_control_tokens=true"]);
    server.mlxd(&["restart", MODEL]);
    assert_eq!(count(&plain), count(&sanitized), "the setting is the default");
    sanitized["sanitize_control_tokens"] = false.into();
    assert_eq!(count(&plain) - count(&sanitized), difference, "a request may still say false");
}

#[test]
fn show_prints_the_prompt_of_a_request_file() {
    let (folder, server) = start_with(None);
    let file = folder.path().join("request.json");
    std::fs::write(&file, chat("Hi").to_string()).unwrap();
    let shown = server.mlxd(&["show", MODEL, "--prompt", file.to_str().unwrap()]);
    let prompt = rendered(&server, &chat("Hi"))["prompt"].as_str().unwrap().to_owned();
    assert!(shown.contains(&prompt) && shown.contains("tokenizer_config.json"), "{shown}");
    let ids = server.mlxd(&["show", MODEL, "--prompt", file.to_str().unwrap(), "--ids"]);
    assert!(ids.contains("<|im_start|>"), "{ids}");
    let all = server.mlxd(&["show", MODEL, "--prompt", file.to_str().unwrap(), "--json"]);
    assert!(all.contains("\"token_ids\""), "{all}");
    let (done, text) = server.command(&["show", "nothing", "--prompt", file.to_str().unwrap()]);
    assert!(!done && text.contains("nothing"), "{text}");
}

/// Transformers' prompts for one of the models, from the worker's goldens.
fn golden_prompts(model: &str) -> Vec<Value> {
    let path = places::repository().join(format!("worker/tests/golden/real/{model}.json"));
    let golden: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let prompts = golden["prompts"].as_array().unwrap().iter();
    prompts.filter(|prompt| prompt["messages"].is_array()).cloned().collect()
}

#[test]
fn rendered_qwen_prompt_matches_transformers() {
    let server = Server::start();
    for model in [TOY_QWEN2, TOY_QWEN3] {
        let prompts = golden_prompts(model);
        assert!(prompts.iter().any(|prompt| prompt["tools"].is_array()), "{model}");
        for golden in prompts {
            let mut body = json!({"model": model, "messages": golden["messages"]});
            if golden["tools"].is_array() {
                body["tools"] = golden["tools"].clone();
                assert_eq!(rendered(&server, &body)["prompt"], golden["rendered"], "{model}");
            } else {
                assert_eq!(rendered(&server, &body)["token_ids"], golden["ids"], "{model}");
            }
        }
    }
}
