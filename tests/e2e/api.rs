//! What SDKs do not show: raw shapes, headers, health.

use e2e::Server;
use e2e::places::SMOLLM2;
use serde_json::{Value, json};

#[test]
fn streams_end_with_done_and_match_the_plain_answer() {
    let server = Server::start();
    let plain = server.count();
    assert_eq!(plain.status, 200, "{}", plain.body);
    assert!(plain.text("/choices/0/text").starts_with(" 10, 12, 14"), "{}", plain.body);
    let body = json!({"model": SMOLLM2, "prompt": "2, 4, 6, 8,", "max_tokens": 12, "temperature": 0, "stream": true});
    let events: Vec<String> = server.stream("/v1/completions", &body).collect();
    assert_eq!(events.last().map(String::as_str), Some("[DONE]"));
    let text: String = events[..events.len() - 1]
        .iter()
        .map(|e| serde_json::from_str::<Value>(e).unwrap())
        .map(|chunk| chunk["choices"][0]["text"].as_str().unwrap_or_default().to_owned())
        .collect();
    assert_eq!(text, plain.text("/choices/0/text"));
}

#[test]
fn models_and_health_need_no_worker() {
    let server = Server::start();
    assert_eq!(server.get("/health").status, 200);
    let list = server.get("/v1/models");
    assert_eq!(list.text("/object"), "list");
    let ids: Vec<_> =
        list.body["data"].as_array().unwrap().iter().map(|m| m["id"].as_str().unwrap()).collect();
    assert!(ids.contains(&SMOLLM2), "{ids:?}");
    assert!(server.workers().is_empty(), "listing models starts none");
}

#[test]
fn a_client_that_leaves_stops_the_computing() {
    let server = Server::start();
    let body = json!({"model": SMOLLM2, "prompt": "Once upon a time", "max_tokens": 4000, "stream": true,
                      "temperature": 0});
    let mut events = server.stream("/v1/completions", &body);
    assert!(events.next().is_some());
    let worker = server.workers().remove(0).pid;
    drop(events);
    // A worker with nothing to do uses no processor time.
    e2e::process::wait_for("the worker comes to rest", std::time::Duration::from_secs(20), || {
        let before = e2e::process::cpu_ms(worker);
        std::thread::sleep(std::time::Duration::from_millis(500));
        e2e::process::cpu_ms(worker) - before < 50
    });
}
