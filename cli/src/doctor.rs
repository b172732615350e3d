//! `mlxd doctor`: measures this machine and writes a report to attach to an issue.
//!
//! It serves a model of its own choice in a home of its own, so a running server is left alone.

use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

mod model;
mod private_server;
mod report;

pub(crate) use private_server::DoctorError;
use report::Report;

/// The file that `--report` writes without a name.
const REPORT: &str = "mlxd-report.md";
/// Says what is left out without a model.
const NO_MODEL: &str = "Not measured: no model was given. `cargo xtask demo --once` fetches one; then add \
                        `--model .mlx/models/SmolLM2-135M-Instruct`.";

/// Options of the command.
#[derive(Debug, clap::Args)]
pub(crate) struct Flags {
    /// Write the report to this file instead of standard output.
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = REPORT)]
    report: Option<PathBuf>,
    /// The folder of SmolLM2-135M-Instruct, to compare its tokens with the recorded ones and measure its rates.
    #[arg(long, value_name = "DIR")]
    model: Option<PathBuf>,
}

/// The outcome: a text for the user, and whether every check passed.
#[derive(Debug)]
pub(crate) struct Diagnosis {
    pub(crate) text: String,
    pub(crate) is_healthy: bool,
}

/// Runs every check.
///
/// # Errors
/// A program of mlxd is missing or does not start, or the report cannot be written. A failed check is no error.
pub(crate) fn run(flags: &Flags) -> Result<Diagnosis, DoctorError> {
    let mut report = Report::new();
    report.system(&system());
    report.operations(&operations()?);
    match &flags.model {
        Some(folder) => report.model(&model::measure(folder)?),
        None => report.section("Model and memory", NO_MODEL),
    }
    let is_healthy = report.is_healthy();
    let text = match &flags.report {
        None => report.text(),
        Some(file) => {
            let written = std::fs::write(file, report.text());
            written.map_err(|cause| DoctorError::Report { file: file.clone(), cause })?;
            format!(
                "{}\nThe report is in {}: read it, then attach it to an issue.\n",
                report.summary(),
                file.display()
            )
        }
    };
    Ok(Diagnosis { text, is_healthy })
}

/// MLX's version, the device and the outcome of the worker's checks.
fn operations() -> Result<Value, DoctorError> {
    let program = private_server::program("mlxd-worker")?;
    let output = Command::new(&program).arg("doctor").output();
    let output = output.map_err(|cause| DoctorError::Start { program: program.clone(), cause })?;
    serde_json::from_slice(&output.stdout)
        .map_err(|_| DoctorError::Worker(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
}

/// Facts from the system's own programs, a line each. A program that is not installed is left out.
fn system() -> Vec<(&'static str, String)> {
    let programs: [(&str, &str, &[&str]); 9] = [
        ("Kernel", "uname", &["-srm"]),
        ("macOS", "/usr/bin/sw_vers", &["-productVersion"]),
        ("Build", "/usr/bin/sw_vers", &["-buildVersion"]),
        ("Processor", "/usr/sbin/sysctl", &["-n", "machdep.cpu.brand_string"]),
        ("Model", "/usr/sbin/sysctl", &["-n", "hw.model"]),
        ("Memory in bytes", "/usr/sbin/sysctl", &["-n", "hw.memsize"]),
        ("Pressure level", "/usr/sbin/sysctl", &["-n", "kern.memorystatus_vm_pressure_level"]),
        ("Free memory in percent", "/usr/sbin/sysctl", &["-n", "kern.memorystatus_level"]),
        ("Wired limit in MiB", "/usr/sbin/sysctl", &["-n", "iogpu.wired_limit_mb"]),
    ];
    let mut facts = vec![("mlxd", env!("CARGO_PKG_VERSION").to_owned())];
    let said = |(name, program, arguments): (&'static str, &str, &[&str])| {
        Some((name, output_of(program, arguments)?))
    };
    facts.extend(programs.into_iter().filter_map(said));
    facts
}

/// A program's output; `None` if it cannot be run or says nothing.
fn output_of(program: &str, arguments: &[&str]) -> Option<String> {
    let output =
        Command::new(program).args(arguments).output().ok().filter(|output| output.status.success())?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    (!text.is_empty()).then_some(text)
}
