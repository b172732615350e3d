//! The official SDKs against a real model.

use e2e::{Server, places, scripts};

#[test]
fn openai_python() {
    let server = Server::start();
    scripts::run("openai_chat.py", &[&server.url("/v1"), places::SMOLLM2]);
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
