//! Configuration: file < environment < flags, resolved once.

use std::collections::BTreeMap;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use ipc_proto::supervisor::ModelSettings;
use serde::Deserialize;
use supervisor::{Config, Policy, Secret};

mod memory;

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
    /// Memory that models may have together, such as 12GiB or 60% [default: 75% of the machine's; environment: MLXD_MEMORY].
    #[arg(long)]
    memory: Option<String>,
    /// Web pages of these origins may read answers: https://a.example,https://b.example, or * [default: none; environment:
    /// MLXD_CORS_ORIGINS].
    #[arg(long)]
    cors_origins: Option<String>,
}

/// What the environment says.
#[derive(Debug, Default)]
pub(crate) struct Environment {
    host: Option<String>,
    port: Option<String>,
    home: Option<PathBuf>,
    models: Option<String>,
    memory: Option<String>,
    idle_seconds: Option<String>,
    hang_seconds: Option<String>,
    recoveries: Option<String>,
    drain_seconds: Option<String>,
    response_days: Option<String>,
    cors_origins: Option<String>,
    api_keys: Option<Secret>,
    user_home: Option<PathBuf>,
}

/// `<home>/config.toml`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct File {
    host: Option<String>,
    port: Option<u16>,
    /// Folders of models; or, as a table, settings of single models by id.
    models: Option<toml::Value>,
    /// Folders of models, where `models` is a table.
    model_folders: Option<Vec<PathBuf>>,
    memory: Option<String>,
    idle_seconds: Option<u32>,
    hang_seconds: Option<u32>,
    /// Times a request may be given to another worker.
    recoveries: Option<u32>,
    /// Seconds for which a gateway that was replaced keeps its requests.
    drain_seconds: Option<u32>,
    /// Days for which responses are kept that clients ask to keep.
    response_days: Option<u32>,
    /// Origins of web pages that may read answers.
    cors_origins: Option<Vec<String>>,
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

/// How long a gateway that was replaced keeps its requests, where nobody says.
const DRAIN_SECONDS: u32 = 600;

impl Environment {
    /// Reads the process's environment.
    pub(crate) fn read() -> Self {
        let text = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        Self {
            host: text("MLXD_HOST"),
            port: text("MLXD_PORT"),
            home: text("MLXD_HOME").map(PathBuf::from),
            models: text("MLXD_MODELS"),
            memory: text("MLXD_MEMORY"),
            idle_seconds: text("MLXD_IDLE_SECONDS"),
            hang_seconds: text("MLXD_HANG_SECONDS"),
            recoveries: text("MLXD_RECOVERIES"),
            drain_seconds: text("MLXD_DRAIN_SECONDS"),
            response_days: text("MLXD_RESPONSE_DAYS"),
            cors_origins: text("MLXD_CORS_ORIGINS"),
            api_keys: text("MLXD_API_KEYS").map(Secret::new),
            user_home: text("HOME").map(PathBuf::from),
        }
    }
}

/// The home folder, which the configuration file lies in. Every path is absolute from here on.
pub(crate) fn home(flag: Option<PathBuf>, environment: &Environment) -> Result<PathBuf, ConfigError> {
    let default = || Some(environment.user_home.as_ref()?.join(".mlxd"));
    let home = flag.or_else(|| environment.home.clone()).or_else(default);
    let home =
        home.ok_or(ConfigError::Value { name: "--home", problem: "neither it nor HOME is set".into() })?;
    absolute("--home", &home)
}

/// Puts the three together.
pub(crate) fn resolve(flags: Flags, environment: Environment) -> Result<Config, ConfigError> {
    let home = home(flags.home, &environment)?;
    let path = home.join("config.toml");
    let mut file = File::read(&path)?;
    let (folders, settings) = of_models(file.models.take(), &path)?;
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
    let models = Some(flags.models).filter(|models| !models.is_empty()).or(from_environment);
    let models = match models.or(folders).or(file.model_folders) {
        Some(models) => models.iter().map(|folder| existing(folder)).collect::<Result<_, _>>()?,
        None => vec![home.join("models")],
    };
    let memory = [("--memory", flags.memory), ("MLXD_MEMORY", environment.memory), ("memory", file.memory)];
    let memory = memory.into_iter().find_map(|(name, text)| Some((name, text?)));
    let policy = Policy {
        memory: memory.map(|(name, text)| memory::parse(name, &text)).transpose()?,
        idle_seconds: seconds("MLXD_IDLE_SECONDS", environment.idle_seconds)?.or(file.idle_seconds),
        hang_seconds: seconds("MLXD_HANG_SECONDS", environment.hang_seconds)?
            .or(file.hang_seconds)
            .map_or(Policy::default().hang_seconds, |seconds| seconds.max(1)),
        models: settings,
    };
    let recoveries = number("MLXD_RECOVERIES", "times", environment.recoveries)?.or(file.recoveries);
    let drain_seconds = seconds("MLXD_DRAIN_SECONDS", environment.drain_seconds)?
        .or(file.drain_seconds)
        .unwrap_or(DRAIN_SECONDS);
    let response_days =
        number("MLXD_RESPONSE_DAYS", "days", environment.response_days)?.or(file.response_days);
    if response_days.is_some_and(|days| !(1..=36_500).contains(&days)) {
        let problem = "must lie between 1 and 36500".into();
        return Err(ConfigError::Value { name: "response_days", problem });
    }
    let cors_origins =
        flags.cors_origins.or(environment.cors_origins).or(file.cors_origins.map(|list| list.join(",")));
    if let Some(list) = &cors_origins {
        origins(list)?;
    }
    Ok(Config {
        host,
        port,
        home,
        models,
        api_keys,
        policy,
        recoveries,
        drain_seconds,
        response_days,
        cors_origins,
    })
}

type OfModels = (Option<Vec<PathBuf>>, BTreeMap<String, ModelSettings>);

/// `models` of the file: a list of folders, or a table of settings.
fn of_models(value: Option<toml::Value>, path: &Path) -> Result<OfModels, ConfigError> {
    let problem = |problem: String| ConfigError::File { path: path.to_owned(), problem };
    let table = match value {
        None => return Ok((None, BTreeMap::new())),
        Some(toml::Value::Table(table)) => table,
        Some(folders) => {
            let folders = folders.try_into().map_err(|e| problem(format!("models: {e}")))?;
            return Ok((Some(folders), BTreeMap::new()));
        }
    };
    let mut settings = BTreeMap::new();
    for (id, value) in table {
        let told = |text: String| problem(format!("models.\"{id}\": {text}"));
        let own: ModelSettings = value.try_into().map_err(|e: toml::de::Error| told(e.to_string()))?;
        own.check().map_err(|e| told(e.to_string()))?;
        settings.insert(id, own);
    }
    Ok((None, settings))
}

/// Checks a list of origins; the gateway, which reads it, would end again and again.
fn origins(list: &str) -> Result<(), ConfigError> {
    let entries: Vec<&str> = list.split(',').map(str::trim).filter(|entry| !entry.is_empty()).collect();
    let origin = |entry: &&&str| {
        let host = entry.split_once("://").map(|(_, host)| host);
        host.is_some_and(|host| !host.is_empty() && !host.contains(['/', '*', '?', '#']))
    };
    match entries.iter().find(|entry| !origin(entry)) {
        Some(wrong) if entries != ["*"] => {
            let problem = format!("\"{wrong}\" is no origin, such as https://chat.example");
            Err(ConfigError::Value { name: "cors_origins", problem })
        }
        _ => Ok(()),
    }
}

fn seconds(name: &'static str, text: Option<String>) -> Result<Option<u32>, ConfigError> {
    number(name, "seconds", text)
}

fn number(name: &'static str, of: &str, text: Option<String>) -> Result<Option<u32>, ConfigError> {
    let parse = |text: String| {
        let problem = format!("\"{text}\" is no number of {of}");
        text.parse().map_err(|_| ConfigError::Value { name, problem })
    };
    text.map(parse).transpose()
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
