//! `mlxd ls`.

use std::io::Write;

use hub::appraisal::{Machine, Verdict};
use ipc_proto::supervisor::ModelEntry;
use serde_json::{Value, json};
use supervisor::{Config, DiskModel, Owner};

use super::search::cell;
use super::{ModelsError, server_config, units};
use crate::client::{self, Home};
use crate::config::Environment;
use crate::table;

/// Options of the command.
#[derive(Debug, clap::Args)]
pub(crate) struct Flags {
    /// Write JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    home: Home,
}

/// Lists the models of the running server, or those that a server would serve.
pub(super) async fn run(flags: Flags, environment: &Environment) -> Result<(), ModelsError> {
    let config = server_config(flags.home, environment)?;
    // On macOS another program is asked for the budget.
    let (budget, models) = tokio::join!(supervisor::memory_budget(&config), models(&config));
    let machine = Machine { budget: budget? };
    let text = if flags.json {
        format!("{}\n", Value::from_iter(models.iter().map(|model| document(model, machine))))
    } else {
        table(&models, machine)
    };
    // A reader such as `head` may leave early.
    let _ = std::io::stdout().lock().write_all(text.as_bytes());
    Ok(())
}

/// The models of the running server: it may have other folders than the configuration names. Without one those on disk.
async fn models(config: &Config) -> Vec<DiskModel> {
    if let Ok(models) = client::models(&config.home).await {
        return models.into_iter().map(on_disk).collect();
    }
    let config = config.clone();
    tokio::task::spawn_blocking(move || supervisor::models_on_disk(&config)).await.unwrap_or_default()
}

/// A model of the running server.
fn on_disk(entry: ModelEntry) -> DiskModel {
    let owner = Owner::Folder(entry.details.folder.clone());
    DiskModel { id: entry.id, details: entry.details, bytes: entry.bytes, created: entry.created, owner }
}

fn table(models: &[DiskModel], machine: Machine) -> String {
    if models.is_empty() {
        return "no model is on disk: find one with `mlxd search`, then `mlxd pull` it\n".into();
    }
    let mut rows = vec![["MODEL", "FAMILY", "SIZE", "WEIGHTS", "MEMORY", "SERVED"].map(String::from)];
    for model in models {
        let details = &model.details;
        let memory = supervisor::memory_needed(details);
        let verdict = Verdict::new(details, memory, machine);
        let is_served = details.problem.is_none();
        rows.push([
            model.id.clone(),
            details.architecture.clone(),
            units::bytes(model.bytes),
            details.quantization.clone(),
            if is_served { units::bytes(memory) } else { "-".into() },
            if verdict == Verdict::Fits { "yes".into() } else { cell(&verdict, machine) },
        ]);
    }
    table::aligned(&rows)
}

fn document(model: &DiskModel, machine: Machine) -> Value {
    let details = &model.details;
    let memory = supervisor::memory_needed(details);
    json!({
        "id": model.id, "folder": details.folder, "family": details.architecture, "bytes": model.bytes,
        "parameters": details.parameters, "quantization": details.quantization, "context": details.context,
        "memory_bytes": memory, "verdict": Verdict::new(details, memory, machine).word(), "problem": details.problem,
        "created": model.created,
    })
}

#[cfg(test)]
mod tests {
    use ipc_proto::supervisor::Details;

    use super::*;

    fn model(id: &str, problem: Option<&str>) -> DiskModel {
        let details = Details {
            architecture: "llama".into(),
            quantization: "4-bit".into(),
            weight_bytes: 600_000_000,
            problem: problem.map(str::to_owned),
            ..Details::default()
        };
        DiskModel { id: id.into(), details, bytes: 400_000_000, created: 0, owner: Owner::HubCache }
    }

    #[test]
    fn table_says_what_is_served_and_why_not() {
        let machine = Machine { budget: 2_000_000_000 };
        let text = table(&[model("a/b", None), model("c", Some("tokenizer.json: is missing"))], machine);
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines[1], ["a/b", "llama", "400.0", "MB", "4-bit", "1.0", "GB", "yes"]);
        assert!(text.ends_with("not served: tokenizer.json: is missing\n"), "{text}");
        assert!(table(&[], machine).contains("mlxd search"));
    }
}
