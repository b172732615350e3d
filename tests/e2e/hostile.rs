//! Requests and models that would take the machine: huge prompts, grammars with many readings, models without numbers.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use e2e::places::SMOLLM2;
use e2e::{Server, derived, figures, process};
use serde_json::{Value, json};

/// Bytes of a huge prompt: the largest body that the gateway takes.
const HUGE: usize = 31 << 20;

fn chat(content: &str) -> Value {
    json!({"model": SMOLLM2, "messages": [{"role": "user", "content": content}], "max_tokens": 1})
}

/// A log file that an agent's tool pastes, four times at once.
#[test]
#[cfg(target_os = "linux")]
fn huge_prompts_take_neither_memory_nor_time() {
    let server = Server::start();
    assert_eq!(server.post("/v1/chat/completions", &chat("Hi")).status, 200);
    let pid = server.workers().remove(0).pid;
    let before = process::memory_mib(pid, "VmHWM");
    let huge = chat(&"hello ".repeat(HUGE / 6));
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
    let most = process::memory_mib(pid, "VmHWM") - before;
    println!("refused after {one:?}; another answer took {other:?} meanwhile; {most} MiB more at most");
    figures::print("huge_prompt_refused_ms", one.as_secs_f64() * 1e3);
    figures::print("huge_prompts_other_answer_ms", other.as_secs_f64() * 1e3);
    figures::print("huge_prompts_more_mib", most as f64);
    // Four bodies and their copies on the way in.
    assert!(most < 700, "{most} MiB more at most");
    assert!(one < Duration::from_secs(5) && other < Duration::from_secs(5), "{one:?} {other:?}");
}

/// A copy of a model folder with a changed configuration.
fn copy_with(folder: &Path, name: &str, changes: &Value) {
    let to = derived::link(folder, name);
    let path = to.join("config.json");
    let mut config: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    config.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    fs::remove_file(&path).unwrap();
    fs::write(&path, config.to_string()).unwrap();
}

/// The list and the request say the same.
#[test]
fn models_with_impossible_values_are_named_before_and_at_the_request() {
    let folder = tempfile::tempdir().unwrap();
    let cases = [
        ("theta", json!({"rope_theta": 0}), "rope_theta is 0: it must be above 0"),
        ("layers", json!({"num_hidden_layers": 1_000_000}), "num_hidden_layers is 1000000"),
        ("width", json!({"hidden_size": 1u64 << 40}), "hidden_size is 1099511627776"),
    ];
    for (name, changes, _) in &cases {
        copy_with(folder.path(), name, changes);
    }
    let server = Server::builder().models(folder.path()).start();
    for (name, _, expected) in cases {
        let entry = server.get(&format!("/v1/models/{name}")).body;
        assert_eq!(entry["details"]["supported"], false, "{entry}");
        assert!(entry.to_string().contains(expected), "{entry}");
        let mut request = chat("Hi");
        request["model"] = name.into();
        let answer = server.post("/v1/chat/completions", &request);
        assert!(answer.expect_error(500).contains(expected), "{:?}", answer.body);
    }
}
