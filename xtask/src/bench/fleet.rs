//! How quickly models load, unload and recover, and how much memory they free.
//!
//! Tests measure these figures, compare them with bounds, and print each as `figure NAME VALUE`. This benchmark runs each test
//! alone several times and writes a table of the medians.

use std::collections::BTreeMap;
use std::fmt::Write;

use anyhow::{Context, ensure};

use super::{client, machine};
use crate::{demo, models, paths, setup};

/// Options of `cargo xtask bench fleet`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Rounds; the table has their medians.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Skip setup and build; measure the existing programs.
    #[arg(long)]
    as_is: bool,
}

/// Tests of a package's test program.
struct Tests {
    package: &'static str,
    program: &'static str,
    names: &'static [&'static str],
}

const TESTS: [Tests; 2] = [
    Tests {
        package: "gateway",
        program: "http",
        names: &["requests::running_model_is_found_within_microseconds"],
    },
    Tests {
        package: "e2e",
        program: "e2e",
        names: &[
            "figures::cold_start_and_recovery",
            "fleet::three_models_share_a_budget_for_two",
            "fleet::unloading_frees_the_memory",
        ],
    },
];

/// The text before a figure (`tests/harness/figures.rs`).
const MARK: &str = "figure ";

/// A line of the table: a figure's name, description, unit, digits and target.
type Line = (&'static str, &'static str, &'static str, usize, &'static str);

const TABLE: [Line; 13] = [
    (
        "cold_start_ms",
        "cold start: from a request for a model that is not loaded to its first token",
        "ms",
        0,
        "",
    ),
    ("cold_load_ms", "of that, loading", "ms", 0, ""),
    ("recovery_ms", "kill -9 of a worker to the next token of the stream it had", "ms", 0, ""),
    ("recovery_load_ms", "of that, loading", "ms", 0, ""),
    (
        "recovery_prefill_ms",
        "of that, noticing, and the prompt and the text so far with the first step",
        "ms",
        0,
        "",
    ),
    ("recovery_rest_ms", "of that, the rest: process start, connecting, tokenising", "ms", 0, "≤ 200"),
    ("ensure_ready_us", "`ensure_ready` of a running model", "µs", 1, "≤ 50"),
    ("unload_ms", "unload, by the command line, until the memory is back", "ms", 0, ""),
    ("unload_share_percent", "share of the resident memory that comes back", "%", 2, "≥ 99"),
    ("loaded_mib", "resident memory of the loaded worker (513 MiB of weights)", "MiB", 0, ""),
    ("shared_budget_mib", "three models in turn: the budget, which holds two", "MiB", 0, ""),
    ("shared_resident_mib", "the most that was resident", "MiB", 0, "≤ the budget"),
    ("shared_starts", "starts for 13 requests", "", 0, ""),
];

type Figures = BTreeMap<String, Vec<f64>>;

/// Measures, and writes bench/results/fleet.md.
///
/// # Errors
/// When something cannot be set up or built, or a test fails.
pub(super) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    if !arguments.as_is {
        setup::run()?;
        demo::build()?;
        models::fetch("smollm2")?;
    }
    let mut figures = Figures::new();
    for round in 1..=arguments.rounds {
        eprintln!("measuring the fleet: round {round} of {}", arguments.rounds);
        for tests in &TESTS {
            parse_figures(&measure(tests)?, &mut figures);
        }
    }
    super::write("fleet.md", &report(&figures, arguments.rounds)?)
}

/// Runs tests and returns their output.
fn measure(tests: &Tests) -> anyhow::Result<String> {
    let mut cargo = paths::cargo();
    cargo.args(["test", "--release", "--package", tests.package]);
    cargo.args(["--test", tests.program, "--"]).args(tests.names);
    cargo.args(["--exact", "--nocapture", "--test-threads", "1"]);
    cargo.env("MLXD_TEST_MODELS", paths::models());
    cargo.env("MLXD_BIN_DIR", paths::root().join("target/release"));
    let output = cargo.output().context("cargo test")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{} failed:\n{text}\n{errors}", tests.names.join(", "));
    let missing = tests.names.iter().find(|name| !text.contains(&format!("test {name} ")));
    ensure!(missing.is_none(), "{} has no test {missing:?}", tests.package);
    Ok(text)
}

/// Adds the figures in a text to others.
fn parse_figures(text: &str, figures: &mut Figures) {
    for (_, rest) in text.lines().filter_map(|line| line.split_once(MARK)) {
        let mut words = rest.split_whitespace();
        if let (Some(name), Some(Ok(value))) = (words.next(), words.next().map(str::parse)) {
            figures.entry(name.to_owned()).or_default().push(value);
        }
    }
}

fn report(figures: &Figures, rounds: usize) -> anyhow::Result<String> {
    let mut text = format!(
        "# The fleet\n\n`cargo xtask bench fleet --rounds {rounds}`, {}, {}. SmolLM2-135M-Instruct, bf16 on disk and fp32 in \
         memory; the files are in the page cache.\n\n| | median | of {rounds} rounds | aim |\n|---|---|---|---|\n",
        machine::today(),
        machine::description(),
    );
    for (name, what, unit, digits, aim) in TABLE {
        let values = figures.get(name).with_context(|| format!("no test printed {name}"))?;
        let (least, most) =
            values.iter().fold((f64::INFINITY, 0.0), |(a, b): (f64, f64), v| (a.min(*v), b.max(*v)));
        let median = client::median(values.clone());
        writeln!(
            text,
            "| {what} | {median:.digits$} {unit} | {least:.digits$} to {most:.digits$} | {aim} |"
        )?;
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_found_wherever_they_stand_in_a_line() {
        let mut figures = Figures::new();
        parse_figures(
            "test a ... figure x_ms 1.500\nnoise\nfigure x_ms 2.500\nfigure y\nfigure z one",
            &mut figures,
        );
        assert_eq!(figures, Figures::from([("x_ms".to_owned(), vec![1.5, 2.5])]));
    }
}
