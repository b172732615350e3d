//! The web UI in a real browser, over real processes. `cargo xtask test` skips these tests, and says so, where it finds no Chromium
//! or the page could not be built.

use std::time::Duration;

use e2e::places::{self, SMOLLM2};
use e2e::{Server, process, scripts};
use serde_json::{Value, json};

mod admin;
mod chat;
mod downloads;
mod hub;
mod login;
mod routing;
mod usage;

/// The largest size of the files that a browser needs before it shows the page, compressed.
const MAX_ENTRY_BYTES: usize = 60_000;

/// Runs a case of one of the scripts.
fn script(name: &str, server: &Server, case: &str, more: &[&str]) {
    let browser = std::env::var("MLXD_TEST_CHROMIUM").unwrap_or_else(|_| "/usr/bin/chromium".into());
    scripts::run(name, &[&[&*server.url(""), SMOLLM2, &browser, case], more].concat());
}

fn run(server: &Server, case: &str, more: &[&str]) {
    script("ui.mjs", server, case, more);
}

fn in_browser(case: &str) {
    run(&Server::start(), case, &[]);
}

#[test]
fn chat_streams_regenerates_branches_and_is_found_again() {
    in_browser("chat");
}

#[test]
fn stopped_answer_stops_its_worker_and_is_continued() {
    in_browser("stop");
}

#[test]
fn answer_goes_on_when_its_page_closes() {
    in_browser("reload");
}

#[test]
fn two_tabs_add_to_one_conversation() {
    in_browser("tabs");
}

#[test]
fn conversation_is_exported_pinned_renamed_and_deleted() {
    in_browser("history");
}

#[test]
fn earlier_messages_of_a_long_conversation_come_when_they_are_read() {
    in_browser("long");
}

#[test]
fn conversations_of_other_programs_are_imported_once() {
    in_browser("import");
}

#[test]
fn hostile_text_does_nothing() {
    in_browser("hostile");
}

#[test]
fn model_is_loaded_set_pinned_and_unloaded() {
    in_browser("models");
}

#[test]
fn key_is_made_used_and_revoked() {
    in_browser("keys");
}

#[test]
fn request_is_found_and_route_explained() {
    let config = format!("[[routes]]\nname = \"fast\"\nmodel = \"fast\"\ntargets = [\"{SMOLLM2}\"]\n");
    run(&Server::builder().models(&places::models()).config(&config).start(), "activity", &[]);
}

#[test]
fn page_survives_a_killed_gateway() {
    let server = Server::start();
    let gateway = server.gateways().remove(0).pid.to_string();
    run(&server, "restart", &[&gateway]);
}

/// axe, three widths, light and dark.
#[test]
fn every_page_is_accessible_at_every_width() {
    in_browser("everywhere");
}

/// The body and the headers of a GET.
fn fetch(server: &Server, path: &str, headers: &[(&str, &str)]) -> (ureq::http::HeaderMap, Vec<u8>) {
    let mut request = ureq::get(server.url(path));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut answer = request.call().unwrap();
    (answer.headers().clone(), answer.body_mut().read_to_vec().unwrap())
}

#[test]
fn entry_is_small_compressed_and_cached() {
    let server = Server::start();
    let (headers, index) = fetch(&server, "/", &[("accept", "text/html")]);
    assert_eq!(headers["cache-control"], "no-cache");
    let policy = headers["content-security-policy"].to_str().unwrap();
    assert!(policy.starts_with("default-src 'self';") && !policy.contains("unsafe"), "{policy}");
    let index = String::from_utf8(index).unwrap();
    let assets = index.split('"').filter(|part| part.starts_with("/ui/assets/"));
    let mut bytes = 0;
    for path in assets.filter(|path| !path.ends_with(".svg")) {
        let (headers, body) = fetch(&server, path, &[("accept-encoding", "br")]);
        assert_eq!(headers["content-encoding"], "br", "{path}");
        assert!(headers["cache-control"].to_str().unwrap().contains("immutable"), "{path}");
        bytes += body.len();
    }
    assert!((10_000..MAX_ENTRY_BYTES).contains(&bytes), "{bytes} bytes");
    let (headers, greeting) = fetch(&server, "/", &[]);
    assert!(greeting.starts_with(b"mlxd is running"), "a probe gets text");
    assert_eq!(headers["content-type"], "text/plain; charset=utf-8");
}

/// The status and the body of a request with a key.
fn call(server: &Server, method: &str, path: &str, key: &str, body: &Value) -> (u16, Value) {
    let config = ureq::Agent::config_builder().http_status_as_error(false).build();
    let request = ureq::http::Request::builder().method(method).uri(server.url(path));
    let request = request.header("authorization", format!("Bearer {key}"));
    let request = request.header("content-type", "application/json").body(body.to_string()).unwrap();
    let agent = ureq::Agent::from(config);
    let mut answer =
        if method == "GET" { agent.run(request.map(|_| ())).unwrap() } else { agent.run(request).unwrap() };
    let text = answer.body_mut().read_to_string().unwrap();
    (answer.status().as_u16(), serde_json::from_str(&text).unwrap_or_default())
}

fn store(server: &Server, key: &str, id: &str) -> u16 {
    let chat = json!({"title": id, "revision": 0, "body": {"turns": []}});
    call(server, "PUT", &format!("/ui/v1/chats/{id}"), key, &chat).0
}

fn list(server: &Server, key: &str) -> Vec<String> {
    let (status, body) = call(server, "GET", "/ui/v1/chats", key, &Value::Null);
    assert_eq!(status, 200, "{body}");
    body["chats"].as_array().unwrap().iter().map(|chat| chat["id"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn key_has_a_history_of_its_own_and_administrators_share_one() {
    let server = Server::start();
    assert_eq!(store(&server, "none", "before"), 200, "no key is needed before the first one");
    let add = |name: &str, scopes: &[&str]| {
        let scopes = scopes.iter().flat_map(|scope| ["--scope", scope]);
        let arguments: Vec<&str> = ["key", "add", "--json", name].into_iter().chain(scopes).collect();
        let made: Value = serde_json::from_str(&server.mlxd(&arguments)).unwrap();
        made["secret"].as_str().unwrap().to_owned()
    };
    let phone = add("phone", &["inference"]);
    let [desk, sofa] = ["desk", "sofa"].map(|name| add(name, &["inference", "admin"]));
    // An open server takes any key, so a wrong one says whether it has noticed the first.
    let status = |key: &str| call(&server, "GET", "/ui/v1/chats", key, &Value::Null).0;
    process::wait_for("the keys are known", Duration::from_secs(10), || {
        status("wrong") == 401 && status(&sofa) == 200
    });
    assert_eq!(store(&server, "wrong", "a"), 401);
    assert_eq!((store(&server, &phone, "a"), store(&server, &desk, "b")), (200, 200));
    assert_eq!(store(&server, &desk, "b"), 409, "it is there already");
    assert_eq!(
        (list(&server, &phone), list(&server, &sofa)),
        (vec!["a".into()], vec!["b".into(), "before".into()])
    );
    let (status, problem) = call(&server, "GET", "/ui/v1/chats/a", &desk, &Value::Null);
    assert_eq!((status, problem["status"].as_u64()), (404, Some(404)), "{problem}");
    let (status, _) = call(&server, "DELETE", "/ui/v1/chats/before", &phone, &Value::Null);
    assert_eq!(status, 404, "another key's conversation");
}
