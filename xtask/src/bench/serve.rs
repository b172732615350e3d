//! `cargo xtask bench serve`: throughput and latency beside mlx-lm's server, the targets of the engine.
//!
//! Three servers in one run, measured in turn with new prompts each time: mlxd, mlx-lm with OpenBLAS, and mlx-lm with our BLAS.
//! OpenBLAS is the choice of mlx-lm's users on Linux. Our BLAS separates the engine's share from that of the matrix products.
//! All compute in fp32.

use super::client::{self, Measured, Prompt};
use super::servers::Server;
use super::{MODEL, Prefix, machine, serve_report, share};
use crate::{demo, dist, goldens, models, paths, setup};

/// Options of `cargo xtask bench serve`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Rounds with short prompts; the tables give medians. Long prompts get one third of them, at least one.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Tokens that each request generates.
    #[arg(long, default_value_t = 64)]
    tokens: u32,
    /// Requests at once.
    #[arg(long, value_delimiter = ',', default_value = "1,4,8,16")]
    streams: Vec<usize>,
    /// Leave out prompts of 1,000 tokens.
    #[arg(long)]
    short: bool,
}

const OURS_PORT: u16 = 10253;
const PLAIN_PORT: u16 = 10254;
const SAME_PORT: u16 = 10255;
/// Words that make about 128 and 1,000 tokens with the sentence around them.
const SHORT_WORDS: usize = 110;
const LONG_WORDS: usize = 980;
/// Words of the prompt that comes while others are answered: about 4,000 tokens.
const HUGE_WORDS: usize = 3960;

/// Streams that are compared with memory, one after the other.
const ROOFLINE_ROUNDS: usize = 9;

/// The servers' figures at one length of prompt and one number of streams.
pub(super) struct Cell {
    pub(super) prompt_words: usize,
    pub(super) streams: usize,
    /// Of each server, in order.
    pub(super) servers: Vec<Measured>,
}

/// Times between tokens of running streams, in milliseconds.
pub(super) struct Disturbed {
    pub(super) before_p50: f64,
    /// While a prompt of 4,000 tokens is taken in.
    pub(super) during_p50: f64,
    /// From that prompt to its first token.
    pub(super) ttft_ms: f64,
}

/// One stream of mlxd, with the memory bandwidth just before and after.
pub(super) struct Beside {
    /// Tokens a second, once the first has come.
    pub(super) decode: f64,
    /// Bytes a second that all cores read.
    pub(super) bandwidth: f64,
}

/// All figures.
pub(super) struct Results {
    pub(super) names: Vec<&'static str>,
    pub(super) cells: Vec<Cell>,
    pub(super) prefixes: Vec<Prefix>,
    pub(super) disturbed: Disturbed,
    pub(super) roofline: Vec<Beside>,
    pub(super) weights: u64,
    pub(super) tokens: u32,
    pub(super) rounds: usize,
}

/// Runs everything and writes bench/results/serve.md.
///
/// # Errors
/// When a server cannot be set up or started, or a request fails.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    setup::run()?;
    demo::build()?;
    let fp32 = paths::mlx().join("models-fp32");
    models::fetch_as("smollm2", "F32", &fp32)?;
    let venv = goldens::environment()?;
    let (blas, plain) = (dist::linked_library("mlxd-worker", "libmlxd_blas.so")?, setup::plain_blas()?);
    let model = fp32.join(MODEL);
    let servers = [
        Server::mlxd(OURS_PORT, &fp32, false)?,
        Server::mlx_lm("mlx-lm", PLAIN_PORT, &venv, &model, plain.as_deref())?,
        Server::mlx_lm("mlx-lm, our BLAS", SAME_PORT, &venv, &model, Some(&blas))?,
    ];
    for server in &servers {
        // Loading and first-time work are not part of the comparison.
        client::send_all(server, &[Prompt::new(usize::MAX, 10)], 4)?;
    }
    let mut cells = table(&servers, arguments, SHORT_WORDS, arguments.rounds)?;
    if !arguments.short {
        cells.extend(table(&servers, arguments, LONG_WORDS, (arguments.rounds / 3).max(1))?);
    }
    let prefixes = servers[..2].iter().map(|server| share(server, arguments.rounds));
    let results = Results {
        names: servers.iter().map(|server| server.name).collect(),
        cells,
        prefixes: prefixes.collect::<anyhow::Result<_>>()?,
        disturbed: disturb(&servers[0])?,
        roofline: roofline(&servers[0], arguments.tokens)?,
        weights: std::fs::metadata(model.join("model.safetensors"))?.len(),
        tokens: arguments.tokens,
        rounds: arguments.rounds,
    };
    super::write("serve.md", &serve_report::text(&results))
}

fn table(
    servers: &[Server],
    arguments: &Arguments,
    words: usize,
    rounds: usize,
) -> anyhow::Result<Vec<Cell>> {
    let mut cells = Vec::new();
    for &streams in &arguments.streams {
        let mut measured = vec![Vec::new(); servers.len()];
        for round in 0..rounds {
            // No prefix cache holds these.
            let first = ((words * 100 + streams) * 100 + round) * 100;
            for (at, (server, measured)) in servers.iter().zip(&mut measured).enumerate() {
                let seeds = (first..first + streams).map(|seed| seed * 10 + at);
                let prompts: Vec<Prompt> = seeds.map(|seed| Prompt::new(seed, words)).collect();
                let one = client::send_all(server, &prompts, arguments.tokens)?;
                eprintln!("  {words} words, {streams} streams, {}: {:.1} tok/s", server.name, one.whole);
                measured.push(one);
            }
        }
        let servers = measured.iter().map(|rounds| Measured::median(rounds)).collect();
        cells.push(Cell { prompt_words: words, streams, servers });
    }
    Ok(cells)
}

/// One stream at a time between passes over memory.
fn roofline(server: &Server, tokens: u32) -> anyhow::Result<Vec<Beside>> {
    let mut before = machine::read_bandwidth()?;
    let round = |round| {
        let prompt = Prompt::new(79_000_000 + round, SHORT_WORDS);
        let decode = client::send_all(server, &[prompt], tokens)?.decode;
        let after = machine::read_bandwidth()?;
        Ok(Beside { decode, bandwidth: (std::mem::replace(&mut before, after) + after) / 2.0 })
    };
    (0..ROOFLINE_ROUNDS).map(round).collect()
}

/// Four streams run; then a long prompt comes.
fn disturb(server: &Server) -> anyhow::Result<Disturbed> {
    let prompts: Vec<Prompt> = (0..4).map(|seed| Prompt::new(77_000_000 + seed, SHORT_WORDS)).collect();
    let long = Prompt::new(78_000_000, HUGE_WORDS);
    let (running, long) = client::send_during(server, &prompts, 400, &long, 40)?;
    let (mut before, mut during) = (Vec::new(), Vec::new());
    for stream in &running {
        for pair in stream.texts.windows(2) {
            let gap = (pair[1] - pair[0]).as_secs_f64() * 1e3;
            if pair[1] < long.asked {
                before.push(gap);
            } else if pair[0] > long.asked && pair[1] < long.first() {
                during.push(gap);
            }
        }
    }
    let ttft_ms = (long.first() - long.asked).as_secs_f64() * 1e3;
    Ok(Disturbed { before_p50: client::median(before), during_p50: client::median(during), ttft_ms })
}
