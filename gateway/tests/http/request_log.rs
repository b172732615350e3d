//! The request log in the admin API: exports, and the stream of what is recorded.

use std::io::Read;
use std::time::{Duration, Instant};

use super::fakes::Gateway;

#[test]
fn export_is_a_file_of_all_requests() {
    let gateway = Gateway::start("");
    for prompt in ["count 1", "count 2"] {
        assert_eq!(gateway.complete(prompt, false).0, 200);
    }
    gateway.records(2);
    let (status, head, body) = gateway.ask("GET", "/admin/v1/requests/export?format=csv", "", "");
    assert_eq!(status, 200, "{body}");
    assert!(
        head.contains("content-type: text/csv") && head.contains("attachment; filename=\"requests-20"),
        "{head}"
    );
    assert_eq!(body.matches(",/v1/completions,m,").count(), 2, "{body}");
    let (_, _, lines) = gateway.ask("GET", "/admin/v1/requests/export?model=other", "", "");
    assert!(!lines.contains("/v1/completions"), "{lines}");
}

#[test]
fn export_refuses_unknown_forms_and_conditions() {
    let gateway = Gateway::start("");
    for query in ["format=xml", "status=done", "limit=3"] {
        let (status, _, body) = gateway.ask("GET", &format!("/admin/v1/requests/export?{query}"), "", "");
        assert_eq!(status, 400, "{query}: {body}");
    }
}

#[test]
fn tail_streams_each_request_that_ends() {
    let gateway = Gateway::start("");
    gateway.complete("count 1", false);
    gateway.records(1);
    let mut tail = gateway.send("GET", "/admin/v1/requests/tail", "", "");
    let mut text = String::new();
    // The number of the last request so far, before the first event.
    read_until(&mut tail, &mut text, "id: 1");
    gateway.complete("count 2", false);
    read_until(&mut tail, &mut text, "event: request");
    read_until(&mut tail, &mut text, "id: 2");
    assert_eq!(text.matches("event: request").count(), 1, "{text}");
    // A client that comes back names the last event that it has.
    let mut again = gateway.send("GET", "/admin/v1/requests/tail", "last-event-id: 1\r\n", "");
    let mut text = String::new();
    read_until(&mut again, &mut text, "id: 2");
}

#[test]
fn tail_ends_with_the_server() {
    let gateway = Gateway::start("");
    let mut tail = gateway.send("GET", "/admin/v1/requests/tail", "", "");
    let mut text = String::new();
    read_until(&mut tail, &mut text, "200 OK");
    gateway.watch.end();
    tail.read_to_string(&mut text).unwrap();
}

/// Reads until `text` has `mark`.
fn read_until(from: &mut impl Read, text: &mut String, mark: &str) {
    let (start, mut buffer) = (Instant::now(), [0; 4096]);
    while !text.contains(mark) {
        assert!(start.elapsed() < Duration::from_secs(20), "no {mark} in {text}");
        let count = from.read(&mut buffer).unwrap();
        assert!(count > 0, "the end without {mark}: {text}");
        text.push_str(&String::from_utf8_lossy(&buffer[..count]));
    }
}
