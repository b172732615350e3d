//! A second server as a provider of the first: cloud models stand behind the same address.

use e2e::places::{self, SHALLOW};
use e2e::{Server, http};
use serde_json::{Value, json};

const KEY: &str = "sk-upstream-1234";

/// Two servers. The first asks the second, by either protocol, for the model that both have.
fn servers() -> (Server, Server) {
    let upstream = Server::builder().models(&places::models()).env("MLXD_API_KEYS", KEY).start();
    let config = format!(
        r#"
        [providers.far]
        kind = "openai-compatible"
        url = "{0}"
        api_key_env = "FAR_KEY"
        models = [{{ id = "{SHALLOW}", alias = "remote" }}]

        [providers.claude]
        kind = "anthropic"
        url = "{0}"
        api_key = "{KEY}"
        models = ["{SHALLOW}"]

        [[routes]]
        model = "assistant"
        targets = ["not-here", "{SHALLOW}", "far/{SHALLOW}"]
        "#,
        upstream.url("/v1"),
    );
    let server = Server::builder().models(&places::models()).env("FAR_KEY", KEY).config(&config).start();
    (server, upstream)
}

fn ask(server: &Server, model: &str) -> Value {
    let messages = json!([{"role": "user", "content": "Name three colours."}]);
    let body = json!({"model": model, "messages": messages, "max_tokens": 16, "temperature": 0});
    let answer = server.post("/v1/chat/completions", &body);
    assert_eq!(answer.status, 200, "{model}: {}", answer.body);
    answer.body
}

#[test]
fn providers_model_answers_as_the_local_one() {
    let (server, _upstream) = servers();
    let local = ask(&server, SHALLOW);
    let names = [format!("far/{SHALLOW}"), "remote".into(), format!("claude/{SHALLOW}"), "assistant".into()];
    for model in names {
        let far = ask(&server, &model);
        assert_eq!(far["choices"][0]["message"], local["choices"][0]["message"], "{model}");
        assert_eq!(far["choices"][0]["finish_reason"], local["choices"][0]["finish_reason"]);
        for count in ["prompt_tokens", "completion_tokens"] {
            assert_eq!(far["usage"][count], local["usage"][count], "{model}: {count}");
        }
    }
    let listed = server.get("/v1/models").body.to_string();
    assert!(listed.contains(&format!("far/{SHALLOW}")), "{listed}");
    for text in [server.log(), listed, server.get("/metrics").body.to_string()] {
        assert!(!text.contains(KEY), "the key is shown: {text}");
    }
}

#[test]
fn provider_that_is_gone_is_named() {
    let (server, upstream) = servers();
    upstream.stop(nix::sys::signal::Signal::SIGTERM);
    let body = json!({"model": "remote", "messages": [{"role": "user", "content": "Hi"}]});
    let answer = http::post(&server.url("/v1/chat/completions"), &body).unwrap();
    let message = answer.expect_error(502);
    assert!(message.contains("the provider far cannot be reached"), "{message}");
    assert_eq!(ask(&server, SHALLOW)["object"], "chat.completion", "local models go on");
}
