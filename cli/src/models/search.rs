//! `mlxd search`.

use std::io::Write;

use futures::StreamExt;
use hub::{Found, Hub, ModelName, Query, Sort};
use ipc_proto::supervisor::Details;
use serde_json::{Value, json};

use super::verdict::{Machine, Verdict};
use super::{ModelsError, hub, remote, server_config, units};
use crate::client::Home;
use crate::config::Environment;
use crate::table;

/// Files config.json that are read at once.
const AT_ONCE: usize = 8;
/// The tag of models for MLX.
const MLX: &str = "mlx";

/// Options of the command.
#[derive(Debug, clap::Args)]
pub(crate) struct Flags {
    /// Words of the name.
    words: Vec<String>,
    /// Only models of this organisation or user, such as mlx-community.
    #[arg(long)]
    author: Option<String>,
    /// Only models for this task, such as text-generation.
    #[arg(long)]
    task: Option<String>,
    /// Only models with this tag, such as 4-bit or license:mit; may be given several times.
    #[arg(long = "tag", value_name = "TAG")]
    tags: Vec<String>,
    /// Also models that are not marked as MLX models.
    #[arg(long)]
    all: bool,
    /// Only models that mlxd serves and that fit into memory.
    #[arg(long)]
    fits: bool,
    /// Read the headers of the weights, for the exact memory: slower.
    #[arg(long)]
    exact: bool,
    /// The order.
    #[arg(long, value_enum, default_value = "downloads")]
    sort: SortKey,
    /// Results at most.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=500))]
    limit: u16,
    /// Write JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    home: Home,
}

/// The order of results, greatest or newest first.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum SortKey {
    Downloads,
    Likes,
    Modified,
    Created,
    Trending,
}

/// A result, with its verdict for this machine.
struct RatedResult {
    found: Found,
    details: Option<Details>,
    /// Bytes.
    memory: Option<u64>,
    verdict: Verdict,
}

/// Searches and prints.
pub(super) async fn run(flags: Flags, environment: &Environment) -> Result<(), ModelsError> {
    let hub = hub(environment)?;
    let config = server_config(flags.home, environment)?;
    let machine = Machine { budget: supervisor::memory_budget(&config).await? };
    let mut tags = flags.tags;
    if !flags.all {
        tags.insert(0, MLX.to_owned());
    }
    let sort = match flags.sort {
        SortKey::Downloads => Sort::Downloads,
        SortKey::Likes => Sort::Likes,
        SortKey::Modified => Sort::Modified,
        SortKey::Created => Sort::Created,
        SortKey::Trending => Sort::Trending,
    };
    let (text, limit) = (flags.words.join(" "), flags.limit.into());
    let query = Query { text, author: flags.author, task: flags.task, tags, sort, limit };
    let found = hub.search(&query).await?;
    let rated =
        futures::stream::iter(found).map(|found| rate(&hub, found, machine, flags.exact)).buffered(AT_ONCE);
    let mut all: Vec<RatedResult> = rated.collect().await;
    if flags.fits {
        all.retain(|rated| rated.verdict == Verdict::Fits);
    }
    let text = if flags.json {
        format!("{}\n", Value::from_iter(all.iter().map(document)))
    } else {
        table(&all, machine)
    };
    let _ = std::io::stdout().lock().write_all(text.as_bytes());
    Ok(())
}

/// Reads a model's config.json, unless the search has shown already that mlxd does not serve it.
async fn rate(hub: &Hub, found: Found, machine: Machine, exact: bool) -> RatedResult {
    let first = supervisor::remote_details(&found.config, found.elements());
    let is_known = found.config.get("model_type").is_some();
    let mut details = if is_known { Some(first) } else { None };
    if details.as_ref().is_none_or(|details| !details.unserved) && !found.is_gated() {
        details = read_details(hub, &found, exact).await.or(details);
    }
    let has_weights = found.weight_bytes().is_some_and(|bytes| bytes > 0);
    let memory = details.as_ref().filter(|_| has_weights).map(supervisor::memory_needed);
    let verdict = match &details {
        Some(_) if !has_weights => Verdict::NotServed("it has no safetensors weights".into()),
        Some(details) => Verdict::new(details, memory.unwrap_or(0), machine),
        None => Verdict::Unknown,
    };
    RatedResult { found, details, memory, verdict }
}

/// The details of a model from its files. `None` if they cannot be read.
async fn read_details(hub: &Hub, found: &Found, exact: bool) -> Option<Details> {
    let name: ModelName = found.id.parse().ok()?;
    let config = remote::config(hub, &name.id, &name.revision).await.ok()??;
    let details = supervisor::remote_details(&config, found.elements());
    if !exact || details.problem.is_some() {
        return Some(details);
    }
    Some(remote::exact_details(hub, &name, &config).await.unwrap_or(details))
}

fn table(all: &[RatedResult], machine: Machine) -> String {
    if all.is_empty() {
        return "nothing found: try fewer words, or --all for models that are not marked as MLX models\n"
            .into();
    }
    let mut rows = vec![["MODEL", "FAMILY", "SIZE", "MEMORY", "DOWNLOADS", "HERE"].map(String::from)];
    for RatedResult { found, details, memory, verdict } in all {
        let known = |bytes: Option<u64>| bytes.map_or_else(|| "-".to_owned(), units::bytes);
        let is_served = !matches!(verdict, Verdict::NotServed(_));
        let gated = if found.is_gated() { ", gated" } else { "" };
        rows.push([
            found.id.clone(),
            details.as_ref().map_or_else(|| "-".to_owned(), |details| details.architecture.clone()),
            known(found.weight_bytes()),
            known(memory.filter(|_| is_served)),
            found.downloads.to_string(),
            verdict.text(machine) + gated,
        ]);
    }
    table::aligned(&rows)
}

fn document(rated: &RatedResult) -> Value {
    let RatedResult { found, details, memory, verdict } = rated;
    json!({
        "id": found.id, "family": details.as_ref().map(|details| &details.architecture),
        "weight_bytes": found.weight_bytes(), "memory_bytes": memory, "verdict": verdict.word(),
        "reason": match verdict { Verdict::NotServed(reason) => Some(reason), _ => None },
        "gated": found.is_gated(), "license": found.license(), "task": found.task, "downloads": found.downloads,
        "likes": found.likes, "last_modified": found.last_modified, "tags": found.tags,
    })
}
