//! Commands for models on the hub and on disk: `pull`, `search`, `ls`, `rm`, `quantize`. None needs a server.
//!
//! Downloads run in this process. All their state lies on disk, so nothing is lost if it ends, and no other process is needed.

use std::path::PathBuf;

use hub::{Hub, HubError, Settings};

use crate::client::{ClientError, Home};
use crate::config::{self, ConfigError, Environment};

mod listing;
mod messages;
mod pull;
mod quantize;
pub(crate) mod recommended;
mod removal;
mod search;
pub(crate) mod units;

/// Commands for models on the hub and on disk.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Verb {
    /// Download a model from Hugging Face's hub, or go on with a download that ended early.
    Pull(pull::Flags),
    /// Search the hub for MLX models, and say which of them this machine can serve.
    Search(search::Flags),
    /// List the models on disk.
    Ls(listing::Flags),
    /// Remove a model from disk, and the rest of an interrupted download.
    Rm(removal::Flags),
    /// Convert a model's weights to packed ones, as mlx-community publishes them.
    Quantize(quantize::Flags),
}

/// A reason why a command for models failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ModelsError {
    #[error(transparent)]
    Hub(#[from] HubError),
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error("{0}")]
    Refused(String),
    #[error("stopped: `mlxd pull {0}` continues this download, `mlxd rm {0}` removes it")]
    Stopped(String),
    #[error("{}: {cause}", path.display())]
    File { path: PathBuf, cause: std::io::Error },
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// Runs a command. It prints its own output.
pub(crate) fn run(verb: Verb, environment: &Environment) -> Result<(), ModelsError> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let done = runtime.block_on(async {
        match verb {
            Verb::Pull(flags) => pull::run(flags, environment).await,
            Verb::Search(flags) => search::run(flags, environment).await,
            Verb::Ls(flags) => listing::run(flags, environment).await,
            Verb::Rm(flags) => removal::run(flags, environment).await,
            Verb::Quantize(flags) => quantize::run(flags, environment).await,
        }
    });
    // A write that hangs must not hold up the end.
    runtime.shutdown_background();
    done
}

/// The hub as the environment names it.
fn hub(environment: &Environment) -> Result<Hub, HubError> {
    Hub::new(hub_settings(environment)?)
}

fn hub_settings(environment: &Environment) -> Result<Settings, HubError> {
    Settings::from_variables(|name| environment.variable(name))
}

/// The configuration that `mlxd serve` would have.
fn server_config(home: Home, environment: &Environment) -> Result<supervisor::Config, ConfigError> {
    config::resolve(config::Flags::at(home.folder()), environment.clone())
}
