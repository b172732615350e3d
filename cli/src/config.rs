//! Configuration: file < environment < flags, resolved once.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use supervisor::{Config, Secret};

/// Flags of `mlxd serve`.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct Flags {
    /// Address to listen on [default: 127.0.0.1; environment: MLXD_HOST].
    #[arg(long)]
    host: Option<String>,
    /// Port to listen on, 0 for any free one [default: 10240; environment: MLXD_PORT].
    #[arg(long)]
    port: Option<u16>,
    /// Folder for database, sockets and models [default: ~/.mlxd; environment: MLXD_HOME].
    #[arg(long)]
    home: Option<PathBuf>,
    /// A folder of models; may be given several times [default: HOME/models; environment: MLXD_MODELS, colon-separated].
    #[arg(long)]
    models: Vec<PathBuf>,
}

/// What the environment says.
#[derive(Debug, Default)]
pub(crate) struct Environment {
    host: Option<String>,
    port: Option<String>,
    home: Option<PathBuf>,
    models: Option<String>,
    api_keys: Option<Secret>,
    user_home: Option<PathBuf>,
}

/// `<home>/config.toml`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct File {
    host: Option<String>,
    port: Option<u16>,
    models: Option<Vec<PathBuf>>,
    api_keys: Option<Vec<String>>,
}

/// What is wrong, and where.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    #[error("{}: {problem}", path.display())]
    File { path: PathBuf, problem: String },
    #[error("{name}: {problem}")]
    Value { name: &'static str, problem: String },
    #[error(
        "listening on {0} would let other machines in, and no API key is configured: set MLXD_API_KEYS or api_keys in \
         config.toml, or listen on 127.0.0.1"
    )]
    Open(String),
}

impl Environment {
    /// Reads the process's environment.
    pub(crate) fn read() -> Self {
        let text = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        Self {
            host: text("MLXD_HOST"),
            port: text("MLXD_PORT"),
            home: text("MLXD_HOME").map(PathBuf::from),
            models: text("MLXD_MODELS"),
            api_keys: text("MLXD_API_KEYS").map(Secret::new),
            user_home: text("HOME").map(PathBuf::from),
        }
    }
}

/// Puts the three together.
pub(crate) fn resolve(flags: Flags, environment: Environment) -> Result<Config, ConfigError> {
    let home = flags.home.or(environment.home).or_else(|| Some(environment.user_home?.join(".mlxd")));
    let home =
        home.ok_or(ConfigError::Value { name: "--home", problem: "neither it nor HOME is set".into() })?;
    // Children are started from anywhere: every path is absolute from here on.
    let home = absolute("--home", &home)?;
    let file = File::read(&home.join("config.toml"))?;
    let host = flags.host.or(environment.host).or(file.host).unwrap_or_else(|| "127.0.0.1".into());
    let port = match (flags.port, environment.port) {
        (Some(port), _) => port,
        (None, Some(text)) => text.parse().map_err(|_| ConfigError::Value {
            name: "MLXD_PORT",
            problem: format!("\"{text}\" is no port (0 to 65535)"),
        })?,
        (None, None) => file.port.unwrap_or(10240),
    };
    let api_keys =
        environment.api_keys.or(file.api_keys.map(|keys| Secret::new(keys.join(",")))).unwrap_or_default();
    if api_keys.is_empty() && !is_loopback(&host) {
        return Err(ConfigError::Open(host));
    }
    let from_environment = environment.models.map(|list| list.split(':').map(PathBuf::from).collect());
    let models = Some(flags.models).filter(|models| !models.is_empty()).or(from_environment).or(file.models);
    let models = match models {
        Some(models) => models.iter().map(|folder| existing(folder)).collect::<Result<_, _>>()?,
        None => vec![home.join("models")],
    };
    Ok(Config { host, port, home, models, api_keys })
}

impl File {
    fn read(path: &Path) -> Result<Self, ConfigError> {
        let problem = |problem: String| ConfigError::File { path: path.to_owned(), problem };
        match fs::read_to_string(path) {
            Ok(text) => toml::from_str(&text).map_err(|e| problem(e.to_string())),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(e) => Err(problem(e.to_string())),
        }
    }
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

fn absolute(name: &'static str, path: &Path) -> Result<PathBuf, ConfigError> {
    std::path::absolute(path).map_err(|e| ConfigError::Value { name, problem: e.to_string() })
}

fn existing(folder: &Path) -> Result<PathBuf, ConfigError> {
    let problem = format!("{} is no folder", folder.display());
    let path = absolute("--models", folder)?;
    if path.is_dir() { Ok(path) } else { Err(ConfigError::Value { name: "--models", problem }) }
}

#[cfg(test)]
mod tests;
