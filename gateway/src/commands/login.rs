//! `mlxd-gateway login`: the sign-in of a home folder, for the command line.
//!
//! It needs no password and no running server: the owner of the home folder owns its sign-in. A running server notices the change.

use std::path::PathBuf;
use std::sync::Arc;

use clap::{Parser, Subcommand};
use ipc_proto::Result;
use serde_json::json;

use super::offline::{self, Input, json as line, prepare};
use crate::access::Keys;
use crate::admin::login;
use crate::admin::login_wire::SignInInput;
use crate::store::Db;
use crate::store::key_store::KeyStore;
use crate::store::login_store::LoginStore;

/// The first argument of a gateway that only changes the sign-in.
pub const COMMAND: &str = "login";

/// Changes the sign-in of a home folder. Writes JSON to standard output.
#[derive(Debug, Parser)]
#[command(name = "mlxd-gateway login", version)]
struct Arguments {
    /// The folder of the database.
    #[arg(long)]
    home: PathBuf,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Makes a one-time link.
    Link,
    /// Sets the password in the body. All sessions end.
    Set,
    /// Removes the password. All sessions end.
    Off,
    /// Lists the sessions.
    List,
}

/// Runs the command. Writes an error as one sentence to standard error. Returns the exit status.
///
/// # Errors
/// Standard input or output fails.
pub fn run() -> std::io::Result<i32> {
    offline::run_with_input(answer)
}

async fn answer(Arguments { home, verb }: Arguments, mut input: Input) -> Result<String> {
    prepare(&home)?;
    let db = Db::new(&home);
    let keys = Keys::default().with_sessions((&input.settings).into(), false);
    let store = LoginStore::new(db.clone(), Arc::new(KeyStore::new(db.clone(), &home, Arc::new(keys))));
    let answer = match verb {
        Verb::Link => line(&login::make_link(&store).await?),
        Verb::Set => {
            let SignInInput { password } = input.body()?;
            login::set_password(&store, password).await?;
            line(&json!({"has_password": true}))
        }
        Verb::Off => {
            login::remove(&store).await?;
            line(&json!({"has_password": false}))
        }
        Verb::List => line(&login::sessions(&store, None).await?),
    };
    db.close().await;
    answer
}
