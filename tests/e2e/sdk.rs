//! The official SDKs against a real model.

use e2e::{Server, places, scripts};

#[test]
fn openai_python() {
    let server = Server::start();
    scripts::run("openai_chat.py", &[&server.url("/v1"), places::SMOLLM2]);
}

/// A worker that is full refuses, and the SDKs come again.
#[test]
fn python_sdks_retry() {
    let config = format!("[models.\"{}\"]\nmax_batch = 1\n", places::SMOLLM2);
    let server = Server::builder().models(&places::models()).config(&config).start();
    scripts::run("retries.py", &[&server.url(""), places::SMOLLM2]);
}

/// Calls need a model that was trained for them.
fn tools(script: &str) {
    let server = Server::start();
    scripts::run(script, &[&server.url("/v1"), places::QWEN]);
}

#[test]
fn openai_python_tools() {
    tools("openai_tools.py");
}

#[test]
fn openai_and_vercel_javascript_tools() {
    tools("openai_tools.mjs");
}

#[test]
fn langchain_tools() {
    tools("openai_langchain.py");
}

#[test]
fn anthropic_python_tools() {
    let server = Server::start();
    scripts::run("anthropic_tools.py", &[&server.url(""), places::QWEN]);
}

#[test]
fn anthropic_javascript_tools() {
    let server = Server::start();
    scripts::run("anthropic_tools.mjs", &[&server.url(""), places::QWEN]);
}

#[test]
fn responses_python_tools() {
    tools("responses_tools.py");
}

#[test]
fn responses_javascript_tools() {
    tools("responses_tools.mjs");
}

#[test]
fn openai_javascript() {
    let server = Server::start();
    scripts::run("openai_chat.mjs", &[&server.url("/v1"), places::SMOLLM2, places::MINILM]);
}

/// OpenAI's and Anthropic's own providers, not only the one for compatible servers.
#[test]
fn vercel() {
    let server = Server::start();
    scripts::run("vercel.mjs", &[&server.url("/v1"), places::QWEN, places::MINILM]);
}

#[test]
fn langchain_anthropic_responses_and_embeddings() {
    let server = Server::start();
    scripts::run("langchain_more.py", &[&server.url(""), places::QWEN, places::MINILM]);
}

/// A client that swallows a failure takes a part of an answer for the whole.
#[test]
fn failures_inside_a_stream_are_raised() {
    let server = Server::builder().models(&places::models()).env("MLXD_RECOVERIES", "0").start();
    for script in ["stream_errors.py", "stream_errors.mjs"] {
        scripts::run(script, &[&server.url(""), places::SMOLLM2]);
    }
}

#[test]
fn anthropic_python() {
    let server = Server::start();
    scripts::run("anthropic_messages.py", &[&server.url(""), places::SMOLLM2]);
}

#[test]
fn anthropic_javascript() {
    let server = Server::start();
    scripts::run("anthropic_messages.mjs", &[&server.url(""), places::SMOLLM2]);
}

#[test]
fn responses_python() {
    let server = Server::start();
    scripts::run("openai_responses.py", &[&server.url("/v1"), places::SMOLLM2]);
}

#[test]
fn responses_javascript() {
    let server = Server::start();
    scripts::run("openai_responses.mjs", &[&server.url("/v1"), places::SMOLLM2]);
}

/// Requests made up from the OpenAPI document, by a worker that does not compute.
#[test]
fn no_request_makes_it_fail() {
    let server = Server::builder().models(&places::models()).env("MLXD_WORKER_RUNNER", "null").start();
    scripts::run("schema_fuzz.py", &[&server.url(""), places::SMOLLM2]);
}

#[test]
fn openai_python_embeddings() {
    let server = Server::start();
    let arguments = [&server.url("/v1"), places::MINILM, places::SMOLLM2];
    scripts::run("openai_embeddings.py", &arguments);
}
