//! The official SDKs against a real model.

use e2e::caller::{self, CALLER};
use e2e::{Server, places, scripts};
use tempfile::TempDir;

#[test]
fn openai_python() {
    let server = Server::start();
    scripts::run("openai_chat.py", &[&server.url("/v1"), places::SMOLLM2]);
}

#[test]
fn openai_python_fields_are_known() {
    let server = Server::start();
    scripts::run("openai_fields.py", &[&server.url("")]);
}

/// A full worker refuses, and the SDKs retry.
#[test]
fn python_sdks_retry_after_429() {
    let config = format!("[models.\"{}\"]\nmax_batch = 1\n", places::SMOLLM2);
    let server = Server::builder().models(&places::models()).config(&config).start();
    scripts::run("retries.py", &[&server.url(""), places::SMOLLM2]);
}

/// A server with the test models and one that calls functions.
fn start_with_caller() -> (TempDir, Server) {
    let folder = tempfile::tempdir().unwrap();
    caller::write(folder.path());
    let server = Server::builder().models(&places::models()).models(folder.path()).start();
    (folder, server)
}

fn tools(script: &str) {
    let (_folder, server) = start_with_caller();
    scripts::run(script, &[&server.url("/v1"), CALLER]);
}

#[test]
fn openai_python_tools() {
    let (_folder, server) = start_with_caller();
    scripts::run("openai_tools.py", &[&server.url("/v1"), CALLER, places::TOY_QWEN2]);
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
    let (_folder, server) = start_with_caller();
    scripts::run("anthropic_tools.py", &[&server.url(""), CALLER]);
}

#[test]
fn anthropic_javascript_tools() {
    let (_folder, server) = start_with_caller();
    scripts::run("anthropic_tools.mjs", &[&server.url(""), CALLER]);
}

#[test]
fn responses_python_tools() {
    tools("responses_tools.py");
}

#[test]
fn custom_tools_python() {
    let server = Server::start();
    scripts::run("custom_tools.py", &[&server.url("/v1"), places::SHALLOW]);
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
    let (_folder, server) = start_with_caller();
    scripts::run("vercel.mjs", &[&server.url("/v1"), CALLER, places::MINILM]);
}

#[test]
fn langchain_anthropic_responses_and_embeddings() {
    let (_folder, server) = start_with_caller();
    scripts::run("langchain_more.py", &[&server.url(""), CALLER, places::MINILM]);
}

/// A client that ignores the failure would take a partial answer for a whole one.
#[test]
fn sdks_raise_failures_inside_a_stream() {
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

/// Requests generated from the OpenAPI document, for a worker that does not compute.
#[test]
fn fuzzed_requests_cause_no_server_error() {
    let server = Server::builder().models(&places::models()).env("MLXD_WORKER_RUNNER", "null").start();
    scripts::run("schema_fuzz.py", &[&server.url(""), places::SHALLOW]);
}

#[test]
fn openai_python_embeddings() {
    let server = Server::start();
    let arguments = [&server.url("/v1"), places::MINILM, places::SMOLLM2];
    scripts::run("openai_embeddings.py", &arguments);
}

#[test]
fn openai_python_decisions() {
    let server = Server::start();
    scripts::run("openai_decisions.py", &[&server.url("/v1"), places::SMOLLM2]);
}

#[test]
fn ollama_python_and_javascript() {
    let (_folder, server) = start_with_caller();
    for script in ["ollama_client.py", "ollama_client.mjs"] {
        scripts::run(script, &[&server.url(""), CALLER, places::MINILM]);
    }
}

/// `/v2/embed` and `/v2/rerank`.
#[test]
fn cohere_python() {
    let rerankers = places::repository().join("worker/tests/golden/reading");
    let server = Server::builder().models(&places::models()).models(&rerankers).start();
    scripts::run("cohere_client.py", &[&server.url(""), places::MINILM, "bert-cross"]);
}

/// Each feature of the library: a model's answer under its schema is a value that the library parses.
#[test]
fn pydantic_schemas() {
    let server = Server::start();
    scripts::run("schemas_pydantic.py", &[&server.url("/v1"), places::SMOLLM2]);
}

#[test]
fn zod_schemas() {
    let server = Server::start();
    scripts::run("schemas_zod.mjs", &[&server.url("/v1"), places::SMOLLM2]);
}
