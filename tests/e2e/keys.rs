//! API keys of the command line: used by the official SDKs, and kept out of everything that is written.

use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use e2e::places::{self, SHALLOW};
use e2e::{Server, files, process, scripts};
use serde_json::{Value, json};

/// Makes a key by `mlxd key add`. Returns its id and its secret.
fn add(server: &Server, arguments: &[&str]) -> (String, String) {
    let text = server.mlxd(&[&["key", "add", "--json"][..], arguments].concat());
    let made: Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("no JSON: {text}"));
    let text = |field: &str| made[field].as_str().unwrap().to_owned();
    (text("id"), text("secret"))
}

/// The status of an authorised request.
fn status(server: &Server, path: &str, secret: &str) -> u16 {
    let config = ureq::Agent::config_builder().http_status_as_error(false).build();
    let request = ureq::Agent::from(config).get(server.url(path));
    request.header("authorization", &format!("Bearer {secret}")).call().unwrap().status().as_u16()
}

fn wait_for_status(server: &Server, secret: &str, expected: u16) {
    process::wait_for(&format!("status {expected}"), Duration::from_secs(10), || {
        status(server, "/v1/models", secret) == expected
    });
}

#[test]
fn key_made_by_the_command_line_is_used_by_sdks_until_it_is_revoked() {
    let server = Server::start();
    assert_eq!(server.get("/v1/models").status, 200, "no key is needed before the first one");
    let (id, secret) = add(&server, &["laptop"]);
    let is_closed = || server.get("/v1/models").status == 401;
    process::wait_for("from now on one is", Duration::from_secs(10), is_closed);
    wait_for_status(&server, &secret, 200);
    let (_, narrow) = add(&server, &["narrow", "--model", "org/*", "--expires", "30"]);
    let (_, limited) = add(&server, &["limited", "--requests-per-minute", "1"]);
    wait_for_status(&server, &limited, 200);
    let url = server.url("");
    scripts::run("keys.py", &["valid", &url, SHALLOW, &secret, &narrow, &limited]);
    let listed = server.mlxd(&["key", "ls"]);
    assert!(
        listed.contains(&id) && listed.contains("laptop") && listed.contains("1 requests/min"),
        "{listed}"
    );
    assert!(listed.contains("in 29 days") || listed.contains("in 30 days"), "{listed}");
    assert!(server.mlxd(&["key", "revoke", &id]).contains("is revoked"));
    wait_for_status(&server, &secret, 401);
    scripts::run("keys.py", &["revoked", &url, SHALLOW, &secret]);
    let listed: Value = serde_json::from_str(&server.mlxd(&["key", "ls", "--json"])).unwrap();
    let statuses =
        listed["keys"].as_array().unwrap().iter().map(|key| (key["name"].clone(), key["status"].clone()));
    let expected = [("laptop", "revoked"), ("narrow", "active"), ("limited", "active")];
    assert!(statuses.eq(expected.map(|(name, status)| (json!(name), json!(status)))), "{listed}");
    let (done, text) = server.command(&["key", "revoke", "key_0"]);
    assert!(!done && text.contains("there is no key \"key_0\""), "{text}");
}

#[test]
fn secret_is_in_no_log_file_database_or_environment() {
    let server = Server::builder().models(&places::models()).env("MLXD_LOG", "debug").start();
    let (_, secret) = add(&server, &["laptop", "--scope", "inference", "--scope", "admin"]);
    wait_for_status(&server, &secret, 200);
    let config = ureq::Agent::config_builder().http_status_as_error(false).build();
    let agent = ureq::Agent::from(config);
    let post = |path: &str, body: &Value| {
        let request = agent.post(server.url(path)).header("x-api-key", &secret);
        let mut answer = request.header("content-type", "application/json").send(body.to_string()).unwrap();
        (answer.status().as_u16(), answer.body_mut().read_to_string().unwrap())
    };
    let (code, made) = post("/admin/v1/keys", &json!({"name": "over HTTP"}));
    assert_eq!(code, 201, "{made}");
    let second = serde_json::from_str::<Value>(&made).unwrap()["secret"].as_str().unwrap().to_owned();
    let chat = json!({"model": SHALLOW, "max_tokens": 4, "messages": [{"role": "user", "content": "Hi"}]});
    assert_eq!(post("/v1/chat/completions", &chat).0, 200);
    assert_eq!(
        post("/v1/responses", &json!({"model": SHALLOW, "max_output_tokens": 4, "input": "Hi"})).0,
        200
    );
    assert_eq!(post("/v1/chat/completions", &json!({"model": "none", "messages": []})).0, 400);
    assert_eq!(status(&server, "/v1/models", &second), 200);
    assert_eq!(status(&server, "/admin/v1/keys", &second), 403);
    // The gateway stores the last rows.
    let mut processes = server.gateways();
    processes.extend(server.workers());
    processes.push(server.supervisor());
    assert!(processes.len() >= 3, "{processes:?}");
    for text in [&secret, &second] {
        for process in processes.iter().filter(|_| cfg!(target_os = "linux")) {
            for file in ["environ", "cmdline"] {
                let bytes = fs::read(format!("/proc/{}/{file}", process.pid)).unwrap();
                let has = bytes.windows(text.len()).any(|part| part == text.as_bytes());
                assert!(!has, "{file} of {process:?} has a key");
            }
        }
        let found = files::with(server.home(), text);
        assert!(found.is_empty(), "{found:?} have a key");
        assert!(!server.log().contains(text.as_str()), "the log has a key");
    }
    let found = files::with(server.home(), &secret[secret.len() - 4..]);
    assert!(found.iter().any(|file| file.contains("mlxd.db")), "the scan sees the database: {found:?}");
}

#[test]
fn long_queue_of_one_key_holds_another_one_up_by_a_request() {
    let config = format!("[models.\"{SHALLOW}\"]\nmax_batch = 1\n");
    let server = Server::builder().models(&places::models()).config(&config).start();
    let ((_, greedy), (_, modest)) = (add(&server, &["greedy"]), add(&server, &["modest"]));
    wait_for_status(&server, &modest, 200);
    let body = json!({"model": SHALLOW, "max_tokens": 150, "ignore_eos": true, "temperature": 0,
        "messages": [{"role": "user", "content": "Hi"}]});
    let ask = |secret: &str| {
        let request = ureq::post(server.url("/v1/chat/completions"));
        let request = request.header("authorization", &format!("Bearer {secret}"));
        let answer = request.header("content-type", "application/json").send(body.to_string());
        assert_eq!(answer.unwrap().status(), 200);
    };
    // The model is loaded before.
    ask(&modest);
    let ended = AtomicUsize::new(0);
    let (before, began) = std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                ask(&greedy);
                ended.fetch_add(1, Ordering::Relaxed);
            });
        }
        let began = Instant::now();
        process::wait_for("the first one has ended", Duration::from_secs(60), || {
            ended.load(Ordering::Relaxed) > 0
        });
        let before = ended.load(Ordering::Relaxed);
        ask(&modest);
        (ended.load(Ordering::Relaxed) - before, began.elapsed())
    });
    assert!(before <= 4, "{before} of 15 requests that waited went before it, within {began:?}");
}
