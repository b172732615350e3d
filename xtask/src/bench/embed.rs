//! `cargo xtask bench embed`: texts a second beside sentence-transformers on the same model and machine, in turn.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Instant;

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use super::servers::Server;
use super::{client, machine};
use crate::{demo, goldens, models, paths, setup};

/// Options of `cargo xtask bench embed`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Rounds; the table has their medians.
    #[arg(long, default_value_t = 7)]
    rounds: usize,
}

const MODEL: &str = "all-MiniLM-L6-v2";
const PORT: u16 = 10256;
const TEXTS: usize = 256;
/// sentence-transformers' default, and the one that was fastest here.
const BATCHES: [usize; 2] = [32, 16];

/// Measures, and writes bench/results/embed.md.
///
/// # Errors
/// When a server cannot be set up or started, or a request fails.
pub(super) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    setup::run()?;
    demo::build()?;
    let folder = models::fetch("minilm")?.pop().context("no folder")?;
    let texts = texts();
    let file = tempfile::NamedTempFile::new()?;
    serde_json::to_writer(&file, &texts)?;
    let python = goldens::sentence_environment()?.join("bin/python");
    let mut theirs = Theirs::start(
        Command::new(python).arg(paths::own("scripts/embed_speed.py")).arg(folder).arg(file.path()),
    )?;
    let server = Server::mlxd(PORT, &paths::models(), false)?;
    ours(&server, &texts[..8])?;
    let mut measured = vec![Vec::new(); 1 + BATCHES.len()];
    for round in 0..arguments.rounds {
        measured[0].push(ours(&server, &texts)?);
        for (batch, measured) in BATCHES.iter().zip(&mut measured[1..]) {
            measured.push(theirs.encode(*batch)?);
        }
        let last: Vec<String> = measured.iter().map(|measured| format!("{:.0}", measured[round])).collect();
        eprintln!("  texts a second: {}", last.join(", "));
    }
    let [ours, default, best] = [0, 1, 2].map(|at| client::median(measured[at].clone()));
    let text = format!(
        "# Embeddings: mlxd beside sentence-transformers\n\n`cargo xtask bench embed`, {}, on {}.\n\n\
         {MODEL} in fp32 on the CPU, {TEXTS} texts of 5 to 160 words, all in one call, each program in turn; medians of {} rounds. \
         mlxd is asked over HTTP (`/v1/embeddings`), sentence-transformers in its own process.\n\n\
         | | texts a second | mlxd's |\n|---|---|---|\n\
         | mlxd | {ours:.1} | |\n\
         | sentence-transformers, batches of {} (its default) | {default:.1} | {:.2}x |\n\
         | sentence-transformers, batches of {} | {best:.1} | {:.2}x |\n",
        machine::today(),
        machine::description(),
        arguments.rounds,
        BATCHES[0],
        ours / default,
        BATCHES[1],
        ours / best,
    );
    super::write("embed.md", &text)
}

/// Texts of mixed lengths, the same in each run.
fn texts() -> Vec<String> {
    const WORDS: [&str; 16] = [
        "the",
        "quick",
        "engineers",
        "measure",
        "throughput",
        "on",
        "shared",
        "processors",
        "and",
        "compare",
        "results",
        "with",
        "other",
        "libraries",
        "over",
        "night",
    ];
    const LENGTHS: [usize; 6] = [5, 10, 20, 40, 80, 160];
    let mut state = 1u32;
    let mut next = |below: usize| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 16) as usize % below
    };
    let mut text = || {
        let words = LENGTHS[next(LENGTHS.len())];
        (0..words).map(|_| WORDS[next(WORDS.len())]).collect::<Vec<_>>().join(" ")
    };
    (0..TEXTS).map(|_| text()).collect()
}

/// Texts a second.
fn ours(server: &Server, texts: &[String]) -> anyhow::Result<f64> {
    let start = Instant::now();
    let asked = json!({"model": MODEL, "input": texts, "encoding_format": "base64"});
    let request = server.agent.post(format!("{}/v1/embeddings", server.base));
    let mut answer = request.header("content-type", "application/json").send(asked.to_string())?;
    let answer = answer.body_mut().with_config().limit(64 << 20).read_to_string()?;
    let seconds = start.elapsed().as_secs_f64();
    let answer: Value = serde_json::from_str(&answer)?;
    let count = answer["data"].as_array().map_or(0, Vec::len);
    ensure!(count == texts.len(), "{count} embeddings came for {} texts", texts.len());
    Ok(texts.len() as f64 / seconds)
}

/// A process with sentence-transformers; ended when dropped.
struct Theirs {
    process: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Theirs {
    fn start(command: &mut Command) -> anyhow::Result<Self> {
        command.env("HF_HUB_OFFLINE", "1").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().context("cannot start sentence-transformers")?;
        let input = process.stdin.take().context("no input")?;
        let output = BufReader::new(process.stdout.take().context("no output")?);
        let mut theirs = Self { process, input, output };
        let ready = theirs.line()?;
        ensure!(ready == "ready", "sentence-transformers says {ready}");
        Ok(theirs)
    }

    fn line(&mut self) -> anyhow::Result<String> {
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        ensure!(!line.is_empty(), "sentence-transformers ended");
        Ok(line.trim().to_owned())
    }

    /// Texts a second.
    fn encode(&mut self, batch: usize) -> anyhow::Result<f64> {
        writeln!(self.input, "{batch}")?;
        let seconds: f64 = self.line()?.parse().context("seconds")?;
        Ok(TEXTS as f64 / seconds)
    }
}

impl Drop for Theirs {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}
