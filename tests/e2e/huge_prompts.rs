//! Prompts that would take the machine. Linux, because memory and processor time are read from /proc.

use std::time::{Duration, Instant};

use e2e::places::SMOLLM2;
use e2e::{Server, figures, http, process};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

/// Bytes of a huge prompt: the largest body that the gateway takes.
const HUGE: usize = 31 << 20;

/// Memory that a worker may keep after a huge prompt: what its allocator holds between small blocks.
const RETAINED_MIB: u64 = 160;

fn chat(content: &str) -> Value {
    json!({"model": SMOLLM2, "messages": [{"role": "user", "content": content}], "max_tokens": 1})
}

fn system(content: &str) -> Value {
    let mut body = chat("Hi");
    body["messages"].as_array_mut().unwrap().insert(0, json!({"role": "system", "content": content}));
    body
}

/// The gateway knows that the last user turn cannot fit, whatever the template makes of it.
#[test]
fn huge_user_turn_is_refused_by_the_gateway_and_costs_the_worker_nothing() {
    let server = Server::start();
    assert_eq!(server.post("/v1/chat/completions", &chat("Hi")).status, 200);
    let worker = server.workers().remove(0).pid;
    let texts = [("plain", "hello ".repeat(HUGE / 6)), ("escapes", "say \"hi\"\n\t".repeat(HUGE / 16))];
    for (name, text) in texts {
        server.mlxd(&["restart", "--gateway"]);
        assert_eq!(server.post("/v1/chat/completions", &chat("Hi")).status, 200);
        process::wait_for("the old gateway ends", Duration::from_secs(20), || server.gateways().len() == 1);
        let gateway = server.gateways().remove(0).pid;
        let (memory, work) = (process::memory_mib(gateway, "VmHWM"), process::cpu_ms(worker));
        let body = chat(&text).to_string().into_bytes();
        let start = Instant::now();
        let refused = http::post_bytes(&server.url("/v1/chat/completions"), &body).unwrap();
        let took = start.elapsed();
        assert!(refused.expect_error(400).contains("prompt is too long: more than "), "{:?}", refused.body);
        assert_eq!(refused.text("/error/code"), "context_length_exceeded");
        let more = process::memory_mib(gateway, "VmHWM") - memory;
        let work = process::cpu_ms(worker) - work;
        println!(
            "{name}: {} MiB refused after {took:?}; {more} MiB more at most, worker {work} ms",
            body.len() >> 20
        );
        figures::print(&format!("huge_user_turn_{name}_ms"), took.as_secs_f64() * 1e3);
        figures::print(&format!("huge_user_turn_{name}_mib"), more as f64);
        assert!(more <= ((3 * body.len() as u64) >> 20) + 8, "{more} MiB more at most");
        // Signs of life cost a little.
        assert!(work < 50, "the worker computed for {work} ms");
        assert!(took < Duration::from_secs(2), "{took:?}");
    }
    for (path, body) in [
        ("/v1/completions", json!({"model": SMOLLM2, "prompt": "hello ".repeat(1 << 20)})),
        ("/v1/responses", json!({"model": SMOLLM2, "input": "hello ".repeat(1 << 20)})),
    ] {
        assert!(server.post(path, &body).expect_error(400).contains("prompt is too long"), "{path}");
    }
}

/// A log file in a turn that templates may shorten, four times at once: the worker renders and counts.
#[test]
fn huge_prompts_take_neither_memory_nor_time() {
    let server = Server::start();
    assert_eq!(server.post("/v1/chat/completions", &chat("Hi")).status, 200);
    let pid = server.workers().remove(0).pid;
    let before = process::memory_mib(pid, "VmHWM");
    let lease = server.listed_workers()[0]["lease_bytes"].as_u64().unwrap() >> 20;
    let huge = system(&"hello ".repeat(HUGE / 6));
    let start = Instant::now();
    let refused = server.post("/v1/chat/completions", &huge);
    let one = start.elapsed();
    assert!(refused.expect_error(400).contains("prompt is too long: more than "), "{:?}", refused.body);
    let other = std::thread::scope(|scope| {
        let all: Vec<_> =
            (0..4).map(|_| scope.spawn(|| server.post("/v1/chat/completions", &huge))).collect();
        let start = Instant::now();
        assert_eq!(server.post("/v1/chat/completions", &chat("Hi")).status, 200);
        let other = start.elapsed();
        for refused in all {
            refused.join().unwrap().expect_error(400);
        }
        other
    });
    let most = process::memory_mib(pid, "VmHWM");
    println!(
        "refused after {one:?}; another answer took {other:?} meanwhile; {before} MiB before, at most {most}, leased {lease}"
    );
    figures::print("huge_prompt_refused_ms", one.as_secs_f64() * 1e3);
    figures::print("huge_prompts_other_answer_ms", other.as_secs_f64() * 1e3);
    figures::print("huge_prompts_more_mib", (most - before) as f64);
    assert!(most <= lease + 256, "{most} MiB at most, {lease} leased");
    let is_given_back = || process::memory_mib(pid, "VmRSS") <= before + RETAINED_MIB;
    process::wait_for("the memory is given back", Duration::from_secs(10), is_given_back);
    assert!(one < Duration::from_secs(5) && other < Duration::from_secs(5), "{one:?} {other:?}");
}

/// Counting has no limit, so this many bytes keep a worker busy for seconds.
const LONG: usize = 24 << 20;
const COUNT: &str = "/v1/messages/count_tokens";

/// A loaded model's worker, and a request that it reads for seconds.
fn long_reading(server: &Server) -> (i32, Value) {
    assert_eq!(server.post(COUNT, &chat("Hi")).status, 200);
    (server.workers().remove(0).pid, chat(&"hello ".repeat(LONG / 6)))
}

/// Processor milliseconds that a worker takes until it rests.
fn work_until_rest(pid: i32) -> u64 {
    let mut now = process::cpu_ms(pid);
    process::wait_for("the worker rests", Duration::from_secs(60), || {
        std::thread::sleep(Duration::from_millis(300));
        let before = std::mem::replace(&mut now, process::cpu_ms(pid));
        now - before < 30
    });
    now
}

#[test]
fn tokenising_ends_when_its_client_has_gone() {
    let server = Server::start();
    let (pid, request) = long_reading(&server);
    let before = process::cpu_ms(pid);
    assert_eq!(server.post(COUNT, &request).status, 200);
    let whole = work_until_rest(pid) - before;
    let before = process::cpu_ms(pid);
    let limit = Duration::from_millis(1_000);
    http::post_within(&server.url(COUNT), &request, limit).expect_err("the client leaves");
    let part = work_until_rest(pid) - before;
    println!("{whole} ms of processor time to its end, {part} ms for a client that left after {limit:?}");
    assert!(part < whole / 2, "{part} ms of {whole}");
    assert_eq!(server.post(COUNT, &chat("Hi")).status, 200);
}

/// As if the request had killed each of them. A third worker does not get it, and the model is not to blame.
#[test]
fn request_whose_reading_two_workers_did_not_survive_fails_and_the_model_serves_on() {
    let server = Server::start();
    let (_, request) = long_reading(&server);
    for round in 1..=3 {
        let failed = std::thread::scope(|scope| {
            let asked = scope.spawn(|| server.post(COUNT, &request));
            for _ in 0..2 {
                let pid = reading_worker(&server);
                process::signal(pid, Signal::SIGKILL);
                let has_ended = || server.workers().iter().all(|worker| worker.pid != pid);
                process::wait_for("it has ended", Duration::from_secs(10), has_ended);
            }
            asked.join().unwrap()
        });
        let message = failed.expect_error(500);
        assert!(message.contains("2 worker processes ended one after another"), "{message}");
        let begun = Instant::now();
        assert_eq!(server.post(COUNT, &chat("Hi")).status, 200, "round {round}: the breaker is closed");
        println!("round {round}: the next answer after {:?}", begun.elapsed());
    }
}

/// Waits until a ready worker computes, and returns its process.
fn reading_worker(server: &Server) -> i32 {
    let mut reading = None;
    process::wait_for("a worker reads", Duration::from_secs(60), || {
        let workers = server.listed_workers();
        let ready = workers.iter().find(|worker| worker["state"] == "ready");
        let Some(pid) = ready.and_then(|worker| worker["pid"].as_i64()) else { return false };
        let before = process::cpu_ms(pid as i32);
        std::thread::sleep(Duration::from_millis(300));
        reading = (process::cpu_ms(pid as i32).saturating_sub(before) > 60).then_some(pid as i32);
        reading.is_some()
    });
    reading.unwrap()
}
