//! Prompts that would take the machine. Linux, because memory and processor time are read from /proc.

use std::time::{Duration, Instant};

use e2e::places::SMOLLM2;
use e2e::{Server, figures, http, process};
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
    let models = server.get("/admin/v1/models").body;
    let mut workers =
        models["models"].as_array().unwrap().iter().flat_map(|model| model["workers"].as_array().unwrap());
    let lease = workers.next().unwrap()["lease_bytes"].as_u64().unwrap() >> 20;
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
