//! The disk under `mlxd.db` is full, or the file is locked or corrupt. The server still answers requests; it reports, counts and
//! drops what it cannot write, and writes again when it can. A limit on the gateway's files makes its writes fail, which needs
//! no privileges.

use std::time::{Duration, Instant};

use e2e::locked::Lock;
use e2e::places::{self, SHALLOW};
use e2e::{Server, process};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

fn body(previous: Option<&str>, more: &Value) -> Value {
    let mut body =
        json!({"model": SHALLOW, "input": "Say a word.", "max_output_tokens": 8, "temperature": 0});
    body["previous_response_id"] = previous.into();
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

/// The id and `store` of a whole response.
fn respond(server: &Server, previous: Option<&str>) -> (String, bool) {
    let answer = server.post("/v1/responses", &body(previous, &json!({})));
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert!(!answer.body["output"].as_array().unwrap().is_empty(), "{}", answer.body);
    (answer.text("/id").to_owned(), answer.body["store"].as_bool().unwrap())
}

/// The id and `store` of a streamed response.
fn stream(server: &Server) -> (String, bool) {
    let last = server.stream("/v1/responses", &body(None, &json!({"stream": true}))).last().unwrap();
    let last: Value = serde_json::from_str(&last).unwrap();
    let response = &last["response"];
    assert!(last["type"] == "response.completed" || last["type"] == "response.incomplete", "{last}");
    (response["id"].as_str().unwrap().to_owned(), response["store"].as_bool().unwrap())
}

fn expect_not_found(server: &Server, id: &str) {
    let answer = server.post("/v1/responses", &body(Some(id), &json!({})));
    let message = answer.expect_error(400);
    assert!(message.contains(id) && message.contains("was not kept"), "{message}");
    server.get(&format!("/v1/responses/{id}")).expect_error(404);
}

fn metric(server: &Server, name: &str) -> u64 {
    let text = ureq::get(server.url("/metrics")).call().unwrap().into_body().read_to_string().unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("{name}: {text}")).parse().unwrap()
}

/// The number of lost records, at least `least`. The gateway writes a record soon after its request ends.
fn records_lost(server: &Server, least: u64) -> u64 {
    let mut lost = 0;
    process::wait_for("lost records are counted", Duration::from_secs(10), || {
        lost = metric(server, "mlxd_records_lost_total");
        lost >= least
    });
    lost
}

#[test]
fn full_disk_loses_only_what_would_be_written() {
    let server = Server::builder().models(&places::models()).bounded().start();
    let gateway = server.gateways().remove(0).pid;
    let (kept, stored) = respond(&server, None);
    assert!(stored && server.log().contains("mlxd is listening"));

    process::limit_files(gateway, true);
    let (whole, stored) = respond(&server, Some(&kept));
    assert!(
        !stored,
        "a stored response can be continued, and the answer reports that it is not stored itself"
    );
    let (streamed, stored) = stream(&server);
    assert!(!stored);
    assert_eq!(server.count().status, 200);
    for lost in [&whole, &streamed] {
        expect_not_found(&server, lost);
    }
    // A background response that could not be fetched later is refused at once.
    let background = server.post("/v1/responses", &body(None, &json!({"background": true})));
    assert!(background.expect_error(503).contains("cannot be kept"), "{}", background.body);
    assert_eq!(metric(&server, "mlxd_responses_lost_total"), 3);
    records_lost(&server, 3);
    assert!(server.log().contains("a response could not be kept"), "{}", server.log());
    assert_eq!(server.log().matches("cannot be written and are lost").count(), 1, "it is said once");

    process::limit_files(gateway, false);
    let (again, stored) = respond(&server, Some(&kept));
    assert!(stored && stream(&server).1);
    assert!(respond(&server, Some(&again)).1);
    process::wait_for("records are written again", Duration::from_secs(10), || {
        server.log().contains("records of requests are written again")
    });
    // A record in the queue when room came may be lost or written. From here on none is lost.
    let lost = records_lost(&server, 3);
    assert!(respond(&server, Some(&again)).1);
    assert_eq!((records_lost(&server, lost), metric(&server, "mlxd_responses_lost_total")), (lost, 3));
    assert_eq!(server.gateways().remove(0).pid, gateway, "it is the same one");
    assert!(server.stop(Signal::SIGTERM).success());
}

#[test]
fn background_response_that_ends_on_a_full_disk_is_stored_when_there_is_room() {
    let server = Server::builder().models(&places::models()).bounded().start();
    assert_eq!(server.count().status, 200);
    let gateway = server.gateways().remove(0).pid;
    let more = json!({"background": true, "max_output_tokens": 60, "input": "Write a long story."});
    let begun = server.post("/v1/responses", &body(None, &more));
    assert_eq!(begun.status, 200, "{}", begun.body);
    let path = format!("/v1/responses/{}", begun.text("/id"));
    let begins = || server.get(&path).text("/status") == "in_progress";
    process::wait_for("it begins", Duration::from_secs(30), begins);
    process::limit_files(gateway, true);
    std::thread::sleep(Duration::from_secs(4));
    assert_eq!(server.get(&path).text("/status"), "in_progress", "its end is not known to be kept");
    process::limit_files(gateway, false);
    process::wait_for("its end is kept", Duration::from_secs(30), || {
        let status = server.get(&path).text("/status").to_owned();
        assert!(status != "failed", "{}", server.log());
        status == "incomplete" || status == "completed"
    });
}

#[test]
fn gateway_started_on_a_full_disk_serves_and_stores_when_there_is_room() {
    let server = Server::builder().models(&places::models()).bounded().start();
    assert_eq!(server.count().status, 200);
    let (supervisor, gateway) = (server.pid() as i32, server.gateways().remove(0).pid);
    // Its child processes inherit the limit. The next gateway has to create the database.
    process::limit_files(supervisor, true);
    for name in ["mlxd.db", "mlxd.db-wal", "mlxd.db-shm"] {
        std::fs::remove_file(server.home().join(name)).unwrap();
    }
    process::signal(gateway, Signal::SIGKILL);
    assert!(!respond(&server, None).1);
    assert!(server.log().contains("until the database can be opened"), "{}", server.log());
    let next = server.gateways().remove(0).pid;
    assert_ne!(next, gateway);
    process::limit_files(next, false);
    let (id, stored) = respond(&server, None);
    assert!(stored && respond(&server, Some(&id)).1);
    assert_eq!(server.gateways().remove(0).pid, next);
    process::limit_files(supervisor, false);
    assert!(server.stop(Signal::SIGTERM).success());
}

/// The limit of an answer that takes a moment. Waiting for the lock would take five seconds.
const SOON: Duration = Duration::from_secs(4);

/// Runs `work`, which must not wait for the lock.
fn soon<T>(what: &str, work: impl FnOnce() -> T) -> T {
    let begun = Instant::now();
    let done = work();
    assert!(begun.elapsed() < SOON, "{what}: {:?}", begun.elapsed());
    done
}

#[test]
fn locked_database_delays_no_answer() {
    let server = Server::start();
    let (kept, stored) = respond(&server, None);
    assert!(stored);
    let lock = Lock::take(&server.home().join("mlxd.db"));
    for _ in 0..3 {
        let (_, stored) = soon("whole", || respond(&server, Some(&kept)));
        assert!(!stored, "it is not stored when its answer is sent");
    }
    assert!(!soon("streamed", || stream(&server)).1);
    assert_eq!(soon("get", || server.get(&format!("/v1/responses/{kept}"))).status, 200);
    let (late, _) = soon("last", || respond(&server, None));
    drop(lock);
    process::wait_for("it is stored after all", Duration::from_secs(10), || {
        server.get(&format!("/v1/responses/{late}")).status == 200
    });
    assert!(respond(&server, Some(&late)).1);
    assert!(server.stop(Signal::SIGTERM).success());
}

#[test]
fn gateway_started_on_a_locked_database_serves_and_stores_later() {
    let server = Server::start();
    assert_eq!(server.count().status, 200);
    let gateway = server.gateways().remove(0).pid;
    let lock = Lock::take(&server.home().join("mlxd.db"));
    process::signal(gateway, Signal::SIGKILL);
    assert!(!soon("at the start", || respond(&server, None)).1);
    drop(lock);
    process::wait_for("responses are stored", Duration::from_secs(15), || respond(&server, None).1);
    assert!(server.stop(Signal::SIGTERM).success());
}

#[test]
fn corrupt_database_is_set_aside() {
    let server = Server::start();
    let (lost, stored) = respond(&server, None);
    assert!(stored);
    for name in ["mlxd.db-wal", "mlxd.db-shm"] {
        std::fs::remove_file(server.home().join(name)).unwrap();
    }
    std::fs::write(server.home().join("mlxd.db"), "no database ".repeat(999)).unwrap();
    process::signal(server.gateways().remove(0).pid, Signal::SIGKILL);
    process::wait_for("responses are stored again", Duration::from_secs(20), || respond(&server, None).1);
    let files = std::fs::read_dir(server.home()).unwrap().map(|file| file.unwrap().file_name());
    let aside = files.filter(|name| name.to_string_lossy().starts_with("mlxd.db.broken-")).count();
    assert!(aside > 0 && server.log().contains("is corrupt"), "{}", server.log());
    server.get(&format!("/v1/responses/{lost}")).expect_error(404);
    assert!(server.stop(Signal::SIGTERM).success());
}
