//! Log lines of all processes about a request carry its id.

use std::time::Duration;

use e2e::places::{self, SHALLOW};
use e2e::{Server, process};
use serde_json::json;

#[test]
fn request_id_occurs_in_logs_of_gateway_and_worker() {
    let server = Server::builder().models(&places::models()).env("MLXD_LOG", "debug").start();
    let body = json!({"model": SHALLOW, "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 2});
    let response = ureq::post(server.url("/v1/chat/completions"))
        .header("x-request-id", "span-test-1")
        .send(body.to_string())
        .unwrap();
    assert_eq!(response.status(), 200);
    for target in [" gateway::", " worker::"] {
        process::wait_for(&format!("a line of{target}"), Duration::from_secs(10), || {
            server.log().lines().any(|line| line.contains("span-test-1") && line.contains(target))
        });
    }
}
