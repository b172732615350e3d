//! Configuration: flags over the environment over `config.toml`, resolved once.
//!
//! The settings are in four groups: [`ServerSettings`], [`FleetSettings`], [`DownloadSettings`], and the gateway's own
//! [`GatewayConfig`]. [`layers`] fills a group by the names of its fields, so a setting without a flag is named
//! nowhere else here.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use downloads::DownloadSettings;
use ipc_proto::gateway::{ApiKeys, ConfigFault, GatewayConfig, KEYS_REQUIRED};
use ipc_proto::hub::HubConfig;
use layers::Layers;
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use supervisor::{Config, Policy};
use toml::Table;

mod backends;
mod downloads;
pub(crate) mod file;
mod layers;
pub(crate) mod live;
mod memory;
mod otlp;
pub(crate) mod wording;

/// Time that a folder of models has to answer at the start.
const FOLDER_LIMIT: Duration = Duration::from_secs(2);

/// Flags of `mlxd serve`.
#[derive(Debug, Clone, Default, clap::Args, Serialize)]
pub(crate) struct Flags {
    /// Address to listen on [default: localhost, which is 127.0.0.1 and ::1; environment: MLXD_HOST].
    #[arg(long)]
    host: Option<String>,
    /// Port to listen on, 0 for any free one [default: 10240; environment: MLXD_PORT].
    #[arg(long)]
    port: Option<u16>,
    /// Folder for database, sockets and models [default: ~/.mlxd; environment: MLXD_HOME].
    #[arg(long)]
    #[serde(skip)]
    home: Option<PathBuf>,
    /// A folder of models; may be given several times [default: HOME/models; environment: MLXD_MODELS, colon-separated].
    #[arg(long)]
    #[serde(skip)]
    models: Vec<PathBuf>,
    /// Memory that models may have together, such as 12GiB or 60% [default: 75% of the machine's; environment: MLXD_MEMORY].
    #[arg(long)]
    memory: Option<String>,
    /// Web pages of these origins may read answers: https://a.example,https://b.example, localhost (any port), or * [default:
    /// none; environment: MLXD_CORS_ORIGINS].
    #[arg(long)]
    cors_origins: Option<String>,
    /// Names besides localhost under which clients without a key may address the server: host.docker.internal,my-mac.local
    /// [default: none; environment: MLXD_ALLOWED_HOSTS].
    #[arg(long)]
    allowed_hosts: Option<String>,
}

impl Flags {
    /// No flags but the home folder.
    pub(crate) fn at(home: Option<PathBuf>) -> Self {
        Self { home, ..Self::default() }
    }
}

/// The variables that settings come from.
#[derive(Default, Clone)]
pub(crate) struct Environment {
    /// Variables named `MLXD_`. An empty one counts as unset.
    settings: BTreeMap<String, String>,
    user_home: Option<PathBuf>,
    /// The others, among which a provider's key may be.
    others: BTreeMap<String, String>,
}

/// Settings of the server's root process.
#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct ServerSettings {
    host: String,
    port: u16,
    /// Folders of models.
    models: Option<Vec<PathBuf>>,
    /// Folders of models if the file's `models` is a table.
    model_folders: Option<Vec<PathBuf>>,
}

impl Default for ServerSettings {
    fn default() -> Self {
        Self { host: "localhost".into(), port: 10240, models: None, model_folders: None }
    }
}

/// Settings that concern all models.
#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct FleetSettings {
    #[serde(deserialize_with = "memory::deserialize")]
    memory: Option<u64>,
    idle_seconds: Option<u32>,
    hang_seconds: u32,
}

impl Default for FleetSettings {
    fn default() -> Self {
        let Policy { memory, idle_seconds, hang_seconds, .. } = Policy::default();
        Self { memory, idle_seconds, hang_seconds }
    }
}

/// A wrong setting and its place.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    #[error("{}: {problem}", path.display())]
    File { path: PathBuf, problem: String },
    #[error("{name}: {problem}")]
    Value { name: String, problem: String },
    #[error(transparent)]
    Setting(#[from] serde::de::value::Error),
    #[error(transparent)]
    Gateway(#[from] ConfigFault),
    #[error("the settings of a process: {0}")]
    Document(#[from] serde_json::Error),
    #[error(
        "listening on {0} would let other machines in, and there is no API key and no password: make a key with `mlxd key add`, or \
         set a password with `mlxd login set`"
    )]
    Open(String),
}

impl Environment {
    /// Reads the process's environment. Variables that are not UTF-8 count as unset.
    pub(crate) fn read() -> Self {
        let mut variables = BTreeMap::new();
        for (name, value) in std::env::vars_os() {
            if let (Ok(name), Ok(value)) = (name.into_string(), value.into_string())
                && !value.is_empty()
            {
                variables.insert(name, value);
            }
        }
        let user_home = variables.remove("HOME").map(PathBuf::from);
        let (settings, others) = variables.into_iter().partition(|(name, _)| name.starts_with("MLXD_"));
        Self { settings, user_home, others }
    }

    /// A variable. An empty one counts as unset.
    pub(crate) fn variable(&self, name: &str) -> Option<String> {
        if name == "HOME" {
            return self.user_home.as_ref()?.to_str().map(str::to_owned);
        }
        self.settings.get(name).or_else(|| self.others.get(name)).cloned()
    }
}

/// The home folder, which contains the configuration file. Every path is absolute from here on.
pub(crate) fn home(flag: Option<PathBuf>, environment: &Environment) -> Result<PathBuf, ConfigError> {
    let variable = environment.settings.get("MLXD_HOME").map(PathBuf::from);
    let default = || Some(environment.user_home.as_ref()?.join(".mlxd"));
    let home = flag.or(variable).or_else(default);
    let home = home
        .ok_or(ConfigError::Value { name: "--home".into(), problem: "neither it nor HOME is set".into() })?;
    absolute("--home", &home)
}

/// The gateway's settings for a command on a home folder. A provider whose key is in a variable that is not set has none. Keys of
/// clients are left out.
pub(crate) fn gateway_settings(home: &Path, environment: &Environment) -> Result<GatewayConfig, ConfigError> {
    let path = home.join("config.toml");
    let mut file = file::read(&path)?;
    file::take_models(&mut file, &path)?;
    file::check_routes(&file, &path)?;
    backends::check(&file, &path)?;
    let mut layers = Layers { environment: environment.settings.clone(), file, path, ..Layers::default() };
    let mut gateway: GatewayConfig = layers.group()?;
    gateway.providers.read_set_keys(|name| environment.variable(name));
    gateway.api_keys = ApiKeys::default();
    gateway.check()?;
    Ok(gateway)
}

/// Checks a text that is to become `config.toml` at `path`. The variables of providers' keys are not looked up.
pub(crate) fn check(text: &str, path: &Path) -> Result<(), ConfigError> {
    let mut file = file::parse(text, path)?;
    file::take_models(&mut file, path)?;
    file::check_routes(&file, path)?;
    backends::check(&file, path)?;
    let mut layers = Layers { file, path: path.to_owned(), ..Layers::default() };
    layers.group::<ServerSettings>()?;
    layers.group::<FleetSettings>()?;
    layers.group::<DownloadSettings>()?;
    layers.group::<GatewayConfig>()?.check()?;
    layers.refuse_unknown_keys()
}

/// Combines flags, environment and file.
pub(crate) fn resolve(flags: Flags, environment: Environment) -> Result<Config, ConfigError> {
    let home = home(flags.home.clone(), &environment)?;
    let file = file::read(&home.join("config.toml"))?;
    resolve_file(flags, environment, home, file)
}

/// The flags as a layer.
fn flag_table(flags: &Flags) -> Result<Table, ConfigError> {
    Table::try_from(flags)
        .map_err(|problem| ConfigError::Value { name: "flags".into(), problem: problem.to_string() })
}

/// Combines flags and environment with what `config.toml` of the home has, or is to have.
fn resolve_file(
    flags: Flags,
    environment: Environment,
    home: PathBuf,
    mut file: Table,
) -> Result<Config, ConfigError> {
    let path = home.join("config.toml");
    let mut models = file::take_models(&mut file, &path)?;
    file::check_routes(&file, &path)?;
    backends::check(&file, &path)?;
    let mut layers = Layers {
        flags: flag_table(&flags)?,
        environment: environment.settings,
        file,
        path,
        keys: Vec::new(),
    };
    let server: ServerSettings = layers.group()?;
    let fleet: FleetSettings = layers.group()?;
    let downloads: DownloadSettings = layers.group()?;
    let mut gateway: GatewayConfig = layers.group()?;
    let variable =
        |name: &str| layers.environment.get(name).or_else(|| environment.others.get(name)).cloned();
    let unset = |problem| ConfigError::Value { name: "providers".into(), problem };
    gateway.providers.read_keys(variable).map_err(unset)?;
    let user_home = environment.user_home.as_ref().and_then(|home| home.to_str());
    let externals = backends::resolve(&gateway.backends, &mut models, user_home)?;
    otlp::read(&mut gateway, |name| environment.others.get(name).cloned())?;
    layers.refuse_unknown_keys()?;
    gateway.check()?;
    if server.host.trim().is_empty() {
        return Err(ConfigError::Value { name: "--host".into(), problem: "it is empty".into() });
    }
    // Other machines need a key or a session, even while there is none.
    gateway.require_login |= !is_loopback(&server.host);
    let variables = hub::PRIVATE_VARIABLES.iter().filter_map(|name| {
        let value = environment.others.get(*name)?;
        Some(((*name).to_owned(), value.clone().into()))
    });
    let hub = HubConfig { download_limit: downloads.download_limit, variables: variables.collect() };
    let policy = Policy {
        memory: fleet.memory,
        idle_seconds: fleet.idle_seconds,
        hang_seconds: fleet.hang_seconds.max(1),
        models,
    };
    let folders = Some(flags.models).filter(|folders| !folders.is_empty());
    let source = match &folders {
        Some(_) => "--models".to_owned(),
        None => layers.source("models").or_else(|| layers.source("model_folders")).unwrap_or_default(),
    };
    Ok(Config {
        models: match folders.or(server.models).or(server.model_folders) {
            Some(folders) => {
                folders.iter().map(|folder| existing(&source, folder)).collect::<Result<_, _>>()?
            }
            None => vec![home.join("models")],
        },
        host: server.host,
        port: server.port,
        home,
        policy,
        externals,
        drain_seconds: gateway.drain_seconds,
        gateway: serde_json::to_string(&gateway)?.into(),
        hub: serde_json::to_string(&hub)?.into(),
    })
}

/// Whether a server with this configuration would need a key or a session, and there is none: somebody has to set the first
/// password.
pub(crate) fn is_unclaimed(config: &Config) -> bool {
    let gateway: GatewayConfig = serde_json::from_str(config.gateway.expose_secret()).unwrap_or_default();
    gateway.require_login && gateway.api_keys.is_empty() && !config.home.join(KEYS_REQUIRED).exists()
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

fn absolute(name: &str, path: &Path) -> Result<PathBuf, ConfigError> {
    std::path::absolute(path).map_err(|e| ConfigError::Value { name: name.into(), problem: e.to_string() })
}

/// The path of a folder of models, which the setting at `source` names.
fn existing(source: &str, folder: &Path) -> Result<PathBuf, ConfigError> {
    let problem = format!("{} is no folder", folder.display());
    let path = absolute(source, folder)?;
    if may_be_folder(&path) { Ok(path) } else { Err(ConfigError::Value { name: source.into(), problem }) }
}

/// Whether the path is a folder, or does not answer. The supervisor then goes on without it.
fn may_be_folder(path: &Path) -> bool {
    let (answer, answered) = std::sync::mpsc::channel();
    let asked = path.to_owned();
    let ask = move || {
        let _ = answer.send(asked.is_dir());
    };
    let started = std::thread::Builder::new().name("model-folder".into()).spawn(ask).is_ok();
    match answered.recv_timeout(FOLDER_LIMIT) {
        Ok(is_folder) => is_folder,
        Err(_) => started,
    }
}

#[cfg(test)]
mod tests;
