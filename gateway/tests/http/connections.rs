//! Connections that stop halfway end. Slow ones that go on do not.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use ipc_proto::gateway::GatewayConfig;
use serde_json::json;

use super::fakes::{Gateway, completion};
use super::{json, socket, text};

/// A gateway with a second for everything.
fn impatient() -> Gateway {
    Gateway::with(GatewayConfig { idle_connection_seconds: 1, body_seconds: 1, ..GatewayConfig::default() })
}

fn connect(gateway: &Gateway, sent: &str) -> TcpStream {
    let mut stream = TcpStream::connect(gateway.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(sent.as_bytes()).unwrap();
    stream
}

/// The head of a request with a body of `length` bytes.
fn head(path: &str, length: usize) -> String {
    format!("POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {length}\r\n\r\n")
}

/// The bytes until the server closes the connection.
fn rest(mut stream: TcpStream) -> String {
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

#[test]
fn connection_without_a_whole_request_head_ends() {
    let gateway = impatient();
    let begun = Instant::now();
    let health = "GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n";
    let sent = ["", "POST /v1/chat/comp", "GET /health HTTP/1.1\r\nhost: loc", health];
    let streams = sent.map(|sent| connect(&gateway, sent));
    let [silent, half, more, answered] = streams.map(rest);
    assert!(begun.elapsed() >= Duration::from_millis(900), "{:?}", begun.elapsed());
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    assert_eq!((silent, half, more), (String::new(), String::new(), String::new()));
    assert!(answered.starts_with("HTTP/1.1 200") && answered.matches("HTTP/1.1").count() == 1, "{answered}");
}

#[test]
fn body_that_stops_is_refused_in_the_protocol_of_the_client() {
    let gateway = impatient();
    for (path, pointer) in [
        ("/v1/chat/completions", "/error/message"),
        ("/v1/responses", "/error/message"),
        ("/v1/messages", "/error/message"),
        ("/api/chat", "/error"),
        ("/admin/v1/models/m/load", "/detail"),
    ] {
        let answer = rest(connect(&gateway, &format!("{}{{", head(path, 100))));
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 408"), "{path}: {answer}");
        let body = json(body);
        let message = body.pointer(pointer).and_then(|message| message.as_str()).unwrap_or_default();
        assert!(message.contains("1 of 100 bytes") && message.contains("body_seconds"), "{path}: {body}");
    }
}

#[test]
fn slow_upload_that_goes_on_is_answered() {
    let gateway = impatient();
    let body = completion("count 3", false);
    let padding = 5 * (17 << 10);
    let mut stream = connect(&gateway, &head("/v1/completions", padding + body.len()));
    for _ in 0..5 {
        stream.write_all(" ".repeat(17 << 10).as_bytes()).unwrap();
        std::thread::sleep(Duration::from_millis(500));
    }
    stream.write_all(body.as_bytes()).unwrap();
    let answer = rest(stream);
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("w0 w1 w2"), "{answer}");
}

#[test]
fn answers_and_sockets_outlive_the_limits() {
    let gateway = impatient();
    let mut idle = socket::connect(&gateway);
    for stream in [false, true] {
        let (status, _, body) = gateway.complete("late 3", stream);
        assert_eq!(status, 200);
        assert!(body.contains("w0 ") && (!stream || text(&body) == "w0 "), "{body}");
    }
    socket::send(&mut idle, "count 2", &json!({}));
    assert_eq!(socket::events(&mut idle).last().unwrap()["type"], "response.completed");
}

/// The system takes some megabytes. Then nothing moves any more.
#[test]
fn connection_whose_client_reads_no_answers_ends() {
    let gateway = impatient();
    let requests = "GET /openapi.json HTTP/1.1\r\nhost: localhost\r\n\r\n".repeat(200);
    let mut stream = connect(&gateway, &requests);
    let begun = Instant::now();
    // A closed socket refuses what comes, an open one takes it.
    while stream.write_all(b" ").is_ok() {
        assert!(begun.elapsed() < Duration::from_secs(15), "the connection is still open");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(begun.elapsed() >= Duration::from_millis(900), "{:?}", begun.elapsed());
}
