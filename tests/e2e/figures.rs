//! Figures of docs/src/performance.md that concern starts and recoveries: measured, printed (`--nocapture`) and held to loose
//! bounds, since other processes may use the machine.

use std::time::{Duration, Instant};

use e2e::places::SMOLLM2;
use e2e::{Server, figures, process};
use nix::sys::signal::Signal;
use serde_json::json;

/// Milliseconds that follow the last `name` in a log.
fn logged(log: &str, name: &str, scale: f64) -> f64 {
    let (_, rest) = log.rsplit_once(name).unwrap();
    let number: String = rest.chars().take_while(|c| c.is_ascii_digit() || *c == '.').collect();
    number.parse::<f64>().unwrap() * scale
}

#[test]
fn cold_start_and_recovery() {
    let server = Server::start();
    let body = json!({
        "model": SMOLLM2, "prompt": "Once upon a time", "max_tokens": 100, "stream": true, "temperature": 0
    });
    let begun = Instant::now();
    let mut stream = server.stream("/v1/completions", &body);
    assert!(stream.next().is_some());
    let cold = begun.elapsed();
    let cold_load = logged(&server.log(), "the model is ready seconds=", 1e3);
    assert_eq!(stream.last().as_deref(), Some("[DONE]"));
    println!("cold start to first token: {} ms, of which loading: {cold_load:.0} ms", cold.as_millis());
    figures::print("cold_start_ms", cold.as_secs_f64() * 1e3);
    figures::print("cold_load_ms", cold_load);

    let mut killed = Instant::now();
    let mut last = killed;
    let (mut longest, mut next) = (Duration::ZERO, killed);
    for (count, _) in server.stream("/v1/completions", &body).enumerate() {
        let now = Instant::now();
        // The event after the longest pause is the new worker's first.
        if count > 40 && now - last > longest {
            (longest, next) = (now - last, now);
        }
        last = now;
        if count == 40 {
            killed = now;
            process::signal(server.workers().remove(0).pid, Signal::SIGKILL);
        }
    }
    let whole = (next - killed).as_secs_f64() * 1e3;
    let log = server.log();
    let (load, accepted) = (logged(&log, "the model is ready seconds=", 1e3), logged(&log, "after_ms=", 1.0));
    println!(
        "kill -9 to the stream's next token: {whole:.0} ms = loading {load:.0} ms + prefill of prompt and text so far with the \
         first step {:.0} ms + the rest {:.0} ms (process start, connecting, tokenising)",
        whole - accepted,
        accepted - load
    );
    figures::print("recovery_ms", whole);
    figures::print("recovery_load_ms", load);
    figures::print("recovery_prefill_ms", whole - accepted);
    figures::print("recovery_rest_ms", accepted - load);
    assert!(log.contains("a request goes on"), "{log}");
    assert!(accepted - load < 2000.0 && cold < Duration::from_secs(30), "{whole} ms, {cold:?}");
}
