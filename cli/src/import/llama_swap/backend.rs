//! A program of llama-swap that serves no MLX model becomes a backend of mlxd. Pure.

use std::path::PathBuf;

use serde_json::Value;

use super::super::plan::{Backend, number, text, texts};
use super::command::{Command, Source};

/// llama-swap's word for the port that it chooses, and mlxd's.
const THEIR_PORT: &str = "${PORT}";
const PORT: &str = "{port}";
/// Programs that start others out of reach: what they start would outlive them.
const CONTAINERS: [&str; 4] = ["docker", "podman", "nerdctl", "systemctl"];
/// Ends of names of variables that hold secrets.
const SECRETS: [&str; 4] = ["KEY", "TOKEN", "SECRET", "PASSWORD"];
/// The word that stands for no health check.
const NO_CHECK: &str = "none";

/// The backend for a model of this name, and what is left out of it. `line` is its command with all macros replaced.
///
/// # Errors
/// Why it cannot be one.
pub(super) fn backend(
    name: &str,
    model: &Value,
    (line, command): (&str, &Command),
) -> Result<(Backend, Vec<String>), String> {
    let program = command.program.rsplit('/').next().unwrap_or_default();
    if CONTAINERS.contains(&program) {
        return Err(format!("{program} starts it out of reach of a process that could watch it"));
    }
    let mut left = Vec::new();
    let mut words = without_api_key(words(line).ok_or("its cmd cannot be read as a command line")?);
    put_port(&mut words)?;
    let variables = variables(model, &mut left);
    if !variables.is_empty() {
        words.splice(0..0, std::iter::once("env".to_owned()).chain(variables));
    }
    let health = match text(model, "checkEndpoint") {
        Some(NO_CHECK) => Some("/v1/models".to_owned()),
        path => path.filter(|path| path.starts_with('/')).map(str::to_owned),
    };
    let weights = match &command.source {
        Source::Other(path) if path.starts_with('/') => Some(PathBuf::from(path)),
        _ => None,
    };
    if model.get("concurrencyLimit").is_some() {
        left.push("concurrencyLimit".into());
    }
    let backend = Backend {
        command: words,
        model: text(model, "useModelName").unwrap_or(name).to_owned(),
        alias: name.to_owned(),
        weights,
        context: command.context,
        idle_seconds: number(model, "ttl"),
        health,
        ..Backend::default()
    };
    Ok((backend, left))
}

/// The words of a command line without its comments.
fn words(line: &str) -> Option<Vec<String>> {
    let lines = line.lines().filter(|line| !line.trim_start().starts_with('#'));
    let lines: Vec<&str> = lines.map(|line| line.trim_end().trim_end_matches('\\')).collect();
    shlex::split(&lines.join(" "))
}

/// The port becomes mlxd's word for it, whether llama-swap chooses it or a flag does.
fn put_port(words: &mut [String]) -> Result<(), String> {
    for word in words.iter_mut() {
        *word = word.replace(THEIR_PORT, PORT);
    }
    if words.iter().any(|word| word.contains(PORT)) {
        return Ok(());
    }
    let flag = words.iter().position(|word| word == "--port");
    match flag.and_then(|at| words.get_mut(at + 1)) {
        Some(port) => *port = PORT.into(),
        None => return Err("its command has no ${PORT} on which mlxd could have it listen".into()),
    }
    Ok(())
}

/// The program listens on this machine only and is asked by mlxd alone: it needs no key, and none is written.
fn without_api_key(words: Vec<String>) -> Vec<String> {
    let mut kept = Vec::with_capacity(words.len());
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "--api-key" | "--api-key-file" => drop(words.next()),
            flag if flag.starts_with("--api-key") => {}
            _ => kept.push(word),
        }
    }
    kept
}

/// The variables of its environment. Values of secrets are left out.
fn variables(model: &Value, left: &mut Vec<String>) -> Vec<String> {
    let mut kept = Vec::new();
    for variable in texts(model, "env") {
        let name = variable.split('=').next().unwrap_or_default();
        if SECRETS.iter().any(|end| name.to_uppercase().ends_with(end)) {
            left.push(format!("env {name}"));
        } else {
            kept.push(variable.to_owned());
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn made(model: &Value) -> Result<(Backend, Vec<String>), String> {
        let line = model["cmd"].as_str().unwrap();
        backend("small", model, (line, &Command::parse(line).unwrap()))
    }

    #[test]
    fn command_keeps_its_arguments_and_loses_its_key() {
        let model = json!({
            "cmd": "# newest\n/opt/llama-server --port ${PORT} \\\n -m /gguf/m.gguf -c 8192 --api-key sk-x --api-key=sk-y --jinja",
            "env": ["CUDA_VISIBLE_DEVICES=0", "HF_TOKEN=hf-hidden"],
            "ttl": 60,
            "checkEndpoint": "/ready",
            "concurrencyLimit": 2,
        });
        let (backend, left) = made(&model).unwrap();
        let words =
            "env CUDA_VISIBLE_DEVICES=0 /opt/llama-server --port {port} -m /gguf/m.gguf -c 8192 --jinja";
        assert_eq!(backend.command.join(" "), words);
        assert_eq!(
            (backend.model.as_str(), backend.context, backend.idle_seconds),
            ("small", Some(8192), Some(60))
        );
        assert_eq!(backend.weights, Some(PathBuf::from("/gguf/m.gguf")));
        assert_eq!(backend.health.as_deref(), Some("/ready"));
        assert_eq!(left, ["env HF_TOKEN", "concurrencyLimit"]);
    }

    #[test]
    fn port_of_a_flag_is_replaced_and_a_command_without_one_refused() {
        let (fixed, _) = made(&json!({"cmd": "server --port 9001", "useModelName": "org/m"})).unwrap();
        assert_eq!(
            (fixed.command.join(" ").as_str(), fixed.model.as_str()),
            ("server --port {port}", "org/m")
        );
        let (unchecked, _) = made(&json!({"cmd": "server :${PORT}", "checkEndpoint": "none"})).unwrap();
        assert_eq!(unchecked.health.as_deref(), Some("/v1/models"));
        assert!(made(&json!({"cmd": "server"})).unwrap_err().contains("no ${PORT}"));
        assert!(made(&json!({"cmd": "docker run -p ${PORT}:80 x"})).unwrap_err().contains("docker"));
    }
}
