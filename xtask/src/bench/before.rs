//! This build beside an earlier one: whether a change made anything slower or larger.
//!
//! Each round measures the earlier build, this one, and both again. How far a build differs from itself is the noise of the machine.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::client::{self, Prompt};
use super::overhead;
use super::servers::Server;
use super::{OURS_PORT, PREFIX_WORDS, machine};
use crate::{demo, models, paths, setup};

/// Options of `cargo xtask bench before`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The folder with the programs of the earlier build, made with the feature `test-doubles` where it exists.
    earlier: PathBuf,
    /// Rounds; the table has their medians.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Skip setup and build; measure the existing programs.
    #[arg(long)]
    as_is: bool,
    /// Measure the gateway only, without a model that computes. A round takes a minute less.
    #[arg(long)]
    gateway: bool,
}

/// A figure's name and unit.
type Figure = (String, &'static str);

const TOKENS: u32 = 64;
/// Words of a prompt of about 128 tokens.
const WORDS: usize = 110;
const STREAMS: [usize; 3] = [1, 4, 8];
/// Tokens of the stream that loses its worker.
const RECOVERED_TOKENS: u32 = 120;
/// A model whose steps take a few milliseconds, the folder of the key `qwen2`.
const SMALL_MODEL: &str = "toy-qwen2";
const UNTIL_KILLED: Duration = Duration::from_secs(1);

/// Measures, and writes bench/results/before.md.
///
/// # Errors
/// When a server cannot be started or a request fails.
pub(super) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    if !arguments.as_is {
        setup::run()?;
        demo::build_with_doubles()?;
    }
    let fp32 = paths::mlx().join("models-fp32");
    models::fetch_as("smollm2", "F32", &fp32)?;
    models::fetch("qwen2")?;
    let ours = paths::program("");
    let turns = [&arguments.earlier, &ours, &arguments.earlier, &ours];
    let mut values = [const { Vec::new() }; 4];
    let mut names = Vec::new();
    for round in 0..arguments.rounds {
        for (turn, programs) in turns.into_iter().enumerate() {
            eprintln!("  round {}, {}", round + 1, programs.display());
            let measured = measure(arguments, programs, &fp32, round * turns.len() + turn)?;
            names = measured.iter().map(|(name, _)| name.clone()).collect();
            values[turn].push(measured.into_iter().map(|(_, value)| value).collect());
        }
    }
    super::write("before.md", &text(&names, &values.map(|rounds| medians(&rounds)), arguments.rounds))
}

/// All figures of one build. No prompt is that of another `turn`.
fn measure(
    arguments: &Arguments,
    programs: &Path,
    models: &Path,
    turn: usize,
) -> anyhow::Result<Vec<(Figure, f64)>> {
    let mut figures = around_the_model(programs)?;
    if arguments.gateway {
        return Ok(figures);
    }
    let server = Server::built_in(programs, OURS_PORT, models, false)?;
    let first = turn * 1000;
    let cold = client::send_all(&server, &[Prompt::new(first, 10)], 4)?;
    figures.push((("cold start to the first token".into(), "ms"), cold.ttft_ms));
    for streams in STREAMS {
        let prompts: Vec<Prompt> =
            (0..streams).map(|at| Prompt::new(first + streams * 10 + at, WORDS)).collect();
        let measured = client::send_all(&server, &prompts, TOKENS)?;
        figures.push(((format!("{streams} streams: time for a token"), "ms"), 1e3 / measured.decode));
        figures.push(((format!("{streams} streams: first token, median"), "ms"), measured.ttft_ms));
        figures.push(((format!("{streams} streams: between texts, p95"), "ms"), measured.itl_p95_ms));
    }
    let shared = |own| client::send_all(&server, &[Prompt::sharing(first, PREFIX_WORDS, own)], 8);
    shared(0)?;
    figures.push((("first token after 1,000 cached".into(), "ms"), shared(1)?.ttft_ms));
    figures.push((("a lost worker's stream goes on".into(), "ms"), recovery(&server, first)?));
    Ok(figures)
}

/// The figures of `cargo xtask bench overhead`, and the gateway's processor time beside a small model.
fn around_the_model(programs: &Path) -> anyhow::Result<Vec<(Figure, f64)>> {
    let server = Server::built_in(programs, OURS_PORT, &paths::models(), true)?;
    let measured = overhead::measure(&server)?;
    let mut figures = Vec::new();
    for one in measured.protocols {
        let figure = |text: &str, unit| (format!("{}: {text}", one.path), unit);
        figures.push((figure("first token, p50", "ms"), one.ttft_p50_ms));
        figures.push((figure("first token, p99", "ms"), one.ttft_p99_ms));
        figures.push((figure("processor time for a token", "µs"), one.token_us));
    }
    figures.push((("gateway with 1,000 waiting streams".into(), "MiB"), measured.idle_mib));
    drop(server);
    let mut server = Server::built_in(programs, OURS_PORT, &paths::models(), false)?;
    SMALL_MODEL.clone_into(&mut server.model);
    for path in overhead::PATHS {
        let name = format!("{path}: processor time for a piece of text at a model's pace");
        figures.push(((name, "µs"), overhead::paced_us(&server, path)?));
    }
    Ok(figures)
}

/// Kills the worker of a running stream. Returns the longest pause between two texts, in milliseconds.
fn recovery(server: &Server, seed: usize) -> anyhow::Result<f64> {
    let worker = Pid::from_raw(server.child("mlxd-worker")?.pid);
    let prompts = [Prompt::new(seed + 999, WORDS)];
    let (streams, ()) = client::disturb(server, &prompts, RECOVERED_TOKENS, UNTIL_KILLED, || {
        Ok(kill(worker, Signal::SIGKILL)?)
    })?;
    let longest = streams[0].gaps().reduce(f64::max);
    longest.context("the stream had one text")
}

/// The median of each column.
fn medians(rounds: &[Vec<f64>]) -> Vec<f64> {
    let columns = rounds.first().map_or(0, Vec::len);
    (0..columns).map(|at| client::median(rounds.iter().map(|round| round[at]).collect())).collect()
}

/// `values` are the medians of the earlier build, this one, and both again.
fn text(names: &[Figure], values: &[Vec<f64>; 4], rounds: usize) -> String {
    let mut text = format!(
        "# This build beside an earlier one\n\n`cargo xtask bench before`, {}, {}; medians of {rounds} rounds, each build twice.\n\n\
         Less is better in all rows. The noise is how far a build differs from itself, the larger of the two.\n\n\
         | figure | earlier | now | change | noise |\n|---|---|---|---|---|\n",
        machine::today(),
        machine::description(),
    );
    for (at, (name, unit)) in names.iter().enumerate() {
        let [before, now, before_again, now_again] = values.each_ref().map(|column| column[at]);
        let noise = noise(before, before_again).max(noise(now, now_again));
        let (before, now) = (f64::midpoint(before, before_again), f64::midpoint(now, now_again));
        let change = (now / before - 1.0) * 100.0;
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "| {name} | {before:.2} {unit} | {now:.2} {unit} | {change:+.0} % | {noise:.0} % |"
        );
    }
    text
}

/// How far two measurements of one build lie apart, in percent.
fn noise(one: f64, other: f64) -> f64 {
    (one.max(other) / one.min(other) - 1.0) * 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_has_the_change_and_the_noise() {
        let names = [("first token".to_owned(), "ms")];
        let text = text(&names, &[vec![1.0], vec![1.2], vec![1.1], vec![1.5]], 3);
        assert!(text.ends_with("| first token | 1.05 ms | 1.35 ms | +29 % | 25 % |\n"), "{text}");
    }

    #[test]
    fn medians_are_those_of_each_figure() {
        assert_eq!(medians(&[vec![1.0, 9.0], vec![3.0, 7.0], vec![2.0, 8.0]]), [2.0, 8.0]);
    }
}
