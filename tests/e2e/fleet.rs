//! Many models on one machine: budget, eviction, hangs, restarts, and the verbs of the command line.
//!
//! Tests that measure print their figures: `cargo test --release -p e2e fleet -- --nocapture`.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use e2e::places::{self, SHALLOW, SMOLLM2};
use e2e::{Server, figures, process};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

/// The model under several names.
fn copies(names: &[&str]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in names {
        std::os::unix::fs::symlink(places::models().join(SMOLLM2), folder.path().join(name)).unwrap();
    }
    folder
}

/// Small KV caches, so that a model takes 961 MiB: 513 of weights, 64 of cache, 384 besides.
fn small(names: &[&str]) -> String {
    names.iter().map(|name| format!("[models.{name}]\nkv_mib = 64\n")).collect()
}

fn count_with(server: &Server, model: &str) -> String {
    let body = json!({"model": model, "prompt": "2, 4, 6, 8,", "max_tokens": 12, "temperature": 0});
    let answer = server.post("/v1/completions", &body);
    assert_eq!(answer.status, 200, "{model}: {}\n{}", answer.body, server.log());
    answer.text("/choices/0/text").to_owned()
}

fn rss_mib(server: &Server) -> u64 {
    server.workers().iter().map(|worker| worker.rss_kib).sum::<u64>() >> 10
}

fn starts(server: &Server) -> usize {
    server.log().matches("a worker starts").count()
}

#[test]
fn three_models_share_a_budget_for_two() {
    const BUDGET: u64 = 2000;
    let names = ["a", "b", "c"];
    let folder = copies(&names);
    let server = Server::builder()
        .models(folder.path())
        .config(&small(&names))
        .arg("--memory")
        .arg(&format!("{BUDGET}MiB"))
        .start();
    let over = AtomicBool::new(false);
    let most = std::thread::scope(|scope| {
        let watch = scope.spawn(|| {
            let mut most = 0;
            while !over.load(Ordering::Relaxed) {
                most = most.max(rss_mib(&server));
                std::thread::sleep(Duration::from_millis(50));
            }
            most
        });
        let expected = count_with(&server, "a");
        for round in 0..4 {
            for name in names {
                assert_eq!(count_with(&server, name), expected, "{name} in round {round}");
                assert!(server.workers().len() <= 3, "two that serve, one that ends");
            }
        }
        over.store(true, Ordering::Relaxed);
        watch.join().unwrap()
    });
    println!(
        "three models, {BUDGET} MiB: {} starts for 13 requests, at most {most} MiB resident",
        starts(&server)
    );
    figures::print("shared_budget_mib", BUDGET as f64);
    figures::print("shared_resident_mib", most as f64);
    figures::print("shared_starts", starts(&server) as f64);
    assert!(most <= BUDGET, "{most} MiB");
    assert!(server.stop(Signal::SIGTERM).success());
}

#[test]
fn two_alternating_clients_do_not_reload_for_every_request() {
    let names = ["a", "b"];
    let folder = copies(&names);
    let server =
        Server::builder().models(folder.path()).config(&small(&names)).arg("--memory").arg("1000MiB").start();
    let start = Instant::now();
    let counts = [AtomicUsize::new(0), AtomicUsize::new(0)];
    let served = || counts.each_ref().map(|count| count.load(Ordering::Relaxed));
    std::thread::scope(|scope| {
        for (name, count) in names.into_iter().zip(&counts) {
            let (server, served) = (&server, &served);
            scope.spawn(move || {
                // Both go on until both are served: one client alone would not have to share.
                while start.elapsed() < Duration::from_secs(15) || served().iter().any(|count| *count < 5) {
                    count_with(server, name);
                    count.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    let (loads, took) = (starts(&server), start.elapsed());
    println!("two clients, room for one model, {took:.0?}: {:?} requests, {loads} loads", served());
    // A model that waits gets its turn after ten seconds, or when the other is idle for half a second.
    let most = 3 + took.as_secs() as usize / 8;
    assert!(loads <= most, "{loads} loads, at most {most} expected in {took:?}");
}

#[test]
fn unloading_frees_the_memory() {
    let server = Server::start();
    let family = || {
        let own = server.supervisor().rss_kib + server.gateways().iter().map(|g| g.rss_kib).sum::<u64>();
        own + server.workers().iter().map(|worker| worker.rss_kib).sum::<u64>()
    };
    // The gateway has answered once, so its memory for that is allocated.
    server.get("/v1/models");
    let before = family();
    assert_eq!(server.count().status, 200);
    let loaded = family();
    let start = Instant::now();
    server.mlxd(&["unload", SHALLOW]);
    let took = start.elapsed();
    let after = family();
    let share = (loaded - after) as f64 / (loaded - before) as f64 * 100.0;
    println!(
        "unload: {} MiB before, {} with a model, {} after: {share:.2} % came back in {took:?}",
        before >> 10,
        loaded >> 10,
        after >> 10
    );
    figures::print("unload_share_percent", share);
    figures::print("unload_ms", took.as_secs_f64() * 1e3);
    figures::print("loaded_mib", ((loaded - before) >> 10) as f64);
    assert!(server.workers().is_empty() && share >= 99.0, "{share} %");
}

#[test]
fn command_line_loads_lists_restarts_unloads_and_stops() {
    let server = Server::start();
    assert!(server.mlxd(&["ps"]).contains("no model is loaded"));
    assert!(server.mlxd(&["load", SHALLOW, "--keep-alive", "600"]).contains("is ready"));
    let first = server.workers().remove(0).pid;
    let listed = server.mlxd(&["ps"]);
    assert!(listed.contains(&first.to_string()) && listed.contains("ready"), "{listed}");
    // A stream that runs meanwhile goes on to its end.
    let body = json!({"model": SHALLOW, "prompt": "Once upon a time", "max_tokens": 120, "stream": true, "temperature": 0});
    let mut stream = server.stream("/v1/completions", &body);
    assert!(stream.next().is_some());
    server.mlxd(&["restart", SHALLOW]);
    let gateway = server.gateways().remove(0).pid;
    let rest: Vec<String> = stream.collect();
    assert_eq!(rest.last().map(String::as_str), Some("[DONE]"), "{rest:?}\n{}", server.log());
    process::wait_for("the old worker has gone", Duration::from_secs(10), || {
        let workers = server.workers();
        workers.len() == 1 && workers[0].pid != first
    });
    assert_eq!(server.count().status, 200);
    server.mlxd(&["restart", "--gateway"]);
    process::wait_for("the old gateway has gone", Duration::from_secs(10), || {
        let gateways = server.gateways();
        gateways.len() == 1 && gateways[0].pid != gateway
    });
    assert_eq!(server.count().status, 200);
    let (done, text) = server.command(&["unload", "unknown"]);
    assert!(!done && text.contains("unknown") && text.contains(SHALLOW), "{text}");
    server.mlxd(&["unload", SHALLOW, "--force"]);
    assert!(server.workers().is_empty());
    assert!(server.mlxd(&["ps", "--all"]).contains("stopped"));
    assert!(server.mlxd(&["set", SHALLOW, "context=2048", "aliases=short"]).contains("context = 2048"));
    assert!(server.mlxd(&["set", "short"]).contains("context = 2048"), "without changes they are shown");
    let (done, text) = server.command(&["set", SHALLOW, "contxt=9"]);
    assert!(!done && text.contains("contxt"), "{text}");
    let (done, text) = server.command(&["restart"]);
    assert!(!done && text.contains("MODEL|--gateway"), "{text}");
    assert!(server.mlxd(&["stop"]).contains("stopped"));
    let (done, text) = server.command(&["ps"]);
    assert!(!done && text.contains("no server runs"), "{text}");
    assert!(server.sockets().is_empty());
    let log = server.log();
    let end = log.rsplit("stopping (").next().unwrap();
    assert!(!end.contains(" WARN ") && !end.contains(" ERROR "), "{end}");
}

#[test]
fn stopped_worker_counts_as_hung_and_is_replaced() {
    let server = Server::builder().models(&places::models()).env("MLXD_HANG_SECONDS", "2").start();
    assert_eq!(server.count().status, 200);
    let stopped = server.workers().remove(0).pid;
    process::signal(stopped, Signal::SIGSTOP);
    let start = Instant::now();
    assert_eq!(server.count().status, 200, "{}", server.log());
    println!("a stopped worker, hang after 2 s: answered by another after {:?}", start.elapsed());
    let workers = server.workers();
    assert!(workers.len() == 1 && workers[0].pid != stopped, "{workers:?}");
    assert!(server.log().contains("a worker hangs"), "what its threads did is in the log");
}

#[test]
#[cfg(target_os = "linux")]
fn hung_engine_logs_its_stack_and_its_stream_continues() {
    let folder = tempfile::tempdir().unwrap();
    let hang = folder.path().join("hang");
    let server = Server::builder()
        .models(&places::models())
        .env("MLXD_HANG_SECONDS", "2")
        .env("MLXD_TEST_HANG", hang.to_str().unwrap())
        .start();
    let body = json!({"model": SHALLOW, "prompt": "Once upon a time", "max_tokens": 80, "stream": true, "temperature": 0});
    let undisturbed: Vec<String> = server.stream("/v1/completions", &body).collect();
    let mut stream = server.stream("/v1/completions", &body);
    let first: Vec<String> = stream.by_ref().take(20).collect();
    std::fs::write(&hang, "").unwrap();
    let start = Instant::now();
    let disturbed: Vec<String> = first.into_iter().chain(stream).collect();
    let texts = |events: &[String]| -> String {
        let events = events.iter().filter_map(|event| serde_json::from_str::<Value>(event).ok());
        events.map(|event| event["choices"][0]["text"].as_str().unwrap_or_default().to_owned()).collect()
    };
    assert_eq!(texts(&disturbed), texts(&undisturbed));
    assert_eq!(disturbed.last().map(String::as_str), Some("[DONE]"));
    println!(
        "an engine that hangs, hang after 2 s and a long step: its stream ended after {:?}",
        start.elapsed()
    );
    let log = server.log();
    let stack =
        log.lines().find(|line| line.contains("] thread engine (")).unwrap_or_else(|| panic!("{log}"));
    assert!(
        stack.contains("hanging::hang")
            && stack.contains("(engine.rs:")
            && !stack.contains("on_stack_request ("),
        "{stack}"
    );
    assert!(log.contains("] thread mlxd-worker ("), "the stacks of the other threads are there too: {log}");
    let model = server.get(&format!("/admin/v1/models/{SHALLOW}")).body;
    assert_eq!(model["last_exit"]["signal"], 6, "it ended by SIGABRT: {model}");
}

#[test]
fn idle_models_are_unloaded_and_pressure_unloads_pinned_ones() {
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("pressure");
    let server = Server::builder()
        .models(&places::models())
        .env("MLXD_IDLE_SECONDS", "2")
        .env("MLXD_TEST_PRESSURE", script.to_str().unwrap())
        .start();
    let gone = |why: &str| {
        process::wait_for(why, Duration::from_secs(15), || server.workers().is_empty());
    };
    assert_eq!(server.count().status, 200);
    gone("an idle model is unloaded");
    server.mlxd(&["load", SHALLOW, "--keep-alive", "-1"]);
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(server.workers().len(), 1, "it is kept for ever");
    std::fs::write(&script, "critical").unwrap();
    gone("under pressure it is not");
    let loading = std::thread::scope(|scope| {
        let loading = scope.spawn(|| server.count().status);
        std::thread::sleep(Duration::from_secs(2));
        let waits = server.workers().is_empty() && server.mlxd(&["ps"]).contains("queued");
        std::fs::write(&script, "normal").unwrap();
        assert!(waits, "a load waits for the pressure to end\n{}", server.log());
        loading.join().unwrap()
    });
    assert_eq!(loading, 200);
}

#[test]
fn replicas_aliases_and_preloading_come_from_the_configuration() {
    let folder = copies(&["twins"]);
    let config = "[models.twins]\nreplicas = 2\npreload = true\nkv_mib = 64\naliases = [\"pair\"]\nidle_seconds = 600\n";
    let server = Server::builder().models(folder.path()).config(config).start();
    process::wait_for("two workers serve unasked", Duration::from_secs(30), || {
        server.mlxd(&["ps"]).matches(" ready ").count() == 2
    });
    assert!(server.workers().iter().all(|worker| worker.command.contains("--kv-mib 64")));
    assert_eq!(count_with(&server, "pair"), count_with(&server, "twins"));
    let killed = server.workers().remove(0).pid;
    process::signal(killed, Signal::SIGKILL);
    process::wait_for("the lost one is replaced", Duration::from_secs(30), || {
        let workers = server.workers();
        workers.len() == 2 && workers.iter().all(|worker| worker.pid != killed)
    });
}

#[test]
fn model_over_the_budget_is_503_with_the_numbers() {
    let server = Server::builder().models(&places::models()).arg("--memory").arg("300MiB").start();
    let answer = server.count();
    let message = answer.expect_error(503);
    assert!(message.contains("MiB") && message.contains("budget of 300 MiB"), "{message}");
    assert!(server.workers().is_empty());
    let listed: Value = server.get("/v1/models").body;
    assert!(listed["data"].as_array().is_some_and(|models| !models.is_empty()));
    assert!(Path::new(server.home()).join("run").exists());
}
