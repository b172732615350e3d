//! Thousands of connections that stop halfway disturb nobody, and end.

use std::time::{Duration, Instant};

use e2e::places::{self, SMOLLM2};
use e2e::{Server, process, slow};
use nix::sys::signal::Signal;
use serde_json::json;

const COUNT: usize = 2000;

fn descriptors(pid: i32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
}

#[test]
fn slow_connections_disturb_nobody_and_end() {
    slow::raise_descriptor_limit();
    let server = Server::builder()
        .models(&places::models())
        .env("MLXD_IDLE_CONNECTION_SECONDS", "12")
        .env("MLXD_BODY_SECONDS", "12")
        .start();
    let right = server.count();
    assert_eq!(right.status, 200, "{}", right.body);
    let gateway = server.gateways().remove(0);
    let before = descriptors(gateway.pid);
    let begun = Instant::now();
    let connections = slow::connect(server.address(), COUNT);
    let opened = begun.elapsed();
    let mut slowest = Duration::ZERO;
    while begun.elapsed() < opened + Duration::from_secs(6) {
        let asked = Instant::now();
        let answer = server.count();
        assert_eq!(answer.text("/choices/0/text"), right.text("/choices/0/text"), "{}", answer.body);
        assert_eq!(server.get("/health").status, 200);
        slowest = slowest.max(asked.elapsed());
    }
    let during = server.gateways().remove(0);
    // A stream that is older than the limits goes on.
    let body = json!({"model": SMOLLM2, "prompt": "Once upon a time", "max_tokens": 200, "stream": true, "ignore_eos": true});
    let stream = server.stream("/v1/completions", &body);
    process::wait_for("slow connections end", Duration::from_secs(60), || {
        connections.iter().all(slow::has_ended)
    });
    let ended = begun.elapsed();
    assert_eq!(stream.last().as_deref(), Some("[DONE]"));
    process::wait_for("descriptors are free", Duration::from_secs(10), || {
        descriptors(gateway.pid) <= before + 4
    });
    println!(
        "{COUNT} connections opened in {opened:?}, the last ended after {ended:?}; others waited at most {slowest:?}; the gateway \
         had {} KiB before, {} KiB during",
        gateway.rss_kib, during.rss_kib
    );
    assert!(ended > Duration::from_secs(11), "they had the time of the settings");
    assert_eq!(during.pid, gateway.pid);
    assert!(server.stop(Signal::SIGTERM).success());
}
