//! Requests of web pages from other origins.

use std::io::{Read, Write};
use std::net::TcpStream;

use e2e::{Server, places};

fn preflight(server: &Server, origin: &str) -> String {
    let mut socket = TcpStream::connect(server.address()).unwrap();
    let head = format!(
        "OPTIONS /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\norigin: {origin}\r\nconnection: close\r\n\
         access-control-request-method: POST\r\naccess-control-request-headers: authorization\r\n\r\n"
    );
    socket.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    answer.to_lowercase()
}

#[test]
fn preflight_allows_only_listed_origins() {
    let server = Server::builder()
        .models(&places::models())
        .config("cors_origins = [\"https://chat.example\"]")
        .env("MLXD_API_KEYS", "sk-test")
        .start();
    let answer = preflight(&server, "https://chat.example");
    assert!(answer.contains("access-control-allow-origin: https://chat.example"), "{answer}");
    assert!(answer.contains("access-control-allow-headers: authorization"), "{answer}");
    assert!(answer.contains("access-control-allow-methods: get,post,put,patch,delete"), "{answer}");
    assert!(!preflight(&server, "https://evil.example").contains("access-control-allow-origin"));
    let local = Server::builder().models(&places::models()).config("cors_origins = [\"localhost\"]").start();
    let answer = preflight(&local, "http://localhost:3000");
    assert!(answer.contains("access-control-allow-origin: http://localhost:3000"), "{answer}");
    assert!(!preflight(&local, "https://evil.example").contains("access-control-allow-origin"));
    let closed = Server::start();
    assert!(!preflight(&closed, "https://chat.example").contains("access-control"));
}
