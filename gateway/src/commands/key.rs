//! `mlxd-gateway key`: makes, lists and revokes API keys in a home folder, for the command line.
//!
//! It needs no key and no running server: the owner of the home folder owns its keys. A running server notices the change.

use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;

use clap::{Parser, Subcommand};
use ipc_proto::{Error, Result};

use super::offline::{self, json, prepare};
use crate::access::Keys;
use crate::admin::keys;
use crate::protocols::common::body;
use crate::store::Db;
use crate::store::key_store::KeyStore;

/// The first argument of a gateway that only changes keys.
pub const COMMAND: &str = "key";

/// Changes the API keys of a home folder. Writes JSON to standard output, as the admin API answers.
#[derive(Debug, Parser)]
#[command(name = "mlxd-gateway key", version)]
struct Arguments {
    /// The folder of the database.
    #[arg(long)]
    home: PathBuf,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Makes the key that a JSON document on standard input describes.
    Add,
    /// Lists all keys.
    List,
    /// Revokes a key.
    Revoke {
        /// The key's id.
        id: String,
    },
}

/// Runs the command. Writes an error as one sentence to standard error. Returns the exit status.
///
/// # Errors
/// Standard input or output fails.
pub fn run() -> std::io::Result<i32> {
    let arguments = Arguments::parse_from(std::env::args_os().skip(1));
    let mut document = Vec::new();
    if matches!(arguments.verb, Verb::Add) {
        std::io::stdin().read_to_end(&mut document)?;
    }
    offline::run(answer(arguments, &document))
}

async fn answer(Arguments { home, verb }: Arguments, document: &[u8]) -> Result<String> {
    prepare(&home)?;
    let db = Db::new(&home);
    let store = KeyStore::new(db.clone(), &home, Arc::new(Keys::default()));
    let answer = match verb {
        Verb::Add => json(&keys::make(&store, body::parse(document)?).await?),
        Verb::List => json(&keys::all(&store).await?),
        Verb::Revoke { id } => match keys::end(&store, &id).await? {
            Some(key) => json(&key),
            None => Err(Error::invalid("id", format!("there is no key \"{id}\"; mlxd key ls lists all"))),
        },
    };
    db.close().await;
    answer
}
