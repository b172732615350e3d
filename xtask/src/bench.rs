//! Measures mlxd beside mlx-lm on this machine, and mlxd's overhead around the model. Writes bench/results/main-job.md.
//!
//! Both servers run at the same time and are measured in turn, so that other load on the machine affects both. Both compute in fp32 and on Linux with the same BLAS.

use std::fs;

use crate::{demo, dist, goldens, models, paths, setup};

mod before;
mod client;
mod embed;
mod fleet;
mod gateway;
mod grammars;
mod http;
mod machine;
mod overhead;
mod quantize;
mod report;
mod serve;
mod serve_report;
mod servers;
mod upstream;

use client::{Measured, Prompt};
use report::Report;
use servers::Server;

/// Options of `cargo xtask bench`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// A benchmark to run instead.
    #[command(subcommand)]
    what: Option<What>,
    /// Rounds; the table has their medians.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Tokens that each request generates.
    #[arg(long, default_value_t = 96)]
    tokens: u32,
}

/// Benchmarks of their own.
#[derive(Debug, clap::Subcommand)]
enum What {
    /// Throughput and latency at several loads beside mlx-lm; writes bench/results/serve.md.
    Serve(serve::Arguments),
    /// How quickly models load, unload and recover, and how much memory they free; writes bench/results/fleet.md.
    Fleet(fleet::Arguments),
    /// Time and memory of the gateway around a worker that does not compute; writes bench/results/overhead.md.
    Overhead,
    /// Both of these and serving beside the programs of an earlier build; writes bench/results/before.md.
    Before(before::Arguments),
    /// How much requests with ambiguous grammars slow others; writes bench/results/grammars.md.
    Grammars(grammars::Arguments),
    /// The gateway in front of a provider, beside LiteLLM's proxy; writes bench/results/gateway.md.
    Gateway(gateway::Arguments),
    /// Texts embedded a second beside sentence-transformers; writes bench/results/embed.md.
    Embed(embed::Arguments),
    /// Conversions beside mlx-lm's: tensors, time, peak memory; writes bench/results/quantize.md.
    Quantize,
}

const MODEL: &str = "SmolLM2-135M-Instruct";
const STREAMS: [usize; 3] = [1, 4, 8];
const PROMPT_WORDS: usize = 100;
/// Words of the common beginning: about 1,000 tokens.
const PREFIX_WORDS: usize = 980;
const OURS_PORT: u16 = 10251;
const THEIRS_PORT: u16 = 10252;
/// Requests that measure the overhead on the first token.
const OVERHEAD_REQUESTS: usize = 200;
/// Tokens of the request that measures the overhead on each.
const OVERHEAD_TOKENS: u32 = 4000;

/// Runs everything and writes the table.
///
/// # Errors
/// When a server cannot be set up or started, or a request fails.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    match &arguments.what {
        Some(What::Serve(arguments)) => serve::run(arguments),
        Some(What::Fleet(arguments)) => fleet::run(arguments),
        Some(What::Overhead) => overhead::run(),
        Some(What::Before(arguments)) => before::run(arguments),
        Some(What::Grammars(arguments)) => grammars::run(arguments),
        Some(What::Gateway(arguments)) => gateway::run(arguments),
        Some(What::Embed(arguments)) => embed::run(arguments),
        Some(What::Quantize) => quantize::run(),
        None => main_job(arguments),
    }
}

fn main_job(arguments: &Arguments) -> anyhow::Result<()> {
    setup::run()?;
    demo::build_with_doubles()?;
    let fp32 = paths::mlx().join("models-fp32");
    models::fetch_as("smollm2", "F32", &fp32)?;
    let mlx_lm = goldens::environment()?;
    let blas = dist::linked_library("mlxd-worker", "libmlxd_blas.so")?;
    let overhead = overhead()?;
    eprintln!("measuring decode and TTFT: {} rounds", arguments.rounds);
    let ours = Server::mlxd(OURS_PORT, &fp32, false)?;
    let theirs = Server::mlx_lm("mlx-lm", THEIRS_PORT, &mlx_lm, &fp32.join(MODEL), Some(&blas))?;
    let rows = compare(&[&ours, &theirs], arguments)?;
    let prefixes = [&ours, &theirs]
        .map(|server| share(server, arguments.rounds))
        .into_iter()
        .collect::<Result<_, _>>()?;
    let bandwidth = machine::read_bandwidth()?;
    let weights = fs::metadata(fp32.join(MODEL).join("model.safetensors"))?.len();
    drop((ours, theirs));
    let report = Report {
        rows,
        prefixes,
        overhead,
        bandwidth,
        weights,
        rounds: arguments.rounds,
        tokens: arguments.tokens,
    };
    write("main-job.md", &report.text())
}

/// Shows a report and writes it to bench/results.
fn write(name: &str, text: &str) -> anyhow::Result<()> {
    print!("{text}");
    let path = paths::root().join("bench/results").join(name);
    fs::create_dir_all(path.parent().unwrap_or(&path))?;
    fs::write(&path, text)?;
    eprintln!("written to {}", path.display());
    Ok(())
}

/// Decode and TTFT at one number of streams: medians of the rounds, for each server.
#[derive(Debug)]
struct Row {
    streams: usize,
    servers: Vec<Measured>,
}

fn compare(servers: &[&Server], arguments: &Arguments) -> anyhow::Result<Vec<Row>> {
    // Loading and first-time work are not part of the comparison.
    for server in servers {
        client::send_all(server, &[Prompt::new(usize::MAX, 10)], 4)?;
    }
    let mut rows = Vec::new();
    for streams in STREAMS {
        let mut rounds = vec![Vec::new(); servers.len()];
        for round in 0..arguments.rounds {
            // A new prompt each time: both servers may remember old ones.
            let first = (streams * 1000 + round) * 100;
            let prompts: Vec<Prompt> =
                (first..first + streams).map(|seed| Prompt::new(seed, PROMPT_WORDS)).collect();
            for (server, measured) in servers.iter().zip(&mut rounds) {
                let one = client::send_all(server, &prompts, arguments.tokens)?;
                eprintln!("  {streams} streams, {}: {:.1} tok/s", server.name, one.whole);
                measured.push(one);
            }
        }
        rows.push(Row { streams, servers: rounds.iter().map(|rounds| Measured::median(rounds)).collect() });
    }
    Ok(rows)
}

/// Times to the first token of prompts with a long common beginning, in milliseconds.
#[derive(Debug)]
struct Prefix {
    /// The first such prompt.
    cold: f64,
    /// The next one.
    cached: f64,
    /// Eight at once whose beginning is new: the slowest of them.
    together: f64,
}

fn share(server: &Server, rounds: usize) -> anyhow::Result<Prefix> {
    let send = |prompts: &[Prompt]| client::send_all(server, prompts, 8);
    let (mut cold, mut cached, mut together) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..rounds.min(3) {
        let seed = 1_000_000 + round * 2;
        cold.push(send(&[Prompt::sharing(seed, PREFIX_WORDS, 0)])?.ttft_ms);
        cached.push(send(&[Prompt::sharing(seed, PREFIX_WORDS, 1)])?.ttft_ms);
        let eight: Vec<Prompt> = (0..8).map(|own| Prompt::sharing(seed + 1, PREFIX_WORDS, own)).collect();
        together.push(send(&eight)?.last_ttft_ms);
        eprintln!("  common beginning, {}: {:.0} ms together", server.name, together[round]);
    }
    let [cold, cached, together] = [cold, cached, together].map(client::median);
    Ok(Prefix { cold, cached, together })
}

/// mlxd's resources besides the model.
#[derive(Debug)]
struct Overhead {
    ready_ms: f64,
    supervisor_mib: f64,
    gateway_mib: f64,
    ttft_ms: f64,
    token_ms: f64,
}

/// Measures with a worker that generates without computing.
fn overhead() -> anyhow::Result<Overhead> {
    eprintln!("measuring overhead");
    let mut ready = Vec::new();
    for _ in 0..5 {
        ready.push(Server::mlxd(OURS_PORT, &paths::models(), true)?.ready_ms);
    }
    let server = Server::mlxd(OURS_PORT, &paths::models(), true)?;
    let (supervisor_mib, gateway_mib) = server.resident()?;
    let warm = |count: usize, tokens| -> anyhow::Result<Vec<Measured>> {
        (0..count).map(|seed| client::send_all(&server, &[Prompt::new(seed, 8)], tokens)).collect()
    };
    warm(20, 8)?;
    let ttft = warm(OVERHEAD_REQUESTS, 2)?;
    let decode = warm(7, OVERHEAD_TOKENS)?;
    Ok(Overhead {
        ready_ms: client::median(ready),
        supervisor_mib,
        gateway_mib,
        ttft_ms: Measured::median(&ttft).ttft_ms,
        token_ms: Measured::median(&decode).token_ms,
    })
}
