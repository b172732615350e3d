//! `mlxd pull`.

use std::io::IsTerminal;
use std::time::Instant;

use hub::{CONNECTIONS, Cache, Hub, Limiter, ModelName, Pull, Pulled, pull, remote};
use serde_json::{Value, json};

use super::messages::say;
use super::{ModelsError, hub, server_config, units};
use crate::client::Home;
use crate::config::Environment;

mod progress;

use progress::{Bars, JsonLines, Lines};

/// Options of the command.
#[derive(Debug, clap::Args)]
pub(crate) struct Flags {
    /// organisation/name, or organisation/name@revision for a branch, a tag or a commit.
    model: String,
    /// Also download files with this name, * for any text; may be given several times [default: the files that the model needs].
    #[arg(long, value_name = "PATTERN")]
    include: Vec<String>,
    /// Bytes a second at most, such as 10MB [default: no limit].
    #[arg(long, value_name = "SIZE", value_parser = units::parse_bytes)]
    limit: Option<u64>,
    /// Connections at once.
    #[arg(long, default_value_t = CONNECTIONS, value_parser = clap::value_parser!(u16).range(1..=64))]
    connections: u16,
    /// Download a model that mlxd cannot serve, too.
    #[arg(long)]
    force: bool,
    /// Write a line of JSON for each step.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    home: Home,
}

/// Downloads a model. Ctrl-C stops, and keeps what has come.
pub(super) async fn run(flags: Flags, environment: &Environment) -> Result<(), ModelsError> {
    let name: ModelName = flags.model.parse()?;
    let hub = hub(environment)?;
    let budget = supervisor::memory_budget(&server_config(flags.home, environment)?).await?;
    let request = Pull {
        name: name.clone(),
        include: flags.include,
        connections: flags.connections.into(),
        limiter: Limiter::new(flags.limit),
    };
    let work = async {
        if !flags.force
            && !hub.settings().offline
            && let Some(note) = check(&hub, &name, budget).await?
        {
            say(&note);
        }
        let start = Instant::now();
        let pulled = if flags.json {
            pull(&hub, &request, &JsonLines).await
        } else if std::io::stderr().is_terminal() {
            let bars = Bars::new();
            let pulled = pull(&hub, &request, &bars).await;
            bars.clear();
            pulled
        } else {
            pull(&hub, &request, &Lines::new()).await
        };
        Ok::<_, ModelsError>((pulled?, start.elapsed()))
    };
    let (pulled, time) = tokio::select! {
        done = work => done?,
        _ = tokio::signal::ctrl_c() => return Err(ModelsError::Stopped(name.to_string())),
    };
    if flags.json {
        progress::print(&done(&pulled));
        return Ok(());
    }
    let rate = pulled.received as f64 / time.as_secs_f64().max(0.001);
    let came = match pulled.received {
        0 => "nothing had to be downloaded".to_owned(),
        bytes => {
            format!("{} in {}, {}/s", units::bytes(bytes), units::duration(time), units::bytes(rate as u64))
        }
    };
    let (files, size) = (pulled.files, units::bytes(pulled.bytes));
    say(&format!("{} is complete: {files} files, {size} ({came})", pulled.id));
    say(&format!("try it: mlxd run {}", pulled.id));
    Ok(())
}

fn done(pulled: &Pulled) -> Value {
    json!({
        "event": "done", "model": pulled.id, "commit": pulled.commit, "folder": pulled.folder,
        "files": pulled.files, "bytes": pulled.bytes, "received": pulled.received,
    })
}

/// Refuses a model that mlxd would not serve, before gigabytes are downloaded. Returns a sentence about one that is too large.
async fn check(hub: &Hub, name: &ModelName, budget: u64) -> Result<Option<String>, ModelsError> {
    let info = hub.model(name).await?;
    // Without the file it has other weights, or none. The selection of files says so.
    let Some(config) = remote::config(hub, &info.id, &info.commit).await? else { return Ok(None) };
    if let Some(problem) = supervisor::remote_details(&config, []).problem {
        return Err(ModelsError::Refused(format!("{problem}; --force downloads it all the same")));
    }
    if Cache::new(&hub.settings().cache).has(&info.id) {
        return Ok(None);
    }
    // Weights that are none are found when they are on disk.
    let Ok(details) = remote::exact_details(hub, name, &config).await else { return Ok(None) };
    let needed = supervisor::memory_needed(&details);
    Ok((needed > budget).then(|| {
        let (needed, budget) = (units::bytes(needed), units::bytes(budget));
        format!("{name} needs {needed} of memory, and models may have {budget}: it will not load unless `memory` allows more")
    }))
}
