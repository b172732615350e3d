//! The gateway over HTTP, in front of a fake worker that the prompt controls.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::time::{Duration, Instant};

use serde_json::Value;

mod admin;
mod aliases;
mod compaction;
mod connections;
mod contents;
mod decisions;
mod fakes;
mod images;
mod intake;
mod judging;
mod keep_alive;
mod keys;
mod limits;
mod live;
mod login;
mod messages;
mod ollama;
mod origin;
mod prompts;
mod provider_limits;
mod providers;
mod records;
mod request_log;
mod requests;
mod responses;
mod routes;
mod scoring;
mod silence;
mod socket;
mod stack;
mod unnamed;
mod verbatim;
mod verdicts;

fn json(body: &str) -> Value {
    serde_json::from_str(body).unwrap_or_else(|_| panic!("no JSON: {body}"))
}

/// The accumulated text of a stream. The body also contains chunk lengths, which this skips.
fn text(body: &str) -> String {
    let data = body.lines().filter_map(|line| line.strip_prefix("data: ")).filter(|data| *data != "[DONE]");
    data.filter_map(|data| Some(json(data).pointer("/choices/0/text")?.as_str()?.to_owned())).collect()
}

fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < Duration::from_secs(10), "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
