//! `mlxd-gateway requests`: the request log of a home folder, for the command line.

use std::path::PathBuf;

use clap::Parser;
use ipc_proto::Result;

use super::offline::{self, Input, json, prepare};
use crate::admin::requests;
use crate::store::Db;

/// The first argument of a gateway that only reads the request log.
pub const COMMAND: &str = "requests";

/// Reads the request log of a home folder, by the query in the body. Writes JSON to standard output, as the admin API answers.
#[derive(Debug, Parser)]
#[command(name = "mlxd-gateway requests", version)]
struct Arguments {
    /// The folder of the database.
    #[arg(long)]
    home: PathBuf,
}

/// Runs the command. Writes an error as one sentence to standard error. Returns the exit status.
///
/// # Errors
/// Standard input or output fails.
pub fn run() -> std::io::Result<i32> {
    offline::run_with_input(answer)
}

async fn answer(Arguments { home }: Arguments, mut input: Input) -> Result<String> {
    prepare(&home)?;
    let db = Db::new(&home);
    let page = requests::page(&db, input.plain()?).await?;
    db.close().await;
    json(&page)
}
