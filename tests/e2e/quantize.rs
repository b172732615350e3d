//! `mlxd quantize` with the real programs: the command, its worker, and what is left of a conversion that is stopped.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use e2e::places::{self, SMOLLM2};
use e2e::process;
use nix::sys::signal::Signal;
use serde_json::Value;

fn quantize(home: &Path, model: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(places::binary("mlxd"));
    command.args(["quantize", model]).args(arguments).arg("--home").arg(home);
    command.env("MLXD_MODELS", places::models()).env_remove("MLXD_API_KEYS");
    command
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().file_name());
    entries.map(|name| name.into_string().unwrap()).collect()
}

#[test]
fn model_is_converted_into_the_homes_folder_and_listed() {
    let home = tempfile::tempdir().unwrap();
    let golden = places::repository().join("worker/tests/golden/llama-fp32").display().to_string();
    let output = quantize(home.path(), &golden, &["--group-size", "32", "--json"]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    let events: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let last = events.last().unwrap();
    let folder = home.path().join("models/llama-fp32-4bit");
    assert_eq!((last["event"].as_str(), last["folder"].as_str()), (Some("done"), folder.to_str()), "{text}");
    for (options, expected) in [
        (&["--group-size", "32"][..], "exists: --force replaces it"),
        (&["--bits", "7", "--force"], "7 bits in groups of 64 is nothing that the mode affine has"),
    ] {
        let output = quantize(home.path(), &golden, options).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && text.contains(expected), "{text}");
    }
    assert_eq!(names(&home.path().join("models")), ["llama-fp32-4bit"]);
}

#[test]
fn stopped_conversion_leaves_nothing() {
    let home = tempfile::tempdir().unwrap();
    let mut command = quantize(home.path(), SMOLLM2, &["--json"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    assert!(lines.any(|line| line.contains("progress")), "a part is written");
    process::signal(child.id() as i32, Signal::SIGINT);
    let last = lines.last().unwrap_or_default();
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && text.contains("stopped; nothing is left of it"), "{last}\n{text}");
    assert_eq!(names(&home.path().join("models")), [] as [String; 0]);
}
