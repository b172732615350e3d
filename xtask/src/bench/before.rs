//! This build beside an earlier one: whether a change made anything slower or larger.
//!
//! In each round the earlier build, this one, and the earlier one again run at the same time and are asked in turn. The two servers
//! of the earlier build show the noise: they differ as this build would without any change.

use std::fmt::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::client::{self, Prompt};
use super::overhead::{self, Overhead};
use super::servers::Server;
use super::{PREFIX_WORDS, machine};
use crate::{demo, models, paths, setup};

/// Options of `cargo xtask bench before`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The folder with the programs of the earlier build, made with the feature `test-doubles` where it exists.
    earlier: PathBuf,
    /// Rounds; the table has the medians of their ratios. Six are the fewest that give a confidence interval.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(6..))]
    rounds: u16,
    /// Skip setup and build; measure the existing programs.
    #[arg(long)]
    as_is: bool,
    /// Measure the gateway only, without a model that computes. A round takes a minute less.
    #[arg(long)]
    gateway: bool,
}

/// A figure's name and unit.
type Figure = (String, &'static str);

/// The ports of the three servers.
const PORTS: [u16; 3] = [10251, 10252, 10258];
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
    let programs = [&*arguments.earlier, &*ours, &*arguments.earlier];
    let (mut names, mut rounds) = (Vec::new(), Vec::new());
    for round in 0..usize::from(arguments.rounds) {
        eprintln!("  round {}", round + 1);
        let measured = measure(arguments, programs, &fp32, round)?;
        names = measured[0].iter().map(|(name, _)| name.clone()).collect();
        rounds.push(measured.map(|figures| figures.into_iter().map(|(_, value)| value).collect()));
    }
    super::write("before.md", &text(&names, &rounds))
}

/// The figures of each of three servers.
type Figures = [Vec<(Figure, f64)>; 3];

/// All figures of one round. No prompt is that of another one.
fn measure(
    arguments: &Arguments,
    programs: [&Path; 3],
    models: &Path,
    round: usize,
) -> anyhow::Result<Figures> {
    let mut figures = around_the_model(programs)?;
    if arguments.gateway {
        return Ok(figures);
    }
    let servers = start(programs, models, false)?;
    for (at, (server, figures)) in servers.iter().zip(&mut figures).enumerate() {
        let first = (round * servers.len() + at) * 1000;
        let cold = client::send_all(server, &[Prompt::new(first, 10)], 4)?;
        figures.push((("cold start to the first token".into(), "ms"), cold.ttft_ms));
    }
    for streams in STREAMS {
        for (at, (server, figures)) in servers.iter().zip(&mut figures).enumerate() {
            let first = (round * servers.len() + at) * 1000 + streams * 10;
            let prompts: Vec<Prompt> =
                (first..first + streams).map(|seed| Prompt::new(seed, WORDS)).collect();
            let measured = client::send_all(server, &prompts, TOKENS)?;
            figures.push(((format!("{streams} streams: time for a token"), "ms"), 1e3 / measured.decode));
            figures.push(((format!("{streams} streams: first token, median"), "ms"), measured.ttft_ms));
            figures.push(((format!("{streams} streams: between texts, p95"), "ms"), measured.itl_p95_ms));
        }
    }
    for (at, (server, figures)) in servers.iter().zip(&mut figures).enumerate() {
        let first = (round * servers.len() + at) * 1000;
        let shared = |own| client::send_all(server, &[Prompt::sharing(first, PREFIX_WORDS, own)], 8);
        shared(0)?;
        figures.push((("first token after 1,000 cached".into(), "ms"), shared(1)?.ttft_ms));
        figures.push((("a lost worker's stream goes on".into(), "ms"), recovery(server, first)?));
    }
    Ok(figures)
}

fn start(programs: [&Path; 3], models: &Path, null: bool) -> anyhow::Result<Vec<Server>> {
    let each = programs.iter().zip(PORTS);
    each.map(|(programs, port)| Server::built_in(programs, port, models, null)).collect()
}

/// The figures of `cargo xtask bench overhead`, and the gateway's processor time beside a small model.
fn around_the_model(programs: [&Path; 3]) -> anyhow::Result<Figures> {
    let servers = start(programs, &paths::models(), true)?;
    let measured = overhead::measure(&servers.iter().collect::<Vec<_>>())?;
    drop(servers);
    let mut figures = [const { Vec::new() }; 3];
    for (Overhead { protocols, idle_mib }, figures) in measured.into_iter().zip(&mut figures) {
        for one in protocols {
            let figure = |text: &str, unit| (format!("{}: {text}", one.path), unit);
            figures.push((figure("first token, p50", "ms"), one.ttft_p50_ms));
            figures.push((figure("first token, p99", "ms"), one.ttft_p99_ms));
            figures.push((figure("processor time for a token", "µs"), one.token_us));
        }
        figures.push((("gateway with 1,000 waiting streams".into(), "MiB"), idle_mib));
    }
    let mut servers = start(programs, &paths::models(), false)?;
    servers.iter_mut().for_each(|server| SMALL_MODEL.clone_into(&mut server.model));
    for path in overhead::PATHS {
        for (server, figures) in servers.iter().zip(&mut figures) {
            let name = format!("{path}: processor time for a piece of text at a model's pace");
            figures.push(((name, "µs"), overhead::paced_us(server, path)?));
        }
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

/// Of each round the figures of the earlier build, this one, and the earlier one again.
type Rounds = [[Vec<f64>; 3]];

fn text(names: &[Figure], rounds: &Rounds) -> String {
    let mut text = format!(
        "# This build beside an earlier one\n\n`cargo xtask bench before`, {}, {}; {} rounds.\n\n\
         Less is better in all rows. Change is the median of the rounds' ratios, noise the same for the earlier build beside \
         itself. In brackets: 95 % confidence intervals of the medians.\n\n\
         | figure | earlier | now | change | noise |\n|---|---|---|---|---|\n",
        machine::today(),
        machine::description(),
        rounds.len(),
    );
    let mut worse = Vec::new();
    for (at, (name, unit)) in names.iter().enumerate() {
        let row = Row::new(rounds, at);
        let Row { earlier, now, change, noise } = &row;
        // Writing to a string cannot fail.
        let _ = writeln!(text, "| {name} | {earlier:.2} {unit} | {now:.2} {unit} | {change} | {noise} |");
        if row.is_worse() {
            worse.push(name.as_str());
        }
    }
    let worse = if worse.is_empty() { "none".into() } else { worse.join("; ") };
    let _ = writeln!(text, "\nWorse by more than {WORSE_BY:.0} % beyond the noise: {worse}.");
    text
}

/// A change above this share, in percent, counts.
const WORSE_BY: f64 = 3.0;

/// One figure of all rounds.
struct Row {
    earlier: f64,
    now: f64,
    change: Interval,
    noise: Interval,
}

impl Row {
    fn new(rounds: &Rounds, at: usize) -> Self {
        let each = |value: fn([f64; 3]) -> f64| -> Vec<f64> {
            rounds.iter().map(|round| value(round.each_ref().map(|figures| figures[at]))).collect()
        };
        Self {
            earlier: client::median(each(|[before, _, after]| f64::midpoint(before, after))),
            now: client::median(each(|[_, now, _]| now)),
            change: Interval::new(each(|[before, now, after]| now / f64::midpoint(before, after))),
            noise: Interval::new(each(|[before, _, after]| after / before)),
        }
    }

    /// Whether the whole interval of the change lies above what is allowed and above what the earlier build shows beside itself.
    fn is_worse(&self) -> bool {
        self.change.low > WORSE_BY + self.noise.median.abs()
    }
}

/// The median of ratios, as a change in percent, and its 95 % confidence interval.
///
/// The bounds are two of the ratios, so nothing is assumed about how they are distributed.
struct Interval {
    median: f64,
    low: f64,
    high: f64,
}

impl Interval {
    fn new(mut ratios: Vec<f64>) -> Self {
        ratios.sort_by(f64::total_cmp);
        let percent = |ratio: f64| (ratio - 1.0) * 100.0;
        let skipped = skipped(ratios.len());
        Self {
            low: percent(ratios[skipped]),
            high: percent(ratios[ratios.len() - 1 - skipped]),
            median: percent(client::median(ratios)),
        }
    }
}

impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { median, low, high } = self;
        write!(f, "{median:+.0} % ({low:+.0} to {high:+.0})")
    }
}

/// How many of `count` sorted values lie outside of the interval at each end: as many as a median has below it with a
/// probability of at most 2.5 %, when each value lies below it or above it by the toss of a coin.
fn skipped(count: usize) -> usize {
    let mut probability = (0..count).fold(1.0, |probability, _| probability / 2.0);
    let (mut below, mut tail) = (0, 0.0);
    loop {
        tail += probability;
        if tail > 0.025 {
            return usize::saturating_sub(below, 1);
        }
        probability *= (count - below) as f64 / (below + 1) as f64;
        below += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rounds(count: usize, values: [f64; 3]) -> Vec<[Vec<f64>; 3]> {
        vec![values.map(|value| vec![value]); count]
    }

    #[test]
    fn table_has_the_change_and_the_noise() {
        let text = text(&[("first token".to_owned(), "ms")], &rounds(6, [1.0, 1.5, 1.5]));
        let row = "| first token | 1.25 ms | 1.50 ms | +20 % (+20 to +20) | +50 % (+50 to +50) |\n";
        assert!(text.contains(row), "{text}");
        assert!(text.ends_with("beyond the noise: none.\n"), "{text}");
    }

    #[test]
    fn row_is_worse_beyond_the_allowed_share() {
        let is_worse = |values| Row::new(&rounds(6, values), 0).is_worse();
        assert!(is_worse([1.0, 1.04, 1.0]));
        assert!(!is_worse([1.0, 1.02, 1.0]));
        assert!(!is_worse([1.0, 0.5, 1.0]));
    }

    #[test]
    fn row_with_rounds_on_both_sides_is_not_worse() {
        let mut rounds = rounds(5, [1.0, 2.0, 1.0]);
        rounds.push([vec![1.0], vec![0.9], vec![1.0]]);
        assert!(!Row::new(&rounds, 0).is_worse());
    }

    #[test]
    fn interval_skips_what_a_coin_allows() {
        // The tails of 6, 8, 9 and 10 tosses: 1/64; 1/256 and 9/256; 1/512 and 10/512; 1/1024 and 11/1024.
        assert_eq!([6, 8, 9, 10].map(skipped), [0, 0, 1, 1]);
    }
}
