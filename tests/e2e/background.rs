//! Responses that are made while nobody waits, when the gateway that makes them is replaced or killed: they come to their end,
//! can be ended through the new one, and are never told of wrongly.

use std::time::Duration;

use e2e::places::{self, SMOLLM2};
use e2e::{Server, process};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(120);
/// A maker looks about once a second whether it need not go on.
const SOON: Duration = Duration::from_secs(10);
/// More than can be made while a test looks.
const ENDLESS: u32 = 6000;

/// More than are made until a gateway is replaced.
const TOKENS: u32 = 400;

/// A form that no answer fills in a test's time.
fn endless() -> Value {
    let schema = json!({"type": "object", "required": ["story"], "additionalProperties": false,
        "properties": {"story": {"type": "string", "minLength": 100_000}}});
    json!({"type": "json_schema", "name": "story", "schema": schema, "strict": true})
}

fn begin(server: &Server, tokens: u32) -> String {
    let body = json!({"model": SMOLLM2, "input": "Tell me a long story.", "background": true, "temperature": 0,
        "max_output_tokens": tokens, "text": {"format": endless()}});
    let begun = server.post("/v1/responses", &body);
    assert_eq!((begun.status, begun.text("/status")), (200, "in_progress"), "{}", begun.body);
    let id = begun.text("/id").to_owned();
    process::wait_for("it is made", PATIENCE, || running(server) > 0);
    id
}

fn path(id: &str) -> String {
    format!("/v1/responses/{id}")
}

fn status(server: &Server, id: &str) -> String {
    server.get(&path(id)).text("/status").to_owned()
}

/// Requests that the model's worker has in hand.
fn running(server: &Server) -> u64 {
    let shown = server.get(&format!("/admin/v1/models/{SMOLLM2}")).body;
    shown["workers"][0]["running"].as_u64().unwrap_or_default()
}

/// The end of a response that is in progress until then.
fn end(server: &Server, id: &str) -> Value {
    let mut last = Value::Null;
    process::wait_for("it ends", PATIENCE, || {
        last = server.get(&path(id)).body;
        last["status"] != "in_progress"
    });
    last
}

/// Has another gateway take the new requests; the process of the one before.
fn replace(server: &Server) -> i32 {
    let old = server.gateways().remove(0).pid;
    server.mlxd(&["restart", "--gateway"]);
    // Connections that it had taken before are answered by it.
    std::thread::sleep(Duration::from_secs(1));
    old
}

fn lives(server: &Server, pid: i32) -> bool {
    server.gateways().iter().any(|gateway| gateway.pid == pid)
}

fn ends(server: &Server, gateway: i32) {
    process::wait_for("the old gateway ends", SOON, || !lives(server, gateway));
}

fn makers(server: &Server) -> usize {
    std::fs::read_dir(server.home().join("gateways")).map_or(0, Iterator::count)
}

#[test]
fn a_replaced_gateway_ends_what_it_makes() {
    let server = Server::start();
    let undisturbed = end(&server, &begin(&server, TOKENS));
    assert_eq!(undisturbed["status"], "incomplete", "{undisturbed}");
    let id = begin(&server, TOKENS);
    let old = replace(&server);
    assert!(lives(&server, old), "nobody is connected to it, and it goes on");
    let told = end(&server, &id);
    assert_eq!(told["output"][0]["content"], undisturbed["output"][0]["content"], "{told}");
    assert_eq!((&told["status"], &told["usage"]["output_tokens"]), (&json!("incomplete"), &json!(TOKENS)));
    ends(&server, old);
    assert_eq!((server.get(&path(&id)).body, makers(&server)), (told, 0));
}

#[test]
fn what_a_replaced_gateway_makes_is_cancelled_and_deleted_through_the_new_one() {
    let server = Server::start();
    let [cancelled, deleted] = [(); 2].map(|()| begin(&server, ENDLESS));
    let old = replace(&server);
    for id in [&cancelled, &deleted] {
        assert_eq!(status(&server, id), "in_progress");
    }
    let told = server.post(&format!("{}/cancel", path(&cancelled)), &json!({}));
    assert_eq!((told.status, told.text("/status")), (200, "cancelled"), "{}", told.body);
    process::wait_for("it is not made any more", SOON, || running(&server) == 1);
    let gone = ureq::delete(server.url(&path(&deleted))).call().unwrap();
    assert_eq!(gone.status(), 200);
    process::wait_for("neither is the other", SOON, || running(&server) == 0);
    ends(&server, old);
    assert_eq!(status(&server, &cancelled), "cancelled");
    server.get(&path(&deleted)).expect_error(404);
    // What is cancelled stays so, whoever is asked again.
    let again = server.post(&format!("{}/cancel", path(&cancelled)), &json!({}));
    assert_eq!(again.text("/status"), "cancelled");
}

#[test]
fn what_a_killed_gateway_made_has_failed() {
    let server = Server::start();
    let first = begin(&server, ENDLESS);
    let old = replace(&server);
    let second = begin(&server, ENDLESS);
    assert_eq!([&first, &second].map(|id| status(&server, id)), ["in_progress"; 2]);
    process::signal(old, Signal::SIGKILL);
    ends(&server, old);
    assert_eq!([&first, &second].map(|id| status(&server, id)), ["failed", "in_progress"]);
    for (id, what) in [(&first, "has failed"), (&second, "is not finished")] {
        let body = json!({"model": SMOLLM2, "input": "And then?", "previous_response_id": id});
        let refused = server.post("/v1/responses", &body);
        assert!(refused.expect_error(400).contains(what), "{}", refused.body);
    }
    let new = server.gateways().remove(0).pid;
    process::signal(new, Signal::SIGKILL);
    ends(&server, new);
    for id in [&first, &second] {
        let told = server.get(&path(id)).body;
        assert_eq!((&told["status"], &told["error"]["code"]), (&json!("failed"), &json!("server_error")));
    }
    assert_eq!(makers(&server), 0, "nothing stays of those who are gone");
    process::wait_for("nothing is made any more", SOON, || running(&server) == 0);
}

#[test]
fn what_outlasts_the_time_of_its_replaced_gateway_is_told() {
    let server = Server::builder().models(&places::models()).config("drain_seconds = 3").start();
    let id = begin(&server, ENDLESS);
    let old = replace(&server);
    assert_eq!(status(&server, &id), "in_progress");
    let told = end(&server, &id);
    let message = told["error"]["message"].as_str().unwrap_or_default();
    assert!(told["status"] == "failed" && message.contains("stopped or replaced"), "{told}");
    ends(&server, old);
    assert_eq!(server.get(&path(&id)).body, told);
}
