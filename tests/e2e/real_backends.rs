//! Other servers for MLX as backends, the real ones: `cargo xtask backends` installs them and runs these tests.
#![expect(clippy::print_stderr, reason = "its figures are for people")]

use std::time::{Duration, Instant};

use e2e::places::{self, SMOLLM2};
use e2e::{Server, http, process};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

/// The model's name for clients.
fn name() -> String {
    format!("it/{SMOLLM2}")
}

fn ask(server: &Server, path: &str, stream: bool) -> String {
    let messages = json!([{"role": "user", "content": "Name three colours."}]);
    let body = match path {
        "/v1/responses" => {
            json!({"model": name(), "input": "Name three colours.", "max_output_tokens": 16, "stream": stream})
        }
        "/api/chat" => {
            json!({"model": name(), "messages": messages, "options": {"num_predict": 16}, "stream": stream})
        }
        _ => {
            json!({"model": name(), "messages": messages, "max_tokens": 16, "temperature": 0, "stream": stream})
        }
    };
    if !stream {
        let answer = server.post(path, &body);
        assert_eq!(answer.status, 200, "{path}: {}\n{}", answer.body, server.log());
        let places =
            ["/choices/0/message/content", "/content/0/text", "/output/0/content/0/text", "/message/content"];
        return places.iter().map(|place| answer.text(place)).collect();
    }
    if path == "/api/chat" {
        let pieces = http::lines(&server.url(path), &body);
        return pieces
            .map(|event| event["message"]["content"].as_str().unwrap_or_default().to_owned())
            .collect();
    }
    let events = server.stream(path, &body).filter(|data| data != "[DONE]");
    let piece = |data: String| {
        let event: Value = serde_json::from_str(&data).unwrap();
        assert!(event.get("error").is_none() && event["type"] != "error", "{path}: {event}");
        let places = ["/choices/0/delta/content", "/delta/text", "/delta"];
        let found = places.iter().find_map(|place| event.pointer(place)?.as_str());
        found.unwrap_or_default().to_owned()
    };
    events.map(piece).collect()
}

fn state(server: &Server) -> Value {
    server.get(&format!("/admin/v1/models/it%2F{SMOLLM2}")).body
}

/// The program's processes below the runner.
fn programs(server: &Server) -> Vec<i32> {
    let runners = server.runners();
    runners.iter().flat_map(|runner| process::children(runner.pid as u32, "")).map(|one| one.pid).collect()
}

/// Uses a program from `.mlx/backends` by way of its preset.
fn try_preset(preset: &str, program: &str) {
    let (program, model) =
        (places::backends().join(preset).join("bin").join(program), places::models().join(SMOLLM2));
    let config = format!(
        "[backends.it]\npreset = \"{preset}\"\nprogram = {program:?}\nmodel = {model:?}\nmemory = \"1GiB\"\nidle_seconds = 2\n"
    );
    let server = Server::builder().models(&places::models()).config(&config).start();
    let start = Instant::now();
    let whole = ask(&server, "/v1/chat/completions", false);
    eprintln!("{preset}: the first answer after {:.1} s: {whole:?}", start.elapsed().as_secs_f64());
    for path in ["/v1/chat/completions", "/v1/messages", "/v1/responses", "/api/chat"] {
        for stream in [false, true] {
            let text = ask(&server, path, stream);
            eprintln!("{preset}: {path} stream {stream}: {text:?}");
            assert!(text.len() > 10, "{path}: {text:?}");
        }
    }
    let worker = state(&server)["workers"][0].clone();
    eprintln!(
        "{preset}: {} MiB of a lease of {} MiB",
        worker["footprint_bytes"].as_u64().unwrap() >> 20,
        worker["lease_bytes"].as_u64().unwrap() >> 20
    );
    assert!(worker["footprint_bytes"].as_u64().unwrap() > 100 << 20, "{worker}");
    process::wait_for("it is stopped when idle", Duration::from_secs(20), || {
        state(&server)["state"] == "stopped"
    });

    let body = json!({"model": name(), "messages": [{"role": "user", "content": "Tell a long story."}], "max_tokens": 800, "stream": true});
    let mut events = server.stream("/v1/messages", &body);
    let begins = events.by_ref().any(|data| data.contains("text_delta"));
    assert!(begins, "{}", server.log());
    let family = programs(&server);
    assert!(!family.is_empty());
    process::signal(family[0], Signal::SIGKILL);
    let rest: Vec<String> = events.collect();
    assert!(rest.last().unwrap().contains("\"error\""), "{:?}", rest.last());
    assert!(ask(&server, "/v1/chat/completions", true).len() > 10, "it starts again");
    let family = programs(&server);
    server.stop(Signal::SIGTERM);
    process::wait_for("nothing is left of it", Duration::from_secs(5), || {
        process::processes().iter().all(|process| !family.contains(&process.pid))
    });
}

#[test]
fn mlx_lm_is_a_backend() {
    try_preset("mlx-lm", "mlx_lm.server");
}

#[test]
fn vllm_mlx_is_a_backend() {
    try_preset("vllm-mlx", "vllm-mlx");
}

#[test]
fn mlx_openai_server_is_a_backend() {
    try_preset("mlx-openai-server", "mlx-openai-server");
}
