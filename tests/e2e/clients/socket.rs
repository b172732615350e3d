//! Codex by the Responses API over a WebSocket.

use super::codex::Codex;
use super::{QUESTIONS, Session, run};

fn over_socket(kills: bool) -> Session {
    let agent = Codex { provider_settings: "supports_websockets = true\n", ..Codex::default() };
    let session = run(&agent, &QUESTIONS, kills);
    session.expect_success();
    session.expect_cached();
    let methods: Vec<_> = session.turns().map(|turn| turn.method.as_str()).collect();
    assert!(methods.iter().all(|method| *method == "WebSocket"), "{}", session.story());
    session
}

#[test]
fn codex_session_over_a_socket_calls_and_is_cached() {
    let session = over_socket(false);
    // A request continues the one before, and sends only what is new.
    let continued = session.turns().filter(|turn| turn.request["previous_response_id"].is_string()).count();
    assert!(continued >= 3, "{}", session.story());
}

#[test]
fn codex_session_over_a_socket_survives_a_killed_worker() {
    let session = over_socket(true);
    assert!(session.log.contains("a request goes on"), "{}", session.story());
}
