//! `mlxd-gateway secrets`: the master key of a home folder, for the command line.

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use ipc_proto::gateway::MasterKey;
use serde::Serialize;

use super::offline::{self, Input, json};
use crate::admin::refusal::Refusal;

/// The first argument of a gateway that only changes the master key.
pub const COMMAND: &str = "secrets";

/// Changes the master key of a home folder. Writes JSON to standard output.
#[derive(Debug, Parser)]
#[command(name = "mlxd-gateway secrets", version)]
struct Arguments {
    /// The folder of the database.
    #[arg(long)]
    home: PathBuf,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Seals all API keys of providers by a new master key: the one in the body, or a random one.
    Rotate,
}

/// The outcome of a rotation.
#[derive(Debug, Serialize)]
struct Answer {
    /// The id of the master key before.
    from: String,
    /// The id of the new one.
    to: String,
    /// The number of API keys that are sealed by it.
    sealed: usize,
}

/// Runs the command. Writes an error as one sentence to standard error. Returns the exit status.
///
/// # Errors
/// Standard input or output fails.
pub fn run() -> std::io::Result<i32> {
    offline::run_with_input(rotate)
}

async fn rotate(
    Arguments { home, verb: Verb::Rotate }: Arguments,
    mut input: Input,
) -> Result<String, Refusal> {
    let next: Option<MasterKey> = input.plain()?;
    let (db, store) = input.store(&home)?;
    let rotated = store.rotate(next).await?;
    db.close().await;
    let answer =
        Answer { from: rotated.from.to_string(), to: rotated.to.to_string(), sealed: rotated.sealed };
    Ok(json(&answer)?)
}
