//! The official SDKs against a real model.

use e2e::{Server, places, python};

#[test]
fn openai_python() {
    let server = Server::start();
    python::run("openai_chat.py", &[&server.url("/v1"), places::SMOLLM2]);
}
