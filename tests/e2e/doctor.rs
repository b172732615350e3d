//! `mlxd doctor` with the real programs and models: its measurements, files, remains and exit status.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use e2e::places::{self, SMOLLM2, TOY_QWEN2};
use e2e::process;
use serde_json::Value;

/// Runs the command in `folder`, which is also the place of its temporary files.
fn doctor(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(places::binary("mlxd"));
    command.arg("doctor").args(arguments).current_dir(folder).env("TMPDIR", folder);
    // Settings of the user's own server, which must not apply to the one that is measured.
    command.env("MLXD_API_KEYS", "not-a-key").env("MLXD_PORT", "1").env("MLXD_MEMORY", "64MiB");
    command.output().unwrap()
}

fn model(name: &str) -> String {
    places::models().join(name).display().to_string()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The files that the command has left. MLX itself keeps compiled code in `mlx`.
fn left_in(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
    entries.map(|name| name.into_string().unwrap()).filter(|name| name != "mlx").collect()
}

/// The section of a report below its title.
fn section<'a>(report: &'a str, title: &str) -> &'a str {
    let start = format!("\n## {title}\n");
    let (_, rest) = report.split_once(&start).unwrap_or_else(|| panic!("no {title} in {report}"));
    rest.split("\n## ").next().unwrap()
}

/// The number after `name` in a line of a report.
fn number(section: &str, name: &str) -> f64 {
    let line = section.lines().find_map(|line| line.strip_prefix(name));
    let line = line.unwrap_or_else(|| panic!("no {name:?} in {section}"));
    line.split_whitespace().next().unwrap().parse().unwrap()
}

fn assert_machine(report: &str) {
    let system = section(report, "System");
    assert!(system.contains("- mlxd: ") && system.contains("- Kernel: "), "{system}");
    let mlx = section(report, "MLX");
    assert!(mlx.trim_start().starts_with("MLX 0."), "the version comes from MLX: {mlx}");
    let operations: Vec<&str> = mlx.lines().filter(|line| line.starts_with("| ")).skip(1).collect();
    assert!(operations.len() == 24, "{mlx}");
    assert!(operations.iter().all(|line| line.ends_with("| ok |")), "{mlx}");
}

fn assert_model(report: &str) {
    let model = section(report, "SmolLM2");
    assert_eq!(model.matches("- ok: ").count(), 2, "the tokens are the recorded ones: {model}");
    assert!(number(model, "- prefill: ") > 1.0 && number(model, "- decode: ") > 1.0, "{model}");
}

fn assert_memory(report: &str) {
    let worker = section(report, "Memory of its worker");
    let footprint = number(worker, "- mlxd: footprint in bytes: ");
    let resident = number(worker, "- ps: resident size in KiB: ") * 1024.0;
    // Weights in fp32 are 540 MB. The resident size also has pages of files.
    assert!(footprint > 4e8 && footprint < 4e9, "{worker}");
    assert!(resident > 4e8, "{worker}");
    let pool = section(report, "Memory pool").trim();
    let pool = pool.strip_prefix("```json").and_then(|json| json.strip_suffix("```")).unwrap();
    let pool: Value = serde_json::from_str(pool).unwrap();
    assert!(pool["budget_bytes"].as_u64().unwrap() > 64 << 20, "not the user's setting: {pool}");
    assert!(["normal", "warn", "critical"].contains(&pool["pressure"].as_str().unwrap()), "{pool}");
}

#[test]
fn report_of_a_healthy_machine_has_every_part_and_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let output = doctor(folder.path(), &["--report", "--model", &model(SMOLLM2)]);
    let said = text(&output.stdout);
    assert!(output.status.success(), "{said}{}", text(&output.stderr));
    assert!(said.contains("All 26 checks passed.") && said.contains("mlxd-report.md"), "{said}");
    let report = fs::read_to_string(folder.path().join("mlxd-report.md")).unwrap();
    assert_machine(&report);
    assert_model(&report);
    assert_memory(&report);
    assert!(section(&report, "Summary").contains("All 26 checks passed."), "{report}");
    assert_eq!(left_in(folder.path()), ["mlxd-report.md"], "its home is removed");
    let path = folder.path().display().to_string();
    let processes = process::processes();
    assert!(!processes.iter().any(|process| process.command.contains(&path)), "{processes:?}");
}

#[test]
fn wrong_tokens_are_a_failed_check_and_status_1() {
    let folder = tempfile::tempdir().unwrap();
    let output = doctor(folder.path(), &["--report", "toy.md", "--model", &model(TOY_QWEN2)]);
    let said = text(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{said}{}", text(&output.stderr));
    assert!(said.contains("2 of 26 checks failed:") && said.contains("instead of \" 10, 12, 14"), "{said}");
    let report = fs::read_to_string(folder.path().join("toy.md")).unwrap();
    assert_eq!(section(&report, "SmolLM2").matches("- FAILED: ").count(), 2, "{report}");
}

#[test]
fn without_options_the_machine_is_measured_and_printed() {
    let folder = tempfile::tempdir().unwrap();
    let output = doctor(folder.path(), &[]);
    let report = text(&output.stdout);
    assert!(output.status.success(), "{report}{}", text(&output.stderr));
    assert_machine(&report);
    assert!(section(&report, "Model and memory").contains("Not measured"), "{report}");
    assert!(report.contains("All 24 checks passed."), "{report}");
    assert!(left_in(folder.path()).is_empty(), "it writes no file");
}

#[test]
fn folder_that_is_no_model_is_an_error_that_names_it() {
    let folder = tempfile::tempdir().unwrap();
    let output = doctor(folder.path(), &["--model", "/no/such/model"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output.stderr).contains("/no/such/model is no folder of a model"),
        "{}",
        text(&output.stderr)
    );
}

/// The supervisor asks this on macOS, where the answer has Metal's working set.
#[test]
fn worker_says_which_device_it_has() {
    let output = Command::new(places::binary("mlxd-worker")).arg("device").output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let device: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(device["device_name"].is_string(), "{device}");
}
