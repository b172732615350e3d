//! `mlxd launch`: starts a coding agent with this server, in a profile of its own.
//!
//! The profile is a folder in the server's home. The agent finds it by variables or flags that only its process gets, so the user's
//! own configuration is neither read for the server's address nor written. [`table`] has the agents, for the web UI too.

use std::collections::BTreeMap;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::client::{ClientError, Home};
use crate::config::{self, ConfigError, Environment};
use crate::server::{self, ServerError};

mod api;
mod key;
mod offer;
mod print;
mod profile;
mod program;
mod setup;
mod table;

use api::Api;
use key::{Access, Key};
use offer::Offer;
use profile::Profile;
use setup::{Setup, Values};
use table::Client;

/// Options of the command.
#[derive(Debug, clap::Args)]
pub(crate) struct Flags {
    /// The agent: claude, codex, opencode, pi, crush, goose, aider, qwen-code, copilot or zed.
    client: String,
    /// The model: an id, an alias, a provider's model or a route [default: the one that is there, or the one that is loaded].
    #[arg(long, short)]
    model: Option<String>,
    /// Show the files, variables and command, and do nothing.
    #[arg(long, conflicts_with = "remove")]
    print: bool,
    /// Remove the agent's profile and its key.
    #[arg(long, conflicts_with_all = ["model", "arguments"])]
    remove: bool,
    #[command(flatten)]
    home: Home,
    /// Arguments of the agent.
    #[arg(last = true, value_name = "ARGS")]
    arguments: Vec<String>,
}

/// A reason why the command failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LaunchError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error(transparent)]
    Server(#[from] ServerError),
    #[error("{0}")]
    Refused(String),
    /// The server has no such thing.
    #[error("{0}")]
    Missing(String),
    #[error("the server cannot be reached: {0}")]
    Unreachable(String),
    #[error("the table of agents: {0}")]
    Table(#[from] serde_json::Error),
    #[error("{}: {cause}", path.display())]
    File { path: PathBuf, cause: std::io::Error },
    #[error("{program} cannot be started: {cause}")]
    Start { program: String, cause: std::io::Error },
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// Starts the agent in the place of this process, or shows or removes what it would get.
pub(crate) fn run(flags: Flags, environment: &Environment) -> Result<(), LaunchError> {
    let client = table::find(&flags.client)?;
    let home = config::home(flags.home.folder(), environment)?;
    let profile = Profile::new(&home, &client.id);
    if flags.remove {
        return remove(&client, &profile, &home);
    }
    if flags.print {
        let planned = plan(&client, &profile, &home, flags.model.as_deref(), environment)?;
        let setup = Setup::new(&client, &planned.values, flags.arguments);
        write!(std::io::stdout().lock(), "{}", print::text(&setup, &profile, &planned.notes))?;
        return Ok(());
    }
    let program = program::find(&client, environment)?;
    let api = Api::new(server::ensure(&home)?);
    let key = key::usable(&api, &client, &profile, &home, environment)?;
    let secret = key.as_ref().map(Key::secret);
    let offer = offer::choose(&offer::list(&api, secret)?, flags.model.as_deref(), &api, secret)?;
    let values = Values::new(&api.url, &offer, secret, profile.folder());
    let setup = Setup::new(&client, &values, flags.arguments);
    profile.write(&setup, |path| api.fetch(path, secret))?;
    Err(start(&program, &setup, environment))
}

/// Becomes the agent. Returns only if that fails.
fn start(program: &Path, setup: &Setup, environment: &Environment) -> LaunchError {
    let mut command = Command::new(program);
    command.args(&setup.arguments).envs(&setup.variables).envs(without_proxy(environment));
    for name in &setup.unset {
        command.env_remove(name);
    }
    LaunchError::Start { program: program.display().to_string(), cause: command.exec() }
}

/// The variables that keep requests to this machine from a proxy, if one is set.
fn without_proxy(environment: &Environment) -> BTreeMap<&'static str, String> {
    let proxies = ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];
    if proxies.iter().all(|name| environment.variable(name).is_none()) {
        return BTreeMap::new();
    }
    let exceptions = |name| match environment.variable(name) {
        Some(hosts) => format!("{hosts},127.0.0.1,localhost"),
        None => "127.0.0.1,localhost".to_owned(),
    };
    ["NO_PROXY", "no_proxy"].into_iter().map(|name| (name, exceptions(name))).collect()
}

/// What would be done, and sentences about it.
struct Plan {
    values: Values,
    notes: Vec<String>,
}

/// Plans without a change: no server starts, and no key is made.
fn plan(
    client: &Client,
    profile: &Profile,
    home: &Path,
    model: Option<&str>,
    environment: &Environment,
) -> Result<Plan, LaunchError> {
    let mut notes = Vec::new();
    if let Err(missing) = program::find(client, environment) {
        notes.push(missing.to_string());
    }
    let (url, offer, has_key) = match server::running(home)? {
        Some(url) => {
            let api = Api::new(url);
            let choose = |key| offer::choose(&offer::list(&api, key)?, model, &api, key);
            let (offer, has_key) = match key::access(&api, profile, environment)? {
                Access::Open => (choose(None)?, false),
                Access::With(key) => (choose(Some(key.secret()))?, true),
                Access::Closed => {
                    notes.push("the server asks for a key: one is made for this agent".to_owned());
                    (Offer::unknown(model.unwrap_or("MODEL")), true)
                }
            };
            (api.url, offer, has_key)
        }
        None => {
            notes.push("no server runs: one is started".to_owned());
            let config = config::resolve(config::Flags::at(Some(home.to_owned())), environment.clone())?;
            let host = if config.host == "localhost" { "127.0.0.1" } else { &config.host };
            let offer = offer::on_disk(&config, model)?;
            (format!("http://{host}:{}", config.port), offer, false)
        }
    };
    let secret = has_key.then_some(print::HIDDEN);
    Ok(Plan { values: Values::new(&url, &offer, secret, profile.folder()), notes })
}

/// Removes the profile. A key that was made for it is refused from now on.
fn remove(client: &Client, profile: &Profile, home: &Path) -> Result<(), LaunchError> {
    let name = &client.name;
    if !profile.folder().exists() {
        return Err(LaunchError::Refused(format!("there is no profile of {name} in {}", home.display())));
    }
    let revoked = match key::saved(profile)? {
        Some(key) => {
            key.revoke(home)?;
            ", and its key is revoked"
        }
        None => "",
    };
    profile.remove()?;
    writeln!(
        std::io::stdout().lock(),
        "the profile of {name} is removed{revoked}: {}",
        profile.folder().display()
    )?;
    Ok(())
}

#[cfg(test)]
mod tests;
