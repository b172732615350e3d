//! `mlxd-gateway provider`: the providers of a home folder, for the command line.

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use secrecy::SecretString;

use super::offline::{self, Input, json};
use crate::admin::providers;
use crate::admin::refusal::Refusal;
use crate::admin::wire::ProviderTest;
use crate::dispatch::providers::probe;
use crate::store::routing_store::{ProviderRecord, RoutingStore};

/// The first argument of a gateway that only changes providers.
pub const COMMAND: &str = "provider";

/// Changes the providers of a home folder. Writes JSON to standard output, as the admin API answers.
#[derive(Debug, Parser)]
#[command(name = "mlxd-gateway provider", version)]
struct Arguments {
    /// The folder of the database.
    #[arg(long)]
    home: PathBuf,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Makes the provider that the body describes.
    Add,
    /// Lists all providers.
    List,
    /// Shows one of them.
    Show { name: String },
    /// Removes one.
    Remove { name: String },
    /// Offers its models.
    Enable { name: String },
    /// Offers its models no longer.
    Disable { name: String },
    /// Replaces its API key by the one in the body, or removes it.
    SetKey { name: String },
    /// Asks it for its models.
    Test { name: String },
}

/// Runs the command. Writes an error as one sentence to standard error. Returns the exit status.
///
/// # Errors
/// Standard input or output fails.
pub fn run() -> std::io::Result<i32> {
    offline::run_with_input(answer)
}

async fn answer(Arguments { home, verb }: Arguments, mut input: Input) -> Result<String, Refusal> {
    let (db, store) = input.store(&home)?;
    let view = |record: ProviderRecord| Ok(json(&providers::view(record))?);
    let answer = match verb {
        Verb::Add => Ok(json(&providers::make(&store, input.body()?).await?)?),
        Verb::List => Ok(json(&providers::all(&store).await?)?),
        Verb::Show { name } => view(store.get(&name).await?),
        Verb::Remove { name } => view(store.remove(&name).await?),
        Verb::Enable { name } => view(store.set_enabled(&name, true).await?),
        Verb::Disable { name } => view(store.set_enabled(&name, false).await?),
        Verb::SetKey { name } => view(set_key(&store, &name, input.plain()?).await?),
        Verb::Test { name } => Ok(json(&test(store.get(&name).await?).await)?),
    };
    db.close().await;
    answer
}

async fn set_key(
    store: &RoutingStore,
    name: &str,
    key: Option<SecretString>,
) -> Result<ProviderRecord, Refusal> {
    providers::check_key(key.as_ref())?;
    Ok(store.set_key(name, key.as_ref()).await?)
}

async fn test(record: ProviderRecord) -> ProviderTest {
    let unset = record.provider.api_key_env.as_ref().map(|name| {
        format!("api_key_env: the environment has no variable {name} here; the running server may have it")
    });
    match record.problem.or(unset) {
        Some(problem) => ProviderTest { problem: Some(problem), ..ProviderTest::default() },
        None => providers::outcome(probe(&record.name, &record.provider).await),
    }
}
