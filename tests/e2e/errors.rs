//! Every failure is a clear error, in OpenAI's form outside the other protocols.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use e2e::places::{self, SHALLOW};
use e2e::{Server, http};
use nix::sys::signal::Signal;
use serde_json::json;

fn chat(model: &str) -> serde_json::Value {
    json!({"model": model, "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 4})
}

#[test]
fn unreadable_requests_are_400() {
    let server = Server::start();
    let url = server.url("/v1/chat/completions");
    for bytes in [&b"{\"model\": "[..], b"not json", b"", b"\xff\xfe", b"[]", b"null"] {
        http::post_bytes(&url, bytes).unwrap().expect_error(400);
    }
    let mut wrong = chat(SHALLOW);
    wrong["messages"][0]["content"] = json!(5);
    let answer = server.post("/v1/chat/completions", &wrong);
    assert!(answer.expect_error(400).contains("messages[0].content"), "{}", answer.body);
    wrong = chat(SHALLOW);
    wrong["max_tokens"] = json!("many");
    let answer = server.post("/v1/chat/completions", &wrong);
    assert!(answer.expect_error(400).contains("max_tokens"), "{}", answer.body);
    assert_eq!(answer.text("/error/param"), "max_tokens");
    server.get("/v1/nothing-here").expect_error(404);
    server.get("/v1/chat/completions").expect_error(405);
    let answer = server.get("/api/nothing-here");
    assert_eq!((answer.status, &answer.body), (404, &json!({"error": "there is no /api/nothing-here"})));
    assert!(server.workers().is_empty(), "none of these starts a model");
}

#[test]
fn body_over_the_limit_is_413() {
    let server = Server::start();
    let mut socket = TcpStream::connect(server.address()).unwrap();
    let head = "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
                content-length: 9999999999\r\n\r\n";
    socket.write_all(head.as_bytes()).unwrap();
    let mut answer = vec![0; 4096];
    let length = socket.read(&mut answer).unwrap();
    let answer = String::from_utf8_lossy(&answer[..length]).into_owned();
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    assert!(answer.contains("\"error\""), "{answer}");
}

#[test]
fn broken_model_folder_error_names_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    broken(folder.path(), "no-weights", |_| {});
    broken(folder.path(), "strange", |model| {
        fs::write(model.join("config.json"), r#"{"model_type": "martian"}"#).unwrap();
    });
    broken(folder.path(), "cut-off", |model| {
        let whole = fs::read(places::models().join(SHALLOW).join("model.safetensors")).unwrap();
        fs::write(model.join("model.safetensors"), &whole[..whole.len() / 2]).unwrap();
    });
    let server = Server::builder().models(folder.path()).models(&places::models()).start();
    for (model, status, word) in [
        ("no-weights", 500, "safetensors"),
        ("strange", 400, "\"martian\" models are not supported; supported are cohere2, "),
        ("cut-off", 500, "model.safetensors"),
    ] {
        let answer = server.post("/v1/chat/completions", &chat(model));
        let message = answer.expect_error(status).to_owned();
        assert!(message.contains(word), "{model}: {message}");
        let mut streamed = chat(model);
        streamed["stream"] = json!(true);
        assert_eq!(server.stream("/v1/chat/completions", &streamed).status, answer.status);
    }
    let listed = server.get("/v1/models").body.to_string();
    assert!(listed.contains("no-weights") && !listed.contains("strange"), "{listed}");
    assert!(server.mlxd(&["ps", "--all"]).contains("unsupported: \"martian\""));
    // The answer comes before the process ends, which may take 200 ms.
    e2e::process::wait_for("a worker that cannot load is gone", Duration::from_secs(2), || {
        server.workers().is_empty()
    });
    assert_eq!(server.count().status, 200, "the good model is served beside the broken ones");
}

/// Copies SmolLM2 without its weights, then applies `change`.
fn broken(folder: &Path, name: &str, change: impl FnOnce(&Path)) {
    let model = folder.join(name);
    fs::create_dir(&model).unwrap();
    for file in ["config.json", "tokenizer.json", "tokenizer_config.json", "generation_config.json"] {
        fs::copy(places::models().join(SHALLOW).join(file), model.join(file)).unwrap();
    }
    change(&model);
}

#[test]
fn unknown_model_is_404_with_its_name() {
    let server = Server::start();
    let answer = server.post("/v1/chat/completions", &chat("unknown/model"));
    assert!(answer.expect_error(404).contains("unknown/model"));
    assert_eq!(answer.text("/error/code"), "model_not_found");
    for id in ["..", "../../etc", "/etc", "a\u{0}b", ""] {
        let status = server.post("/v1/chat/completions", &chat(id)).status;
        assert!(matches!(status, 400 | 404), "{id:?} gave {status}");
    }
}

#[test]
fn wrong_priority_is_named() {
    let server = Server::start();
    for wrong in [json!("soon"), json!([5]), json!({})] {
        let mut body = chat(SHALLOW);
        body["priority"] = wrong;
        let answer = server.post("/v1/chat/completions", &body);
        let message = answer.expect_error(400);
        assert!(message.contains("priority must be \"high\""), "{message}");
        assert_eq!(answer.text("/error/param"), "priority", "{}", answer.body);
    }
    let mut body = chat(SHALLOW);
    // vLLM's numbers.
    body["priority"] = json!(5);
    assert_eq!(server.post("/v1/chat/completions", &body).status, 200);
}

/// LM Studio and llama.cpp write -1 for no limit, and JavaScript may write a whole number with a point.
#[test]
fn token_limits_are_read_as_clients_write_them() {
    let server = Server::start();
    let with = |limit: &str| {
        let body = format!(
            r#"{{"model": "{SHALLOW}", "prompt": "2, 4, 6, 8,", "temperature": 0, "stop": ",", "max_tokens": {limit}}}"#
        );
        http::post_bytes(&server.url("/v1/completions"), body.as_bytes()).unwrap()
    };
    assert_eq!(with("-1").text("/choices/0/finish_reason"), "stop");
    let one = with("1.0");
    assert_eq!(one.body["usage"]["completion_tokens"], 1, "{}", one.body);
    let answer = with("1.5");
    let message = answer.expect_error(400);
    assert!(message.contains("max_tokens must be a number of tokens, or -1 for no limit"), "{message}");
}

/// These are the client's errors: SDKs would send a request with a 500 again.
#[test]
fn schemas_that_no_text_can_follow_are_400_in_plain_words() {
    let server = Server::start();
    let properties: serde_json::Map<_, _> =
        (0..1000).map(|n| (format!("p{n}"), json!({"type": "integer"}))).collect();
    for (schema, words) in [
        (json!({"type": "object", "properties": properties, "required": ["p999"]}), "optional properties"),
        (json!({"$ref": "#"}), "refers to itself without an end"),
    ] {
        let mut body = chat(SHALLOW);
        body["response_format"] =
            json!({"type": "json_schema", "json_schema": {"name": "odd", "schema": schema}});
        let answer = server.post("/v1/chat/completions", &body);
        let message = answer.expect_error(400);
        assert!(message.contains(words), "{message}");
    }
}

/// MiniLM's config.json says 512, and sentence-transformers cuts its texts at 256.
#[test]
fn refusal_of_a_long_text_names_the_context_of_the_list() {
    let server = Server::start();
    let entry = server.get(&format!("/v1/models/{}", places::MINILM)).body;
    let context = entry["details"]["context"].as_u64().unwrap_or_else(|| panic!("{entry}"));
    let body = json!({"model": places::MINILM, "input": "word ".repeat(context as usize + 1)});
    let answer = server.post("/v1/embeddings", &body);
    let message = answer.expect_error(400);
    assert!(message.contains(&format!("maximum context length is {context} tokens")), "{message}");
}

#[test]
fn unknown_response_is_a_404_of_its_own() {
    let server = Server::start();
    let answer = server.get("/v1/responses/resp_unknown");
    assert!(answer.expect_error(404).contains("resp_unknown"), "{}", answer.body);
    assert_eq!(answer.text("/error/code"), "response_not_found");
}

#[test]
fn request_without_a_key_is_401() {
    let server =
        Server::builder().models(&places::models()).env("MLXD_API_KEYS", "sk-test-one,sk-test-two").start();
    server.get("/v1/models").expect_error(401);
    server.post("/v1/chat/completions", &chat(SHALLOW)).expect_error(401);
    assert_eq!(server.get("/health").status, 200);
    let authorized = ureq::get(server.url("/v1/models")).header("authorization", "Bearer sk-test-two").call();
    assert_eq!(authorized.unwrap().status().as_u16(), 200);
    assert!(!server.log().contains("sk-test"), "keys are never logged");
    let commands: String = e2e::process::processes().into_iter().map(|p| p.command).collect();
    assert!(!commands.contains("sk-test-one"), "keys are on no command line");
}

/// The status of a request with this key.
fn status_with_key(server: &Server, key: &str) -> u16 {
    let request = ureq::get(server.url("/v1/models")).header("x-api-key", key);
    let request = request.config().http_status_as_error(false).build();
    request.call().unwrap().status().as_u16()
}

#[test]
fn children_have_no_key_in_their_command_lines_and_environments() {
    let server = Server::builder()
        .models(&places::models())
        .config("api_keys = [\"sk-test-file\"]")
        .env("MLXD_API_KEYS", "sk-test-one")
        .start();
    server.mlxd(&["load", SHALLOW]);
    server.mlxd(&["restart", "--gateway"]);
    assert_eq!(
        (status_with_key(&server, "sk-test-one"), status_with_key(&server, "sk-test-file")),
        (200, 401)
    );
    let children: Vec<_> = server.gateways().into_iter().chain(server.workers()).collect();
    assert!(children.len() >= 2, "{children:?}");
    for child in children {
        assert!(!child.command.contains("sk-test"), "{child:?}");
        // Only Linux shows the environment of a process as a file.
        let environment = fs::read(format!("/proc/{}/environ", child.pid)).unwrap_or_default();
        let environment = String::from_utf8_lossy(&environment);
        assert!(!environment.contains("sk-test") && !environment.contains("MLXD_API_KEYS"), "{child:?}");
        assert!(environment.is_empty() || environment.contains("PATH="), "the environment was read");
    }
}

#[test]
fn killed_gateway_is_replaced_with_the_same_keys() {
    let server = Server::builder().models(&places::models()).env("MLXD_API_KEYS", "sk-test-one").start();
    let killed = server.gateways().remove(0).pid;
    e2e::process::signal(killed, Signal::SIGKILL);
    e2e::process::wait_for("another gateway", Duration::from_secs(20), || {
        server.gateways().first().is_some_and(|gateway| gateway.pid != killed)
    });
    assert_eq!(
        (status_with_key(&server, "sk-test-one"), status_with_key(&server, "sk-test-two")),
        (200, 401)
    );
}
