//! Measures SmolLM2: its tokens against recorded ones, its rates, and the memory of its worker.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::output_of;
use super::private_server::{DoctorError, PrivateServer};

/// Greedy continuations of 32 tokens, made with mlx-lm on a CPU in float32 (`worker/tests/golden/real`).
const RECORDED: [(&str, &str); 2] = [
    ("2, 4, 6, 8,", " 10, 12, 14, 16, 18, 20, 22, 24,"),
    (
        "The quick brown fox jumps over the lazy dog. In 1969, Neil Armstrong became the first man to walk on the moon.",
        " In 2012, NASA's Curiosity rover landed on Mars. In 2014, NASA's Mars 2020 rover Curiosity",
    ),
];
const RECORDED_TOKENS: u32 = 32;
/// Tokens that the decode rate is measured on.
const DECODED: u32 = 128;
/// Times that the prefill prompt repeats its sentence: about 1,100 tokens.
const SENTENCES: usize = 100;

/// The measurements of one model.
pub(super) struct Measurement {
    /// Recorded and given continuation of each prompt.
    pub(super) texts: Vec<(&'static str, String)>,
    pub(super) prefill_per_second: f64,
    pub(super) decode_per_second: f64,
    /// The server's view of its memory: `/admin/v1/pool`.
    pub(super) pool: Value,
    /// The worker's memory, by the system's programs.
    pub(super) worker: Vec<(&'static str, String)>,
}

/// Serves the model in `folder` and measures it.
pub(super) fn measure(folder: &Path) -> Result<Measurement, DoctorError> {
    let wrong = || DoctorError::Model(folder.to_owned());
    let folder = folder.canonicalize().map_err(|_| wrong())?;
    let name = folder.file_name().and_then(|name| name.to_str()).ok_or_else(wrong)?.to_owned();
    let server = PrivateServer::start(folder.parent().ok_or_else(wrong)?)?;
    let texts = RECORDED.iter().map(|(prompt, recorded)| {
        let (answer, _) = complete(&server, &name, prompt, RECORDED_TOKENS)?;
        Ok((*recorded, answer["choices"][0]["text"].as_str().unwrap_or_default().to_owned()))
    });
    let texts = texts.collect::<Result<Vec<_>, DoctorError>>()?;
    let (prefill_per_second, decode_per_second) = rates(&server, &name)?;
    let worker = worker_memory(&server, &name)?;
    Ok(Measurement {
        texts,
        prefill_per_second,
        decode_per_second,
        pool: server.get("/admin/v1/pool")?,
        worker,
    })
}

/// Tokens per second of a long prompt, and of an answer to it.
fn rates(server: &PrivateServer, name: &str) -> Result<(f64, f64), DoctorError> {
    let prompt = "Rivers carry water from the mountains to the sea. ".repeat(SENTENCES);
    let (first, prefill) = complete(server, name, &prompt, 1)?;
    let tokens = first["usage"]["prompt_tokens"].as_f64().unwrap_or_default();
    // The prompt is cached by now, so the difference is the time of the other tokens.
    let (_, short) = complete(server, name, &prompt, 1)?;
    let (_, long) = complete(server, name, &prompt, 1 + DECODED)?;
    let decode = long.saturating_sub(short).as_secs_f64();
    Ok((tokens / prefill.as_secs_f64(), f64::from(DECODED) / decode.max(1e-9)))
}

fn complete(
    server: &PrivateServer,
    name: &str,
    prompt: &str,
    tokens: u32,
) -> Result<(Value, Duration), DoctorError> {
    let body = json!({ "model": name, "prompt": prompt, "max_tokens": tokens, "min_tokens": tokens, "temperature": 0 });
    let start = Instant::now();
    let answer = server.post("/v1/completions", &body)?;
    Ok((answer, start.elapsed()))
}

/// The worker's footprint as mlxd and as the system's programs measure it. Activity Monitor shows the figure of footprint(1).
fn worker_memory(server: &PrivateServer, name: &str) -> Result<Vec<(&'static str, String)>, DoctorError> {
    let model = server.get(&format!("/admin/v1/models/{name}"))?;
    let worker = &model["workers"][0];
    let pid = worker["pid"].to_string();
    let mut facts = vec![("mlxd: footprint in bytes", worker["footprint_bytes"].to_string())];
    let programs: [(&str, &str, &[&str]); 2] = [
        ("ps: resident size in KiB", "ps", &["-o", "rss=", "-p", &pid]),
        ("footprint(1)", "/usr/bin/footprint", &[&pid]),
    ];
    let said = |(fact, program, arguments): (&'static str, &str, &[&str])| {
        Some((fact, output_of(program, arguments)?))
    };
    facts.extend(programs.into_iter().filter_map(said));
    Ok(facts)
}
