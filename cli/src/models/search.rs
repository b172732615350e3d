//! `mlxd search`.

use std::io::Write;

use hub::appraisal::{self, Appraised, Machine, Verdict};
use hub::{MLX, Query};
use ipc_proto::hub::HubSort;

use super::recommended::Recommended;
use super::{ModelsError, hub, server_config, units};
use crate::client::Home;
use crate::config::Environment;
use crate::table;

/// Options of the command.
#[derive(Debug, clap::Args)]
pub(crate) struct Flags {
    /// Words of the name.
    words: Vec<String>,
    /// Show this program's own list of models that are worth a try, for each size of machine. The hub is not asked.
    #[arg(long, conflicts_with_all = ["words", "author", "task", "tags", "all", "exact", "sort", "limit"])]
    recommended: bool,
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

/// Searches and prints.
pub(super) async fn run(flags: Flags, environment: &Environment) -> Result<(), ModelsError> {
    let config = server_config(flags.home, environment)?;
    let machine = Machine { budget: supervisor::memory_budget(&config).await? };
    if flags.recommended {
        let list = Recommended::read().map_err(std::io::Error::from)?;
        print(&if flags.json {
            format!("{}\n", list.document(machine, flags.fits))
        } else {
            list.table(machine, flags.fits)
        });
        return Ok(());
    }
    let hub = hub(environment)?;
    let mut tags = flags.tags;
    if !flags.all {
        tags.insert(0, MLX.to_owned());
    }
    let sort = match flags.sort {
        SortKey::Downloads => HubSort::Downloads,
        SortKey::Likes => HubSort::Likes,
        SortKey::Modified => HubSort::Modified,
        SortKey::Created => HubSort::Created,
        SortKey::Trending => HubSort::Trending,
    };
    let (text, limit) = (flags.words.join(" "), flags.limit.into());
    let query = Query { text, author: flags.author, task: flags.task, tags, sort, limit };
    let mut all = appraisal::search(&hub, &query, machine, flags.exact).await?;
    if flags.fits {
        all.retain(|appraised| appraised.verdict == Verdict::Fits);
    }
    let text = if flags.json {
        let rows: Vec<_> = all.into_iter().map(Appraised::row).collect();
        format!("{}\n", serde_json::to_string(&rows).map_err(std::io::Error::from)?)
    } else {
        table(&all, machine)
    };
    print(&text);
    Ok(())
}

/// Writes to standard output. A reader such as `head` may leave early.
fn print(text: &str) {
    let _ = std::io::stdout().lock().write_all(text.as_bytes());
}

fn table(all: &[Appraised], machine: Machine) -> String {
    if all.is_empty() {
        return "nothing found: try fewer words, or --all for models that are not marked as MLX models\n"
            .into();
    }
    let mut rows = vec![["MODEL", "FAMILY", "SIZE", "MEMORY", "DOWNLOADS", "HERE"].map(String::from)];
    for Appraised { found, details, memory, verdict } in all {
        let known = |bytes: Option<u64>| bytes.map_or_else(|| "-".to_owned(), units::bytes);
        let is_served = !matches!(verdict, Verdict::NotServed(_));
        let gated = if found.is_gated() { ", gated" } else { "" };
        rows.push([
            found.id.clone(),
            details.as_ref().map_or_else(|| "-".to_owned(), |details| details.architecture.clone()),
            known(found.weight_bytes()),
            known(memory.filter(|_| is_served)),
            found.downloads.to_string(),
            cell(verdict, machine) + gated,
        ]);
    }
    table::aligned(&rows)
}

/// A cell of the table.
pub(super) fn cell(verdict: &Verdict, machine: Machine) -> String {
    match verdict {
        Verdict::Fits => "fits".into(),
        Verdict::TooLarge => format!("too large: models may have {}", units::bytes(machine.budget)),
        Verdict::NotServed(reason) => format!("not served: {reason}"),
        Verdict::Unknown => "not known".into(),
    }
}
