//! `mlxd-gateway route`: the routes of a home folder, for the command line.

use std::path::PathBuf;
use std::sync::Arc;

use clap::{Parser, Subcommand};

use super::offline::{self, Input, json};
use crate::admin::provider_wire::RouteList;
use crate::admin::refusal::Refusal;
use crate::admin::routes;
use crate::backends::judging::Judges;
use crate::backends::local::LocalBackend;
use crate::fleet::FleetClient;
use crate::inference::names::Names;

/// The first argument of a gateway that only changes routes.
pub const COMMAND: &str = "route";

/// Changes the routes of a home folder. Writes JSON to standard output, as the admin API answers.
#[derive(Debug, Parser)]
#[command(name = "mlxd-gateway route", version)]
struct Arguments {
    /// The folder of the database.
    #[arg(long)]
    home: PathBuf,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Lists all routes.
    List,
    /// Replaces the routes of the database by those in the body.
    Set {
        /// Only if they are of this revision.
        #[arg(long)]
        revision: Option<i64>,
    },
    /// Chooses the route of the request that the body describes.
    Explain {
        /// The supervisor's socket, for conditions about local models, and for those that judge.
        #[arg(long)]
        supervisor: PathBuf,
    },
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
    let answer = match verb {
        Verb::List => json(&routes::view(&store, &store.load().await?))?,
        Verb::Set { revision } => {
            let list: RouteList = input.body()?;
            json(&routes::view(&store, &store.set_routes(list.routes, revision).await?))?
        }
        Verb::Explain { supervisor } => {
            let names = Names::new(&store.table(&store.load().await?));
            let fleet = Arc::new(FleetClient::new(supervisor));
            let judges = Judges::new(Arc::new(LocalBackend::new(Arc::clone(&fleet), false)));
            json(&routes::decision(&names, &fleet, &judges, input.body()?).await?)?
        }
    };
    db.close().await;
    Ok(answer)
}
