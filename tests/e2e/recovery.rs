//! Processes die, and the next request still succeeds.

use std::time::{Duration, Instant};

use e2e::http::Events;
use e2e::places::{self, SHALLOW};
use e2e::{Server, http, process};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

fn story(model: &str, tokens: u32) -> Value {
    json!({"model": model, "prompt": "Once upon a time", "max_tokens": tokens, "stream": true, "temperature": 0})
}

#[test]
fn killed_worker_is_replaced() {
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
fn killed_gateway_is_replaced_and_models_stay_loaded() {
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
fn replaced_gateway_finishes_its_streams_and_refuses_no_request() {
    let server = Server::start();
    let body = story(SHALLOW, 150);
    let undisturbed = text(server.stream("/v1/completions", &body), usize::MAX, || {});
    let (gateway, worker) = (server.gateways().remove(0).pid, server.workers().remove(0).pid);
    let stream = server.stream("/v1/completions", &body);
    let restart = || {
        let mut mlxd = std::process::Command::new(places::binary("mlxd"));
        let output = mlxd.args(["restart", "--gateway", "--home"]).arg(server.home()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        // Both gateways run now. Either may take it, and neither refuses.
        assert_eq!(server.count().status, 200);
        assert!(server.gateways().iter().any(|other| other.pid != gateway));
    };
    assert_eq!(text(stream, 10, restart), undisturbed);
    process::wait_for("the old gateway ends", Duration::from_secs(20), || {
        server.gateways().iter().all(|other| other.pid != gateway)
    });
    assert_eq!(server.workers().remove(0).pid, worker, "the model was not loaded again");
}

/// A stream that has begun and takes a minute or more.
fn long_stream(server: &Server) -> Events {
    let mut body = story(SHALLOW, 6000);
    body["ignore_eos"] = json!(true);
    let mut stream = server.stream("/v1/completions", &body);
    assert_eq!(stream.by_ref().take(8).count(), 8);
    stream
}

/// Asserts that the stream ends with the error of a stopped gateway.
fn expect_stop_error(stream: Events) {
    let last = stream.last().unwrap();
    let last: Value =
        serde_json::from_str(&last).unwrap_or_else(|_| panic!("it says that it is whole: {last}"));
    let message = last.pointer("/error/message").and_then(Value::as_str).unwrap_or_default();
    assert!(message.contains("stopped or replaced"), "{last}");
}

#[test]
fn stream_beyond_the_drain_time_ends_with_an_error() {
    let server = Server::builder().models(&places::models()).config("drain_seconds = 3").start();
    let stream = long_stream(&server);
    let gateway = server.gateways().remove(0).pid;
    let begun = Instant::now();
    server.mlxd(&["restart", "--gateway"]);
    expect_stop_error(stream);
    let took = begun.elapsed();
    assert!(took > Duration::from_secs(3) && took < Duration::from_secs(20), "{took:?}");
    process::wait_for("the old gateway ends", Duration::from_secs(5), || {
        server.gateways().iter().all(|other| other.pid != gateway)
    });
    assert_eq!(server.count().status, 200);
}

#[test]
fn replaced_gateway_finishes_its_stream_and_stops_with_the_server() {
    let server = Server::start();
    let stream = long_stream(&server);
    let gateway = server.gateways().remove(0);
    server.mlxd(&["restart", "--gateway"]);
    assert_eq!(server.count().status, 200);
    assert!(server.gateways().iter().any(|other| other.pid == gateway.pid), "its stream goes on");
    std::thread::scope(|scope| {
        let read = scope.spawn(|| expect_stop_error(stream));
        assert!(server.stop(Signal::SIGTERM).success());
        read.join().unwrap();
    });
}

/// The text of a stream that must end well. Calls `disturb` after `at` pieces.
fn text(stream: Events, at: usize, disturb: impl FnOnce()) -> String {
    let mut disturb = Some(disturb);
    let mut text = String::new();
    let mut done = false;
    for (count, piece) in stream.enumerate() {
        if count == at
            && let Some(disturb) = disturb.take()
        {
            disturb();
        }
        if piece == "[DONE]" {
            done = true;
            continue;
        }
        let piece: Value = serde_json::from_str(&piece).unwrap();
        assert!(piece.get("error").is_none(), "{piece}");
        text.push_str(piece["choices"][0]["text"].as_str().unwrap());
    }
    assert!(done, "the stream has no end: {text}");
    text
}

#[test]
fn stream_continues_when_its_worker_dies() {
    let server = Server::start();
    for sampling in [json!({"temperature": 0}), json!({"temperature": 0.9, "seed": 5})] {
        let mut body = story(SHALLOW, 120);
        body.as_object_mut().unwrap().extend(sampling.as_object().unwrap().clone());
        let undisturbed = text(server.stream("/v1/completions", &body), usize::MAX, || {});
        let killed = server.workers().remove(0).pid;
        let stream = server.stream("/v1/completions", &body);
        let disturbed = text(stream, 40, || process::signal(killed, Signal::SIGKILL));
        assert_eq!(disturbed, undisturbed);
        let worker = server.workers().remove(0).pid;
        assert_ne!(worker, killed);
        // The same for a plain request.
        body["stream"] = json!(false);
        let answer = std::thread::scope(|scope| {
            let request = scope.spawn(|| server.post("/v1/completions", &body));
            std::thread::sleep(Duration::from_millis(600));
            process::signal(worker, Signal::SIGKILL);
            request.join().unwrap()
        });
        assert_eq!(answer.status, 200, "{}", answer.body);
        assert_eq!(answer.text("/choices/0/text"), undisturbed);
    }
    assert!(server.log().contains("a request goes on"), "{}", server.log());
}

#[test]
fn request_cut_off_by_an_unload_fails_with_the_reason_and_loads_nothing() {
    let server = Server::start();
    let unload = || {
        let url = server.url(&format!("/admin/v1/models/{SHALLOW}/unload"));
        let answer = http::post_within(&url, &json!({"force": true}), Duration::from_secs(20)).unwrap();
        assert_eq!(answer.status, 200, "{}", answer.body);
    };
    let cut = |message: &str| assert!(message.contains("was unloaded by an operator"), "{message}");
    // In each protocol, streamed; a plain request runs beside it.
    let chat = json!({"model": SHALLOW, "messages": [{"role": "user", "content": "Write a very long story about a river."}], "max_tokens": 400,
                      "stream": true, "temperature": 0});
    for (path, body, error) in
        [("/v1/completions", story(SHALLOW, 400), "/error/message"), ("/v1/messages", chat, "/error/message")]
    {
        let mut stream = server.stream(path, &body);
        assert!(stream.by_ref().take(8).count() == 8, "{path} streams");
        let mut plain = body.clone();
        plain["stream"] = json!(false);
        let answer = std::thread::scope(|scope| {
            let plain = scope.spawn(|| server.post(path, &plain));
            std::thread::sleep(Duration::from_millis(500));
            unload();
            plain.join().unwrap()
        });
        assert_eq!(answer.status, 503, "{}", answer.body);
        cut(answer.text(error));
        let rest: Vec<String> = stream.collect();
        let last: Value = serde_json::from_str(rest.last().unwrap()).unwrap();
        assert!(last.pointer(error).is_some(), "{path}: {rest:?}");
        cut(last.pointer(error).and_then(Value::as_str).unwrap_or_default());
        assert!(server.workers().is_empty(), "no request loaded it again: {}", server.log());
    }
    assert_eq!(server.log().matches("a worker starts").count(), 2, "once for each protocol");
    assert_eq!(server.count().status, 200, "a new request loads the model");
}

#[test]
fn repeatedly_dying_worker_fails_only_its_own_requests() {
    let folder = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(places::models().join(SHALLOW), folder.path().join("twin")).unwrap();
    let server = Server::builder().models(&places::models()).models(folder.path()).start();
    assert_eq!(server.count().status, 200);
    let mut first = server.stream("/v1/completions", &story(SHALLOW, 4000));
    let mut twin = server.stream("/v1/completions", &story("twin", 100));
    assert!(first.next().is_some() && twin.next().is_some());
    for death in 0..3 {
        process::wait_for("the request goes on", Duration::from_secs(60), || {
            server.log().matches("a request goes on").count() == death
        });
        let doomed = server.workers().into_iter().find(|worker| worker.command.contains(SHALLOW)).unwrap();
        process::signal(doomed.pid, Signal::SIGKILL);
    }
    let last: Value = serde_json::from_str(&first.last().unwrap()).unwrap();
    assert!(last["error"]["message"].as_str().unwrap().contains(SHALLOW), "{last}");
    let rest: Vec<String> = twin.collect();
    assert_eq!(
        rest.last().map(String::as_str),
        Some("[DONE]"),
        "the other model's stream goes on to its end"
    );
}
