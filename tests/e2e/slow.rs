//! Thousands of connections that stop halfway disturb no request, and end.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use e2e::places::{self, SHALLOW};
use e2e::{Server, process, slow};
use nix::sys::signal::Signal;
use serde_json::json;

const COUNT: usize = 2000;

fn descriptors(pid: i32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
}

/// The running requests of all workers.
fn running(server: &Server) -> u64 {
    let workers = server.listed_workers();
    workers
        .iter()
        .map(|worker| worker["running"].as_u64().unwrap() + worker["waiting"].as_u64().unwrap())
        .sum()
}

/// The system takes some megabytes for it. Then nothing moves, until the connection ends.
#[test]
fn client_that_never_reads_ends_and_frees_its_rows() {
    let server = Server::builder()
        .models(&places::models())
        .env("MLXD_IDLE_CONNECTION_SECONDS", "3")
        .env("MLXD_WORKER_RUNNER", "null")
        .start();
    let body = json!({"model": SHALLOW, "prompt": "Hi", "max_tokens": 8000, "n": 8, "stream": true, "ignore_eos": true});
    let (body, address) = (body.to_string(), server.address());
    // Opens what stays open.
    assert_eq!(
        server.post("/v1/completions", &json!({"model": SHALLOW, "prompt": "Hi", "max_tokens": 1})).status,
        200
    );
    let gateway = server.gateways().remove(0).pid;
    let before = descriptors(gateway);
    let mut client = TcpStream::connect(address).unwrap();
    write!(
        client,
        "POST /v1/completions HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let begun = Instant::now();
    process::wait_for("it is served", Duration::from_secs(10), || descriptors(gateway) > before);
    process::wait_for("its connection ends", Duration::from_secs(30), || descriptors(gateway) <= before);
    let ended = begun.elapsed();
    process::wait_for("its rows are free", Duration::from_secs(10), || running(&server) == 0);
    client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut read = Vec::new();
    // The bytes that the system holds are still there, and then the end, clean or not.
    let _ = client.read_to_end(&mut read);
    println!("the connection ended after {ended:?}; the client found {} bytes", read.len());
    assert!(ended > Duration::from_secs(2), "{ended:?}");
    assert!(
        read.starts_with(b"HTTP/1.1 200") && !read.ends_with(b"data: [DONE]\n\n\r\n0\r\n\r\n"),
        "it was cut"
    );
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
    let body = json!({"model": SHALLOW, "prompt": "Once upon a time", "max_tokens": 200, "stream": true, "ignore_eos": true});
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
