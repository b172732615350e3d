//! Commands for a running server, over its control socket.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ipc_proto::socket::{self, Channel};
use ipc_proto::supervisor::{KeepAlive, ModelEntry, Restart, SupervisorClient, Want};
use tarpc::client::RpcError;

use crate::config::{self, ConfigError, Environment};
use crate::prompt::Request;
use crate::{keys, login, prompt, providers, requests, routes, secrets, settings, show, table};

/// Limit of a call. A model of hundreds of gigabytes takes long to load.
const PATIENCE: Duration = Duration::from_secs(3600);
/// Time that a server has to stop.
const STOPPING: Duration = Duration::from_secs(30);

/// Commands for a running server.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Verb {
    /// List the loaded models and their memory.
    Ps {
        /// All models on disk, and those that failed more than ten minutes ago.
        #[arg(long, short)]
        all: bool,
        #[command(flatten)]
        home: Home,
    },
    /// Show facts about a model, or its prompt for a conversation.
    Show {
        /// The id or alias.
        model: String,
        /// Show the prompt for this file: a chat request, a list of messages, or the text of a user message; - for standard
        /// input. The prompt goes to standard output, and an explanation to standard error.
        #[arg(long, value_name = "FILE")]
        prompt: Option<PathBuf>,
        /// Show the token ids instead, each with its text.
        #[arg(long, requires = "prompt")]
        ids: bool,
        /// Show everything about the prompt instead, as JSON.
        #[arg(long, requires = "prompt", conflicts_with = "ids")]
        json: bool,
        #[command(flatten)]
        home: Home,
    },
    /// Load a model and return once it is ready.
    Load {
        /// The id or alias.
        model: String,
        /// Seconds to keep the model when it is idle; -1 for ever.
        #[arg(long, allow_negative_numbers = true, value_parser = clap::value_parser!(i64).range(-1..=i64::from(u32::MAX)))]
        keep_alive: Option<i64>,
        #[command(flatten)]
        home: Home,
    },
    /// Unload a model and return once its memory is free.
    Unload {
        /// The id or alias.
        model: String,
        /// Abort running requests instead of letting them finish.
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        home: Home,
    },
    /// Replace a model's processes or the gateway without refusing a request.
    #[command(group = clap::ArgGroup::new("restarted").required(true).args(["model", "gateway"]))]
    Restart {
        /// The model's id or alias.
        model: Option<String>,
        /// Restart the gateway instead.
        #[arg(long)]
        gateway: bool,
        #[command(flatten)]
        home: Home,
    },
    /// Change a model's settings, or show them. The documentation lists the keys; KEY= without a value resets a setting.
    Set {
        /// The id or alias.
        model: String,
        /// For example context=8192, pin=true, aliases=one,two.
        #[arg(value_name = "KEY=VALUE")]
        changes: Vec<String>,
        #[command(flatten)]
        home: Home,
    },
    /// Stop the server and all its processes.
    Stop {
        #[command(flatten)]
        home: Home,
    },
}

/// Commands on a home folder, with or without a running server.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum FolderVerb {
    /// Make, list or revoke API keys. Needs no running server.
    #[command(subcommand)]
    Key(keys::KeyVerb),
    /// Set the password of the web UI, print a one-time link, or list who is signed in. Needs no running server.
    #[command(subcommand)]
    Login(login::LoginVerb),
    /// Make, list, test, change or remove providers. Needs no running server.
    #[command(subcommand)]
    Provider(providers::ProviderVerb),
    /// List, replace or explain routes. Needs no running server.
    #[command(subcommand)]
    Route(routes::RouteVerb),
    /// List, export or follow ended requests.
    #[command(subcommand)]
    Requests(requests::RequestVerb),
    /// Replace the master key, which seals the API keys of providers.
    #[command(subcommand)]
    Secrets(secrets::SecretVerb),
}

/// Selects the server.
#[derive(Debug, clap::Args)]
pub(crate) struct Home {
    /// The server's home folder [default: ~/.mlxd; environment: MLXD_HOME].
    #[arg(long)]
    home: Option<PathBuf>,
}

impl Home {
    /// The folder of the flag, if it was given.
    pub(crate) fn folder(self) -> Option<PathBuf> {
        self.home
    }
}

/// A reason why a command failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("no server runs with the home {}: start one with `mlxd serve`", .0.display())]
    NotRunning(PathBuf),
    #[error("the server cannot be reached: {0}")]
    Unreachable(std::io::Error),
    #[error("the server went away: {0}")]
    Lost(#[from] RpcError),
    #[error("{0}")]
    Refused(#[from] ipc_proto::Error),
    #[error("{0}")]
    Settings(String),
    #[error("{}: {cause}", file.display())]
    File { file: PathBuf, cause: std::io::Error },
    #[error("{0}")]
    Gateway(String),
    #[error("the server does not end within {} s", STOPPING.as_secs())]
    StillThere,
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// The output of a command.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    /// For standard output.
    pub(crate) text: String,
    /// For standard error.
    pub(crate) note: String,
}

impl From<String> for Answer {
    fn from(text: String) -> Self {
        Self { text, ..Self::default() }
    }
}

/// Runs a command and returns its output.
pub(crate) fn run(verb: Verb, environment: &Environment) -> Result<Answer, ClientError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(execute(verb, environment))
}

/// Runs a command on a home folder and returns its output.
pub(crate) fn run_on_folder(verb: FolderVerb, environment: &Environment) -> Result<Answer, ClientError> {
    match verb {
        FolderVerb::Key(verb) => keys::run(verb, environment),
        FolderVerb::Login(verb) => login::run(verb, environment),
        FolderVerb::Provider(verb) => providers::run(verb, environment),
        FolderVerb::Route(verb) => routes::run(verb, environment),
        FolderVerb::Requests(verb) => requests::run(verb, environment),
        FolderVerb::Secrets(verb) => secrets::run(verb, environment),
    }
}

async fn execute(verb: Verb, environment: &Environment) -> Result<Answer, ClientError> {
    let connect_to = |home: Home| async {
        let home = config::home(home.home, environment)?;
        connect(&home).await
    };
    let text = match verb {
        Verb::Show { model, prompt: Some(file), ids, json, home } => {
            let home = config::home(home.home, environment)?;
            // Fails if no server runs.
            connect(&home).await?;
            return show_prompt(&home, &model, &file, (ids, json));
        }
        Verb::Show { model, prompt: None, home, .. } => facts(&connect_to(home).await?, model).await?,
        Verb::Ps { all, home } => {
            let server = connect_to(home).await?;
            let (models, pool) = (server.models(context()).await?, server.pool(context()).await?);
            let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
            table::models(&models, all, now) + &table::pool(&pool)
        }
        Verb::Load { model, keep_alive, home } => {
            let keep_alive = keep_alive.map(|seconds| match u32::try_from(seconds) {
                Ok(seconds) => KeepAlive::Seconds(seconds),
                Err(_) => KeepAlive::Forever,
            });
            let want = Want { model: model.clone(), keep_alive, ..Want::default() };
            let start = Instant::now();
            let workers = connect_to(home).await?.ensure_ready(context(), want).await??;
            let architecture = workers.first().map_or("", |worker| &worker.model.architecture);
            format!("{model} ({architecture}) is ready after {:.1} s\n", start.elapsed().as_secs_f64())
        }
        Verb::Unload { model, force, home } => {
            connect_to(home).await?.unload(context(), model.clone(), force).await??;
            format!("{model} is unloaded\n")
        }
        Verb::Restart { model, home, .. } => {
            let (what, text) = match model {
                Some(model) => (Restart::Model(model.clone()), format!("{model} is restarted\n")),
                None => (Restart::Gateway, "the gateway is restarted\n".to_owned()),
            };
            connect_to(home).await?.restart(context(), what).await??;
            text
        }
        Verb::Set { model, changes, home } => {
            return set(&connect_to(home).await?, model, &changes).await;
        }
        Verb::Stop { home } => {
            let home = config::home(home.home, environment)?;
            connect(&home).await?.stop(context()).await?;
            wait_for_exit(&home).await?;
            "stopped\n".into()
        }
    };
    Ok(text.into())
}

/// Returns what is known of a model.
async fn facts(server: &SupervisorClient, model: String) -> Result<String, ClientError> {
    // Fails if no model has that name.
    let settings = server.settings(context(), model.clone()).await??;
    let models = server.models(context()).await?;
    let matches = |entry: &&ModelEntry| entry.id == model || entry.aliases.contains(&model);
    let entry = models.iter().find(matches).cloned().unwrap_or_default();
    show::facts(&entry, &settings).map_err(ClientError::Settings)
}

/// Changes a model's settings and returns them.
async fn set(server: &SupervisorClient, model: String, changes: &[String]) -> Result<Answer, ClientError> {
    let before = server.settings(context(), model.clone()).await??;
    if changes.is_empty() {
        return Ok(settings::to_toml(&before).map_err(ClientError::Settings)?.into());
    }
    let entry = server.model(context(), model).await??;
    let after = settings::apply(&before, changes).map_err(ClientError::Settings)?;
    server.set_settings(context(), entry.id.clone(), after.clone()).await??;
    let waiting = if entry.workers.is_empty() { Vec::new() } else { after.waiting_for_restart(&before) };
    let note = settings::restart_note(&entry.id, &waiting);
    Ok(Answer { text: settings::to_toml(&after).map_err(ClientError::Settings)?, note })
}

/// A model's prompt for the contents of a file; with `ids` its token ids, with `json` the gateway's answer.
fn show_prompt(
    home: &Path,
    model: &str,
    file: &Path,
    (ids, json): (bool, bool),
) -> Result<Answer, ClientError> {
    let request = Request::from_text(model, &prompt::read_input(file)?);
    let answer = prompt::render(&supervisor::control_socket(home)?, &request, ids)?;
    if json {
        return Ok(answer.into());
    }
    let rendered: show::Rendered = serde_json::from_str(&answer).map_err(std::io::Error::from)?;
    let note = rendered.note(request.form);
    Ok(Answer { text: if ids { rendered.ids() } else { rendered.prompt }, note })
}

/// Whether a server uses `home`.
///
/// # Errors
/// One is there, and does not answer.
pub(crate) fn is_running(home: &Path) -> Result<bool, ClientError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match runtime.block_on(connect(home)) {
        Ok(_) => Ok(true),
        Err(ClientError::NotRunning(_)) => Ok(false),
        Err(error) => Err(error),
    }
}

/// The models of the server that uses `home`.
///
/// # Errors
/// None runs, or it goes away.
pub(crate) async fn models(home: &Path) -> Result<Vec<ModelEntry>, ClientError> {
    Ok(connect(home).await?.models(context()).await?)
}

/// Unloads a model of the server that uses `home`. Returns whether it was loaded.
///
/// # Errors
/// The server goes away, or refuses.
pub(crate) async fn unload_if_running(home: &Path, model: &str) -> Result<bool, ClientError> {
    let server = match connect(home).await {
        Err(ClientError::NotRunning(_)) => return Ok(false),
        server => server?,
    };
    let models = server.models(context()).await?;
    if !models.iter().any(|entry| entry.id == model && !entry.workers.is_empty()) {
        return Ok(false);
    }
    server.unload(context(), model.to_owned(), false).await??;
    Ok(true)
}

async fn connect(home: &Path) -> Result<SupervisorClient, ClientError> {
    let not_running = || ClientError::NotRunning(home.to_owned());
    let path = supervisor::control_socket(home).map_err(|_| not_running())?;
    match socket::connect(&path, Channel::Control).await {
        Ok(stream) => {
            Ok(SupervisorClient::new(tarpc::client::Config::default(), socket::framed(stream)).spawn())
        }
        Err(e)
            if matches!(e.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::ConnectionRefused) =>
        {
            Err(not_running())
        }
        Err(e) => Err(ClientError::Unreachable(e)),
    }
}

/// Waits until the server has removed its socket, its last act.
async fn wait_for_exit(home: &Path) -> Result<(), ClientError> {
    let start = Instant::now();
    while supervisor::control_socket(home).is_ok_and(|path| path.exists()) {
        if start.elapsed() > STOPPING {
            return Err(ClientError::StillThere);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

fn context() -> tarpc::context::Context {
    let mut context = tarpc::context::current();
    context.deadline = Instant::now() + PATIENCE;
    context
}
