//! Background responses whose gateway is replaced or killed. They finish or fail, the new gateway can cancel and delete them,
//! and their status is always true.

use std::time::Duration;

use e2e::places::{self, SHALLOW};
use e2e::{Server, process};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(120);
/// A gateway that generates a background response looks for a cancellation about once a second.
const SOON: Duration = Duration::from_secs(10);
/// More tokens than a test waits for.
const ENDLESS: u32 = 6000;

/// More tokens than are generated before a gateway is replaced.
const TOKENS: u32 = 400;

/// A schema that no answer completes within a test.
fn endless() -> Value {
    let schema = json!({"type": "object", "required": ["story"], "additionalProperties": false,
        "properties": {"story": {"type": "string", "minLength": 100_000}}});
    json!({"type": "json_schema", "name": "story", "schema": schema, "strict": true})
}

fn begin(server: &Server, tokens: u32) -> String {
    let body = json!({"model": SHALLOW, "input": "Write a long story.", "background": true, "temperature": 0,
        "max_output_tokens": tokens, "text": {"format": endless()}});
    let begun = server.post("/v1/responses", &body);
    assert_eq!((begun.status, begun.text("/status")), (200, "queued"), "{}", begun.body);
    let id = begun.text("/id").to_owned();
    process::wait_for("it is made", PATIENCE, || running(server) > 0 && status(server, &id) == "in_progress");
    id
}

fn path(id: &str) -> String {
    format!("/v1/responses/{id}")
}

fn status(server: &Server, id: &str) -> String {
    server.get(&path(id)).text("/status").to_owned()
}

/// The number of requests that the model's worker runs.
fn running(server: &Server) -> u64 {
    let shown = server.get(&format!("/admin/v1/models/{SHALLOW}")).body;
    shown["workers"][0]["running"].as_u64().unwrap_or_default()
}

/// Waits until a response is no longer in progress, and returns it.
fn finished(server: &Server, id: &str) -> Value {
    let mut last = Value::Null;
    process::wait_for("it ends", PATIENCE, || {
        last = server.get(&path(id)).body;
        last["status"] != "queued" && last["status"] != "in_progress"
    });
    last
}

/// Replaces the gateway. Returns the process id of the old one.
fn replace(server: &Server) -> i32 {
    let old = server.gateways().remove(0).pid;
    server.mlxd(&["restart", "--gateway"]);
    // It still answers the connections it accepted.
    std::thread::sleep(Duration::from_secs(1));
    old
}

fn is_running(server: &Server, pid: i32) -> bool {
    server.gateways().iter().any(|gateway| gateway.pid == pid)
}

fn wait_for_exit(server: &Server, gateway: i32) {
    process::wait_for("the old gateway ends", SOON, || !is_running(server, gateway));
}

fn gateway_folders(server: &Server) -> usize {
    std::fs::read_dir(server.home().join("gateways")).map_or(0, Iterator::count)
}

#[test]
fn replaced_gateway_finishes_its_background_response() {
    let server = Server::start();
    let undisturbed = finished(&server, &begin(&server, TOKENS));
    assert_eq!(undisturbed["status"], "incomplete", "{undisturbed}");
    let id = begin(&server, TOKENS);
    let old = replace(&server);
    assert!(is_running(&server, old), "it runs on without connections");
    let response = finished(&server, &id);
    assert_eq!(response["output"][0]["content"], undisturbed["output"][0]["content"], "{response}");
    assert_eq!(
        (&response["status"], &response["usage"]["output_tokens"]),
        (&json!("incomplete"), &json!(TOKENS))
    );
    wait_for_exit(&server, old);
    assert_eq!((server.get(&path(&id)).body, gateway_folders(&server)), (response, 0));
}

#[test]
fn background_response_of_a_replaced_gateway_is_cancelled_and_deleted_through_the_new_one() {
    let server = Server::start();
    let [cancelled, deleted] = [(); 2].map(|()| begin(&server, ENDLESS));
    let old = replace(&server);
    for id in [&cancelled, &deleted] {
        assert_eq!(status(&server, id), "in_progress");
    }
    let answer = server.post(&format!("{}/cancel", path(&cancelled)), &json!({}));
    assert_eq!((answer.status, answer.text("/status")), (200, "cancelled"), "{}", answer.body);
    process::wait_for("it is not made any more", SOON, || running(&server) == 1);
    let gone = ureq::delete(server.url(&path(&deleted))).call().unwrap();
    assert_eq!(gone.status(), 200);
    process::wait_for("neither is the other", SOON, || running(&server) == 0);
    wait_for_exit(&server, old);
    assert_eq!(status(&server, &cancelled), "cancelled");
    server.get(&path(&deleted)).expect_error(404);
    // A cancelled response stays cancelled.
    let again = server.post(&format!("{}/cancel", path(&cancelled)), &json!({}));
    assert_eq!(again.text("/status"), "cancelled");
}

#[test]
fn background_response_of_a_killed_gateway_has_failed() {
    let server = Server::start();
    let first = begin(&server, ENDLESS);
    let old = replace(&server);
    let second = begin(&server, ENDLESS);
    assert_eq!([&first, &second].map(|id| status(&server, id)), ["in_progress"; 2]);
    process::signal(old, Signal::SIGKILL);
    wait_for_exit(&server, old);
    assert_eq!([&first, &second].map(|id| status(&server, id)), ["failed", "in_progress"]);
    for (id, what) in [(&first, "has failed"), (&second, "is not finished")] {
        let body = json!({"model": SHALLOW, "input": "And then?", "previous_response_id": id});
        let refused = server.post("/v1/responses", &body);
        assert!(refused.expect_error(400).contains(what), "{}", refused.body);
    }
    let new = server.gateways().remove(0).pid;
    process::signal(new, Signal::SIGKILL);
    wait_for_exit(&server, new);
    for id in [&first, &second] {
        let response = server.get(&path(id)).body;
        assert_eq!(
            (&response["status"], &response["error"]["code"]),
            (&json!("failed"), &json!("server_error"))
        );
    }
    assert_eq!(gateway_folders(&server), 0, "no folder of a killed gateway stays");
    process::wait_for("nothing is made any more", SOON, || running(&server) == 0);
}

#[test]
fn background_response_beyond_the_drain_time_fails_with_the_reason() {
    let server = Server::builder().models(&places::models()).config("drain_seconds = 3").start();
    let id = begin(&server, ENDLESS);
    let old = replace(&server);
    assert_eq!(status(&server, &id), "in_progress");
    let response = finished(&server, &id);
    let message = response["error"]["message"].as_str().unwrap_or_default();
    assert!(response["status"] == "failed" && message.contains("stopped or replaced"), "{response}");
    wait_for_exit(&server, old);
    assert_eq!(server.get(&path(&id)).body, response);
}
