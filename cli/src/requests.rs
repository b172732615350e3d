//! `mlxd requests`: the request log. Runs `mlxd-gateway requests` on the home folder, with or without a running server. `tail` asks
//! the server.

pub(crate) mod show;
pub(crate) mod tail;

use std::time::{SystemTime, UNIX_EPOCH};

use serde::Deserialize;
use serde_json::{Value, json};

use crate::client::{Answer, ClientError, Home};
use crate::config::Environment;
use crate::gateway::{Folder, Form};
use crate::table;

/// Subcommands of `mlxd requests`.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum RequestVerb {
    /// List ended requests, the latest first. All conditions must hold.
    Ls(Query),
    /// Write ended requests to standard output, the latest first. All conditions must hold.
    Export(Export),
    /// Show one request: its row, the trace of its route, and its prompt and outputs if they are stored.
    Show(show::Show),
    /// Write each request that ends from now on, until Ctrl-C. Needs a running server.
    Tail(tail::Tail),
}

/// Conditions for requests, whatever their time.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct Filter {
    /// The model's name as the client gave it, or its id at the backend.
    #[arg(long)]
    model: Option<String>,
    /// `local` or the name of a provider.
    #[arg(long)]
    backend: Option<String>,
    /// Their outcome.
    #[arg(long, value_parser = ["finished", "failed", "cancelled"])]
    status: Option<String>,
    /// The id or the name of the sender's API key.
    #[arg(long)]
    key: Option<String>,
}

/// Conditions for requests.
#[derive(Debug, clap::Args)]
pub(crate) struct Conditions {
    #[command(flatten)]
    filter: Filter,
    /// The earliest start, such as 2026-11-29T08:00:00Z.
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
}

/// A page of the list of requests.
#[derive(Debug, clap::Args)]
pub(crate) struct Query {
    #[command(flatten)]
    conditions: Conditions,
    /// The number of rows, 1 to 500.
    #[arg(long, value_name = "N", default_value_t = 50)]
    limit: u32,
    /// The `next` of an earlier page.
    #[arg(long, value_name = "CURSOR")]
    after: Option<String>,
    #[command(flatten)]
    form: Form,
}

/// An export of requests.
#[derive(Debug, clap::Args)]
pub(crate) struct Export {
    #[command(flatten)]
    conditions: Conditions,
    /// One JSON object a line, or a table.
    #[arg(long, value_parser = ["jsonl", "csv"], default_value = "jsonl")]
    format: String,
    /// Write stored prompts and outputs too; not into a table.
    #[arg(long)]
    content: bool,
    #[command(flatten)]
    home: Home,
}

/// A request, as far as the list shows it.
#[derive(Debug, Deserialize)]
struct Listed {
    id: String,
    started_at_ms: u64,
    model: String,
    backend: Option<String>,
    route: Option<String>,
    status: String,
    error: Option<String>,
    prompt_tokens: u64,
    completion_tokens: u64,
    total_ms: u64,
    cost_usd: Option<f64>,
}

/// Runs a command and returns its output.
pub(crate) fn run(verb: RequestVerb, environment: &Environment) -> Result<Answer, ClientError> {
    match verb {
        RequestVerb::Ls(query) => page(query, environment),
        RequestVerb::Export(export) => self::export(export, environment),
        RequestVerb::Show(options) => show::run(options, environment),
        RequestVerb::Tail(options) => tail::run(options, environment),
    }
}

impl Filter {
    /// The admin API's names of the conditions, and their values.
    fn pairs(&self) -> [(&'static str, Option<&str>); 4] {
        let Self { model, backend, status, key } = self;
        [("model", model), ("backend", backend), ("status", status), ("key", key)]
            .map(|(name, value)| (name, value.as_deref()))
    }
}

impl Conditions {
    /// As the admin API's query, with what else `query` has.
    fn with(self, mut query: Value) -> Value {
        for (name, value) in self.filter.pairs() {
            query[name] = value.into();
        }
        query["since"] = self.since.into();
        query
    }
}

fn export(export: Export, environment: &Environment) -> Result<Answer, ClientError> {
    let body = export.conditions.with(json!({"format": export.format, "content": export.content}));
    Folder::new(export.home, environment)?.pass_on("requests", &["--export".as_ref()], &body)?;
    Ok(String::new().into())
}

fn page(query: Query, environment: &Environment) -> Result<Answer, ClientError> {
    let body = query.conditions.with(json!({"limit": query.limit, "after": query.after}));
    let (answer, mut parsed) = Folder::new(query.form.home, environment)?.ask("requests", &[], &body)?;
    if query.form.json {
        return Ok(answer.into());
    }
    let rows: Vec<Listed> =
        serde_json::from_value(parsed["requests"].take()).map_err(std::io::Error::from)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
    let note = parsed["next"].as_str().map(|next| format!("there are more: --after {next}\n"));
    Ok(Answer { text: list(&rows, now), note: note.unwrap_or_default() })
}

fn list(rows: &[Listed], now: u64) -> String {
    if rows.is_empty() {
        return "there is no such request\n".into();
    }
    let head =
        ["STARTED", "MODEL", "BACKEND", "ROUTE", "STATUS", "TOKENS", "COST", "TIME", "ID"].map(String::from);
    let row = |one: &Listed| {
        cells(one, format!("{} ago", table::span(now.saturating_sub(one.started_at_ms / 1000))))
    };
    let rows: Vec<_> = std::iter::once(head).chain(rows.iter().map(row)).collect();
    table::aligned(&rows)
}

/// The cells of a request's line.
fn cells(one: &Listed, started: String) -> [String; 9] {
    let or_dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".into());
    let status = match &one.error {
        Some(error) => format!("{}: {error}", one.status),
        None => one.status.clone(),
    };
    [
        started,
        one.model.clone(),
        or_dash(&one.backend),
        or_dash(&one.route),
        status,
        format!("{} + {}", one.prompt_tokens, one.completion_tokens),
        one.cost_usd.map_or_else(|| "-".into(), |dollars| format!("${dollars:.6}")),
        format!("{} ms", one.total_ms),
        one.id.clone(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn list_shows_who_answered_and_how_it_ended() {
        let rows: Value = json!([
            {"id": "req_1/a", "started_at_ms": 880_000, "model": "m", "backend": "far", "route": null, "status": "finished",
             "error": null, "prompt_tokens": 12, "completion_tokens": 30, "total_ms": 420, "cost_usd": 0.00012, "further": 1},
            {"id": "req_2/b", "started_at_ms": 1, "model": "n", "backend": null, "route": "r", "status": "failed",
             "error": "Timeout", "prompt_tokens": 0, "completion_tokens": 0, "total_ms": 9, "cost_usd": null},
        ]);
        let rows: Vec<Listed> = serde_json::from_value(rows).unwrap();
        let text = list(&rows, 1000);
        let lines: Vec<Vec<&str>> = text
            .lines()
            .map(|line| line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect())
            .collect();
        assert_eq!(
            lines[1],
            ["2 min ago", "m", "far", "-", "finished", "12 + 30", "$0.000120", "420 ms", "req_1/a"]
        );
        assert_eq!(lines[2][2..5], ["-", "r", "failed: Timeout"]);
        assert_eq!(list(&[], 0), "there is no such request\n");
    }
}
