//! Processes die; the next request does not notice.

use std::time::Duration;

use e2e::places::{self, SMOLLM2};
use e2e::{Server, process};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

fn story(model: &str, tokens: u32) -> Value {
    json!({"model": model, "prompt": "Once upon a time", "max_tokens": tokens, "stream": true, "temperature": 0})
}

#[test]
fn a_killed_worker_is_replaced() {
    let server = Server::start();
    let first = server.count();
    assert_eq!(first.status, 200, "{}", first.body);
    let killed = server.workers().remove(0).pid;
    process::signal(killed, Signal::SIGKILL);
    let second = server.count();
    assert_eq!(second.status, 200, "{}\n{}", second.body, server.log());
    assert_eq!(first.text("/choices/0/text"), second.text("/choices/0/text"));
    let workers = server.workers();
    assert_eq!(workers.len(), 1);
    assert_ne!(workers[0].pid, killed);
}

#[test]
fn a_killed_gateway_is_replaced_and_models_stay() {
    let server = Server::start();
    assert_eq!(server.count().status, 200);
    let worker = server.workers().remove(0).pid;
    process::signal(server.gateways().remove(0).pid, Signal::SIGKILL);
    // No connection is refused in between: the supervisor holds the socket.
    let second = server.count();
    assert_eq!(second.status, 200, "{}\n{}", second.body, server.log());
    assert_eq!(server.workers().remove(0).pid, worker, "the model was not loaded again");
}

#[test]
fn a_worker_dying_mid_stream_fails_its_requests_and_no_others() {
    let folder = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(places::models().join(SMOLLM2), folder.path().join("twin")).unwrap();
    let server = Server::builder().models(&places::models()).models(folder.path()).start();
    assert_eq!(server.count().status, 200);
    let doomed = server.workers().remove(0).pid;
    let mut first = server.stream("/v1/completions", &story(SMOLLM2, 4000));
    let mut twin = server.stream("/v1/completions", &story("twin", 100));
    assert!(first.next().is_some() && twin.next().is_some());
    process::signal(doomed, Signal::SIGKILL);
    let last: Value = first.filter_map(|e| serde_json::from_str(&e).ok()).last().unwrap();
    assert!(last["error"]["message"].as_str().unwrap().contains(SMOLLM2), "{last}");
    let rest: Vec<String> = twin.collect();
    assert_eq!(
        rest.last().map(String::as_str),
        Some("[DONE]"),
        "the other model's stream goes on to its end"
    );
    // The same for a plain request: a status, not a broken connection.
    let worker = server.workers().into_iter().find(|w| w.command.contains("twin")).unwrap().pid;
    let answer = std::thread::scope(|scope| {
        let mut body = story("twin", 4000);
        body["stream"] = json!(false);
        let server = &server;
        let request = scope.spawn(move || server.post("/v1/completions", &body));
        std::thread::sleep(Duration::from_secs(1));
        process::signal(worker, Signal::SIGKILL);
        request.join().unwrap()
    });
    answer.expect_error(503);
}
