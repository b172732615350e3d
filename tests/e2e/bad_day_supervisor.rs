//! A bad day for the supervisor: disks that do not answer, processes that hang, wrong files and settings.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use e2e::places::{self, SHALLOW};
use e2e::{Server, derived, http, process};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

/// The time that the whole server has to stop, whatever hangs.
const STOP: Duration = Duration::from_secs(7);

fn count_with(server: &Server, model: &str) -> http::Answer {
    let body = json!({"model": model, "prompt": "2, 4, 6, 8,", "max_tokens": 8, "temperature": 0});
    server.post("/v1/completions", &body)
}

/// The entry of a model in the list.
fn listed(server: &Server, model: &str) -> Value {
    let list = server.get("/admin/v1/models").body;
    let models = list["models"].as_array().unwrap();
    models.iter().find(|entry| entry["id"] == model).cloned().unwrap_or_else(|| panic!("{model}: {list}"))
}

/// Asserts that the server stops in time.
fn stop(server: Server) {
    let begun = Instant::now();
    assert!(server.stop(Signal::SIGTERM).success());
    let took = begun.elapsed();
    assert!(took < STOP, "{took:?}");
}

/// SmolLM2 under the name `ok`, with all its files, in a new folder.
fn with_good_model() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    derived::link(folder.path(), "ok");
    folder
}

/// SmolLM2 with something else in the place of one file.
fn replace(folder: &Path, name: &str, file: &str, with: impl FnOnce(&Path)) {
    let path = derived::link(folder, name).join(file);
    std::fs::remove_file(&path).unwrap();
    with(&path);
}

#[test]
fn pipes_and_devices_in_model_folders_are_named_and_hang_nothing() {
    let folder = with_good_model();
    let pipe = |path: &Path| nix::unistd::mkfifo(path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let device = |path: &Path| symlink("/dev/zero", path).unwrap();
    replace(folder.path(), "pipe", "model.safetensors", pipe);
    replace(folder.path(), "device", "tokenizer.json", device);
    replace(folder.path(), "settings", "generation_config.json", device);
    replace(folder.path(), "config", "config.json", pipe);
    let server = Server::builder().models(folder.path()).start();
    let begun = Instant::now();
    for (name, file) in [("pipe", "model.safetensors"), ("device", "tokenizer.json")] {
        let entry = listed(&server, name);
        assert_eq!(entry["details"]["supported"], false, "{entry}");
        let problem = entry["details"]["problem"].as_str().unwrap();
        assert!(problem.contains(file) && problem.contains("not a regular file"), "{problem}");
    }
    for (name, file) in
        [("pipe", "model.safetensors"), ("device", "tokenizer.json"), ("settings", "generation_config.json")]
    {
        let answer = count_with(&server, name);
        let message = answer.expect_error(500);
        assert!(message.contains(file) && message.contains("not a regular file"), "{message}");
    }
    let took = begun.elapsed();
    println!("three broken models and their list: {took:?}");
    assert!(took < Duration::from_secs(30), "{took:?}");
    count_with(&server, "config").expect_error(404);
    assert_eq!(count_with(&server, "ok").status, 200);
    replace(folder.path(), "late", "model.safetensors", pipe);
    process::wait_for("a folder that comes later is named", Duration::from_secs(20), || {
        count_with(&server, "late").text("/error/message").contains("not a regular file")
    });
    assert_eq!(count_with(&server, "ok").status, 200);
    stop(server);
}

#[test]
fn file_system_that_does_not_answer_is_named_and_hangs_nothing() {
    let folder = with_good_model();
    let asleep = folder.path().join("asleep");
    std::fs::create_dir(&asleep).unwrap();
    let begun = Instant::now();
    let server = Server::builder().models(folder.path()).silent(&asleep).start();
    println!("with a silent folder it accepts after {:?}", begun.elapsed());
    let answer = count_with(&server, "ok");
    assert_eq!(answer.status, 200, "{}", answer.body);
    let begun = Instant::now();
    let entry = listed(&server, "asleep");
    assert_eq!(entry["details"]["supported"], false, "{entry}");
    let answer = count_with(&server, "asleep");
    let message = answer.expect_error(503);
    assert!(message.contains(asleep.to_str().unwrap()) && message.contains("does not answer"), "{message}");
    assert!(server.mlxd(&["ps", "--all"]).contains("asleep"));
    assert_eq!(server.get("/v1/models").status, 200);
    let took = begun.elapsed();
    println!("list, refusal, ps, list: {took:?}");
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert!(server.log().contains("a folder does not answer"), "{}", server.log());
    stop(server);
}

#[test]
fn store_that_does_not_answer_is_named_and_hangs_nothing() {
    let (folder, asleep) = (with_good_model(), tempfile::tempdir().unwrap());
    let server = Server::builder().models(folder.path()).models(asleep.path()).silent(asleep.path()).start();
    let answer = count_with(&server, "ok");
    assert_eq!(answer.status, 200, "{}", answer.body);
    let begun = Instant::now();
    let answer = count_with(&server, "unknown");
    let message = answer.expect_error(503);
    assert!(message.contains(asleep.path().to_str().unwrap()), "{message}");
    assert_eq!(server.get("/v1/models").status, 200);
    assert!(begun.elapsed() < Duration::from_secs(12), "{:?}", begun.elapsed());
    stop(server);
}

#[test]
fn gateway_that_hangs_is_replaced() {
    let server = Server::builder().models(&places::models()).env("MLXD_HANG_SECONDS", "2").start();
    let right = server.count();
    let (stopped, worker) = (server.gateways().remove(0).pid, server.workers().remove(0).pid);
    process::signal(stopped, Signal::SIGSTOP);
    let begun = Instant::now();
    process::wait_for("another gateway", Duration::from_secs(20), || {
        server.gateways().first().is_some_and(|gateway| gateway.pid != stopped)
    });
    println!("a stopped gateway, hang after 5 s at least: replaced after {:?}", begun.elapsed());
    let answer = server.count();
    assert_eq!(answer.body["choices"], right.body["choices"], "{}\n{}", answer.body, server.log());
    assert_eq!(server.workers().remove(0).pid, worker, "the model was not loaded again");
    assert!(server.log().contains("the gateway hangs"), "{}", server.log());
    stop(server);
}

#[test]
fn supervisor_that_was_stopped_blames_no_gateway_and_loads_time_out_meanwhile() {
    let server = Server::builder().models(&places::models()).env("MLXD_HANG_SECONDS", "2").start();
    assert_eq!(server.count().status, 200);
    let gateway = server.gateways().remove(0).pid;
    let supervisor = server.pid() as i32;
    process::signal(supervisor, Signal::SIGSTOP);
    let begun = Instant::now();
    let loading = count_with(&server, places::TOY_QWEN2);
    let took = begun.elapsed();
    process::signal(supervisor, Signal::SIGCONT);
    println!("a load without the supervisor failed after {took:?}: {}", loading.body);
    assert!(loading.status >= 500 && took < Duration::from_secs(30), "{took:?}: {}", loading.body);
    let message = loading.text("/error/message");
    assert!(message.contains("the supervisor does not answer"), "{message}");
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(server.gateways().remove(0).pid, gateway, "{}", server.log());
    assert_eq!(server.count().status, 200);
    stop(server);
}

#[test]
fn death_after_an_open_breaker_is_recovered_at_once() {
    let server = Server::start();
    let kill = || {
        let Some(worker) = server.workers().into_iter().next() else { return };
        process::signal(worker.pid, Signal::SIGKILL);
        process::wait_for("it has ended", Duration::from_secs(10), || {
            server.workers().iter().all(|other| other.pid != worker.pid)
        });
    };
    let mut deaths = 0;
    while server.count().status == 200 {
        deaths += 1;
        assert!(deaths < 10, "the breaker does not open");
        kill();
    }
    let opened = Instant::now();
    process::wait_for("the breaker closes", Duration::from_secs(60), || server.count().status == 200);
    println!("the breaker was open for {:?} after {deaths} deaths", opened.elapsed());
    for _ in 0..2 {
        kill();
        let begun = Instant::now();
        let answer = server.count();
        assert_eq!(answer.status, 200, "{}", answer.body);
        println!("one more death: answered after {:?}", begun.elapsed());
    }
}

fn file_limit(pid: i32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let line = text.lines().find(|line| line.starts_with("Max open files")).unwrap();
    line.split_whitespace().nth(3).unwrap().parse().unwrap()
}

#[test]
fn limit_of_open_files_is_raised_for_all_processes() {
    let server = Server::builder().models(&places::models()).prelude("ulimit -S -n 64").start();
    assert_eq!(server.count().status, 200);
    for process in [vec![server.supervisor()], server.gateways(), server.workers()].concat() {
        assert!(file_limit(process.pid) > 64, "{}", process.command);
    }
    let idle: Vec<_> = (0..100).map(|_| std::net::TcpStream::connect(server.address()).unwrap()).collect();
    assert_eq!(server.get("/health").status, 200);
    drop(idle);
}

/// The gateway keeps descriptors for workers and the database.
#[test]
fn connections_beyond_the_limit_of_open_files_wait_and_are_logged() {
    let server = Server::builder().models(&places::models()).prelude("ulimit -n 128").start();
    let idle: Vec<_> = (0..100).map(|_| std::net::TcpStream::connect(server.address()).unwrap()).collect();
    process::wait_for("the limit is logged", Duration::from_secs(20), || {
        server.log().contains("64 connections are open, as many as the limit of open files allows")
    });
    drop(idle);
    assert_eq!(server.count().status, 200, "{}", server.log());
}

#[test]
fn home_is_private_and_children_have_no_secrets() {
    let server = Server::builder()
        .models(&places::models())
        .env("MLXD_API_KEYS", "sk-of-the-server")
        .env("OPENAI_API_KEY", "sk-of-another-program")
        .start();
    server.mlxd(&["load", SHALLOW]);
    server.mlxd(&["set", SHALLOW, "pin=true"]);
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(server.home()), 0o700);
    for name in ["mlxd.db", "settings.toml", "config.toml"] {
        assert_eq!(mode(&server.home().join(name)), 0o600, "{name}");
    }
    for child in [server.gateways(), server.workers()].concat() {
        let environment = std::fs::read(format!("/proc/{}/environ", child.pid)).unwrap();
        let environment = String::from_utf8_lossy(&environment);
        assert!(!environment.contains("sk-of"), "{}: {environment}", child.command);
        assert!(!child.command.contains("sk-of"), "{}", child.command);
    }
}

/// SQLite's files beside the database hold the same answers.
#[test]
fn files_beside_the_database_are_private() {
    let server = Server::start();
    let body = json!({"model": SHALLOW, "input": "Hi", "max_output_tokens": 1});
    for name in ["mlxd.db-wal", "mlxd.db-shm"] {
        let path = server.home().join(name);
        process::wait_for(name, Duration::from_secs(20), || {
            assert_eq!(server.post("/v1/responses", &body).status, 200);
            path.exists()
        });
        let mode = std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{name}");
    }
}

#[test]
fn localhost_is_served_on_every_family_of_the_machine() {
    let has_ipv6 = std::net::TcpListener::bind("[::1]:0").is_ok();
    let server = Server::start();
    let port = server.address().rsplit(':').next().unwrap();
    for (host, is_there) in [("127.0.0.1", true), ("[::1]", has_ipv6)] {
        let answer = http::get(&format!("http://{host}:{port}/health"));
        assert_eq!(answer.is_ok_and(|answer| answer.status == 200), is_there, "{host}");
    }
}

#[test]
fn hangup_drains_like_sigterm() {
    // The tests themselves may run under `nohup`, and an ignored signal is inherited.
    let by_default = "exec env --default-signal=HUP \"$0\" \"$@\"";
    let server = Server::builder().models(&places::models()).prelude(by_default).start();
    let body = json!({"model": SHALLOW, "prompt": "Once upon a time", "max_tokens": 20, "stream": true, "temperature": 0});
    let mut stream = server.stream("/v1/completions", &body);
    assert!(stream.next().is_some());
    std::thread::scope(|scope| {
        let rest = scope.spawn(|| stream.collect::<Vec<String>>());
        assert!(server.stop(Signal::SIGHUP).success());
        assert_eq!(rest.join().unwrap().last().map(String::as_str), Some("[DONE]"));
    });
    let server = Server::builder().models(&places::models()).prelude("trap '' HUP").start();
    process::signal(server.pid() as i32, Signal::SIGHUP);
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(server.get("/health").status, 200, "nohup keeps it running");
}

#[test]
fn odd_names_links_and_files_are_listed_as_they_are_served() {
    let (folder, second) = (with_good_model(), tempfile::tempdir().unwrap());
    derived::link(folder.path(), "-dash");
    derived::link(folder.path(), "two\nlines");
    derived::link(second.path(), "ok");
    symlink(".", folder.path().join("loop")).unwrap();
    replace(folder.path(), "broken", "config.json", |path| std::fs::write(path, "{").unwrap());
    let server = Server::builder().models(folder.path()).models(second.path()).start();
    let answer = count_with(&server, "-dash");
    assert_eq!(answer.status, 200, "{}", answer.body);
    let answer = count_with(&server, "two\nlines");
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert!(!server.log().lines().any(|line| line.starts_with("lines")), "{}", server.log());
    let list = server.get("/v1/models").body;
    let ids: Vec<&str> = list["data"].as_array().unwrap().iter().map(|m| m["id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), 4, "{ids:?}");
    let broken = listed(&server, "broken");
    assert_eq!(broken["details"]["supported"], false, "{broken}");
    assert!(broken["details"]["problem"].as_str().unwrap().contains("config.json"), "{broken}");
    let hidden = format!("{} is not", second.path().join("ok").display());
    assert!(server.mlxd(&["ps"]).contains(&hidden));
    assert!(server.log().contains(&hidden), "{}", server.log());
    let (done, text) = server.command(&["set", "ok", "aliases=broken"]);
    assert!(!done && text.contains("\"broken\" is already a name of the model \"broken\""), "{text}");
    // A setting that a running model cannot take over says so.
    let mut set = Command::new(places::binary("mlxd"));
    set.args(["set", "--home"]).arg(server.home()).args(["--", "-dash", "context=1024", "pin=true"]);
    let note = String::from_utf8(set.output().unwrap().stderr).unwrap();
    assert!(note.contains("(mlxd restart -dash): context\n"), "{note}");
    let url = server.url("/admin/v1/models/-dash/settings");
    let answer =
        ureq::put(&url).header("content-type", "application/json").send("{\"max_batch\": 4}").unwrap();
    let answer: Value = serde_json::from_str(&answer.into_body().read_to_string().unwrap()).unwrap();
    assert_eq!(answer["restart_needed"], json!(["context", "max_batch"]), "{answer}");
}

#[test]
fn wrong_settings_end_the_start_with_the_reason() {
    for (config, arguments, reason) in [
        ("[models.m]\ntool_format = \"foo\"", &[][..], "tool_format must be one of hermes, "),
        (
            "[models.a]\naliases = [\"x\"]\n[models.b]\naliases = [\"x\"]",
            &[],
            "\"x\" is already a name of \"a\"",
        ),
        ("", &["--host", ""], "--host: it is empty"),
    ] {
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join("config.toml"), config).unwrap();
        let mut mlxd = Command::new(places::binary("mlxd"));
        mlxd.args(["serve", "--port", "0", "--home"]).arg(home.path()).args(arguments);
        let ended = e2e::bounded::run(&mut mlxd, home.path(), Duration::from_secs(10));
        assert_eq!(ended.status.and_then(|status| status.code()), Some(64), "{}", ended.err);
        assert!(ended.err.contains(reason), "{}", ended.err);
    }
}
