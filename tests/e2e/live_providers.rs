//! Providers and routes of the command line, while the server runs. The provider is a second server.

use std::fs;
use std::time::Duration;

use e2e::places::{self, SHALLOW};
use e2e::{Server, files, http, process};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

const KEY: &str = "sk-upstream-0123456789abcdef";

fn upstream() -> Server {
    Server::builder().models(&places::models()).env("MLXD_API_KEYS", KEY).start()
}

/// Makes the upstream the provider `far` of a server.
fn add(server: &Server, upstream: &Server) {
    let (url, model) = (upstream.url("/v1"), format!("{SHALLOW},alias=remote,context=2048"));
    let arguments =
        ["provider", "add", "far", "--kind", "openai-compatible", "--url", &url, "--model", &model];
    let (done, text) = server.command_with(&arguments, &format!("{KEY}\n"));
    assert!(done && text.contains("far is made"), "{text}");
}

fn ask(server: &Server, model: &str) -> http::Answer {
    let messages = json!([{"role": "user", "content": "Name three colours."}]);
    let body = json!({"model": model, "messages": messages, "max_tokens": 12, "temperature": 0});
    server.post("/v1/chat/completions", &body)
}

fn wait_for_status(server: &Server, model: &str, expected: u16) {
    process::wait_for(&format!("{model}: status {expected}"), Duration::from_secs(10), || {
        ask(server, model).status == expected
    });
}

fn shown(server: &Server, arguments: &[&str]) -> Value {
    let text = server.mlxd(&[arguments, &["--json"][..]].concat());
    serde_json::from_str(&text).unwrap_or_else(|_| panic!("no JSON: {text}"))
}

#[test]
fn provider_and_routes_of_the_command_line_count_while_the_server_runs() {
    let (upstream, server) = (upstream(), Server::start());
    let local = ask(&server, SHALLOW);
    assert_eq!(ask(&server, "remote").status, 404);
    add(&server, &upstream);
    wait_for_status(&server, "remote", 200);
    let far = ask(&server, "remote");
    assert_eq!(far.body["choices"][0]["message"], local.body["choices"][0]["message"]);
    let listed = server.mlxd(&["provider", "ls"]);
    assert!(listed.contains("far") && listed.contains("…cdef") && listed.contains("database"), "{listed}");
    let test = server.mlxd(&["provider", "test", "far"]);
    assert!(test.contains("far answers after") && test.contains(SHALLOW), "{test}");

    let routes = format!("[[routes]]\nmodel = \"assistant\"\ntargets = [\"not-here\", \"far/{SHALLOW}\"]\n");
    let (done, text) = server.command_with(&["route", "set", "-", "--revision", "0"], &routes);
    assert!(done && text.contains("revision 1"), "{text}");
    wait_for_status(&server, "assistant", 200);
    let explained = server.mlxd(&["route", "explain", "assistant"]);
    assert!(explained.contains("assistant: applies") && explained.contains("not-here, far/"), "{explained}");
    let (done, text) = server.command_with(&["route", "set", "-", "--revision", "0"], "[]");
    assert!(!done && text.contains("revision is 1"), "{text}");

    server.mlxd(&["secrets", "rotate"]);
    server.mlxd(&["restart", "--gateway"]);
    assert_eq!(
        ask(&server, "assistant").status,
        200,
        "the first request knows the provider, by the new master key"
    );
    server.mlxd(&["provider", "disable", "far"]);
    wait_for_status(&server, "remote", 404);
    server.mlxd(&["provider", "enable", "far"]);
    wait_for_status(&server, "remote", 200);
    server.mlxd(&["provider", "rm", "far"]);
    wait_for_status(&server, "remote", 404);
    assert_eq!(shown(&server, &["provider", "ls"]), json!({"providers": []}));
    let logged = shown(&server, &["requests", "ls", "--backend", "far", "--status", "finished"]);
    assert!(!logged["requests"].as_array().unwrap().is_empty(), "{logged}");
}

#[test]
fn wrong_master_key_is_named_and_the_local_model_serves() {
    let given = "ab".repeat(32);
    let server = Server::builder().models(&places::models()).env("MLXD_MASTER_KEY", &given).start();
    let upstream = upstream();
    // Without the variable the command line makes a key of its own.
    add(&server, &upstream);
    wait_for_status(&server, "remote", 503);
    let problem = ask(&server, "remote");
    let message = problem.expect_error(503);
    assert!(
        message.contains("sealed by the master key") && message.contains("MLXD_MASTER_KEY has"),
        "{message}"
    );
    assert_eq!(ask(&server, SHALLOW).status, 200);
    let seen = server.get("/admin/v1/providers/far").body;
    assert!(seen["problem"].as_str().unwrap().contains("sealed by the master key"), "{seen}");
    for text in [server.log(), problem.body.to_string(), seen.to_string()] {
        assert!(!text.contains(&given) && !text.contains(KEY), "{text}");
    }
}

#[test]
fn providers_key_is_in_no_log_file_or_environment() {
    let upstream = upstream();
    let server = Server::builder().models(&places::models()).env("MLXD_LOG", "debug").start();
    add(&server, &upstream);
    wait_for_status(&server, "remote", 200);
    let order = json!({"name": "far", "kind": "openai", "url": "http://127.0.0.1:9", "api_key": KEY, "models": ["m"]});
    assert_eq!(server.post("/admin/v1/providers", &order).status, 409);
    assert_eq!(server.post("/admin/v1/test-provider", &order).status, 200);
    upstream.stop(Signal::SIGTERM);
    assert_eq!(ask(&server, "remote").status, 502);
    let mut processes = server.gateways();
    processes.extend(server.workers());
    processes.push(server.supervisor());
    for process in processes.iter().filter(|_| cfg!(target_os = "linux")) {
        for file in ["environ", "cmdline"] {
            let bytes = fs::read(format!("/proc/{}/{file}", process.pid)).unwrap();
            assert!(!bytes.windows(KEY.len()).any(|part| part == KEY.as_bytes()), "{file} of {process:?}");
        }
    }
    let (found, ends) = (files::with(server.home(), KEY), files::with(server.home(), "cdef"));
    assert!(found.is_empty(), "{found:?} have the key");
    assert!(ends.iter().any(|file| file.contains("mlxd.db")), "the scan sees the database: {ends:?}");
    assert!(!server.log().contains(KEY) && server.log().contains("far"), "{}", server.log());
}

#[cfg(target_os = "linux")]
#[test]
fn crash_of_a_process_with_secrets_leaves_no_core_file() {
    let (folder, upstream) = (tempfile::tempdir().unwrap(), upstream());
    let prelude = format!("ulimit -c unlimited && cd '{}'", folder.path().display());
    let server = Server::builder().models(&places::models()).prelude(&prelude).start();
    add(&server, &upstream);
    wait_for_status(&server, "remote", 200);
    let gateway = server.gateways().remove(0);
    for process in [&gateway, &server.supervisor()] {
        let limits = fs::read_to_string(format!("/proc/{}/limits", process.pid)).unwrap();
        let line = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap().to_owned();
        assert!(line.split_whitespace().nth(4) == Some("0"), "{process:?}: {line}");
    }
    process::signal(gateway.pid, Signal::SIGABRT);
    let is_new = || server.gateways().first().is_some_and(|one| one.pid != gateway.pid);
    process::wait_for("another gateway", Duration::from_secs(20), is_new);
    wait_for_status(&server, "remote", 200);
    let supervisor = server.supervisor().pid;
    process::signal(supervisor, Signal::SIGABRT);
    let program = format!("/proc/{supervisor}/exe");
    process::wait_for("the end of the supervisor", Duration::from_secs(20), || {
        fs::read_link(&program).is_err()
    });
    let left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(left.is_empty(), "{left:?}");
}
