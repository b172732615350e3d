//! `mlxd bench`: measures a model through the running server, and keeps the figures to compare others with.
//!
//! It is a client of the HTTP API like any other. If no server runs, it starts one and says so. Every prompt is new, so that no cached
//! prefix helps.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::client::{self, ClientError, Home};
use crate::config::{self, ConfigError, Environment};
use crate::generation::{Api, ApiError};
use crate::server::{self, ServerError};

mod measure;
mod prompt;
mod report;
mod stream;

use measure::{Plan, measure};
use report::Report;

/// The folder of reports in the home.
const FOLDER: &str = "bench";

/// Options of the command.
#[derive(Debug, clap::Args)]
pub(crate) struct Flags {
    /// The model: an id or alias.
    model: String,
    /// Lengths of prompts, in tokens, separated by commas. Those that do not fit into the model's context are left out.
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_values_t = [128, 1024, 4096], value_parser = clap::value_parser!(u32).range(32..=1_000_000))]
    contexts: Vec<u32>,
    /// Numbers of requests at once, separated by commas.
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_values_t = [1, 4], value_parser = clap::value_parser!(u32).range(1..=64))]
    streams: Vec<u32>,
    /// Tokens of each answer.
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(2..=4096))]
    tokens: u32,
    /// Show the changes since this report, a file of an earlier run.
    #[arg(long, value_name = "FILE")]
    compare: Option<PathBuf>,
    /// Write the report in JSON instead of a table.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    home: Home,
}

/// A reason why nothing was measured.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BenchError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Server(#[from] ServerError),
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error(transparent)]
    Api(#[from] ApiError),
    #[error("{0}")]
    Refused(String),
    #[error("{}: {problem}", path.display())]
    File { path: PathBuf, problem: String },
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// Measures, writes the report into the home, and prints it.
pub(crate) fn run(flags: Flags, environment: &Environment) -> Result<(), BenchError> {
    // A wrong file is refused before minutes of work.
    let before = flags.compare.as_deref().map(read).transpose()?;
    let home = config::home(flags.home.folder(), environment)?;
    let address = server::ensure(&home)?;
    let api = Api::new(&address, environment.variable("MLXD_API_KEY"));
    let plan =
        Plan { model: flags.model, contexts: flags.contexts, streams: flags.streams, tokens: flags.tokens };
    let memory = |model: &str| memory(&home, model);
    let rows = measure(&api, &plan, &memory, &note)?;
    let report = Report::new(plan.model, plan.tokens, rows, now());
    let path = write(&home, &report)?;
    let text = if flags.json { report.json()? } else { report.table(before.as_ref()) };
    std::io::stdout().lock().write_all(text.as_bytes())?;
    note(&format!("the report is in {}; --compare shows the changes since it", path.display()));
    Ok(())
}

/// A model as the server sees it: its context in tokens, footprint and lease in bytes.
#[derive(Debug, Clone, Copy, Default)]
struct Memory {
    context: Option<u32>,
    footprint: u64,
    lease: u64,
}

fn memory(home: &Path, model: &str) -> Result<Memory, ClientError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let models = runtime.block_on(client::models(home))?;
    let is_meant = |id: &str, aliases: &[String]| id == model || aliases.iter().any(|alias| alias == model);
    let Some(entry) = models.iter().find(|entry| is_meant(&entry.id, &entry.aliases)) else {
        return Ok(Memory::default());
    };
    Ok(Memory {
        context: entry.context,
        footprint: entry.workers.iter().map(|worker| worker.footprint).sum(),
        lease: entry.workers.iter().map(|worker| worker.lease).sum(),
    })
}

fn read(path: &Path) -> Result<Report, BenchError> {
    let problem = |problem: String| BenchError::File { path: path.to_owned(), problem };
    let text = fs::read_to_string(path).map_err(|error| problem(error.to_string()))?;
    Report::parse(&text).map_err(|error| problem(format!("it is no report of `mlxd bench`: {error}")))
}

fn write(home: &Path, report: &Report) -> Result<PathBuf, BenchError> {
    let path = home.join(FOLDER).join(report.file_name());
    let problem = |error: std::io::Error| BenchError::File { path: path.clone(), problem: error.to_string() };
    fs::create_dir_all(home.join(FOLDER)).map_err(problem)?;
    fs::write(&path, report.json()?).map_err(problem)?;
    Ok(path)
}

/// Seconds since the epoch.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}

/// A line of progress. Standard output is for the figures.
fn note(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}
