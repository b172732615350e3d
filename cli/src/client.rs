//! Verbs that talk to a running server, over its control socket.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ipc_proto::socket::{self, Channel};
use ipc_proto::supervisor::{KeepAlive, ModelEntry, Restart, SupervisorClient, Want};
use tarpc::client::RpcError;

use crate::config::{self, ConfigError, Environment};
use crate::prompt::Request;
use crate::{prompt, settings, show, table};

/// A model of hundreds of gigabytes loads for a while.
const PATIENCE: Duration = Duration::from_secs(3600);
/// How long a server may take to end.
const STOPPING: Duration = Duration::from_secs(30);

/// What can be asked of a running server.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Verb {
    /// List the models that are loaded, and who has how much memory.
    Ps {
        /// All models on disk.
        #[arg(long, short)]
        all: bool,
        #[command(flatten)]
        home: Home,
    },
    /// Show what is known of a model, or the prompt that it reads for a conversation.
    Show {
        /// Its id or alias.
        model: String,
        /// The prompt of what this file holds: a chat request, a list of messages, or a text that the user says; - for standard
        /// input. The prompt goes to standard output, and how it came to be to standard error.
        #[arg(long, value_name = "FILE")]
        prompt: Option<PathBuf>,
        /// Its token ids instead, with the text of each.
        #[arg(long, requires = "prompt")]
        ids: bool,
        /// All that is known of it instead, as JSON.
        #[arg(long, requires = "prompt", conflicts_with = "ids")]
        json: bool,
        #[command(flatten)]
        home: Home,
    },
    /// Load a model, and return when it serves.
    Load {
        /// Its id or alias.
        model: String,
        /// Keep it for so many seconds when it is idle; -1 for ever.
        #[arg(long, allow_negative_numbers = true, value_parser = clap::value_parser!(i64).range(-1..=i64::from(u32::MAX)))]
        keep_alive: Option<i64>,
        #[command(flatten)]
        home: Home,
    },
    /// Unload a model, and return when its memory is back.
    Unload {
        /// Its id or alias.
        model: String,
        /// Cut running requests off instead of letting them end.
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        home: Home,
    },
    /// Start a model's process or the gateway anew, without refusing a request.
    Restart {
        /// The model's id or alias.
        #[arg(required_unless_present = "gateway")]
        model: Option<String>,
        /// The gateway instead.
        #[arg(long, conflicts_with = "model")]
        gateway: bool,
        #[command(flatten)]
        home: Home,
    },
    /// Change a model's settings, or show them. What can be set stands in the README; nothing behind the sign takes it back.
    Set {
        /// Its id or alias.
        model: String,
        /// Such as context=8192, pin=true, aliases=one,two.
        #[arg(value_name = "KEY=VALUE")]
        changes: Vec<String>,
        #[command(flatten)]
        home: Home,
    },
    /// Stop the server and everything it runs.
    Stop {
        #[command(flatten)]
        home: Home,
    },
}

/// Which server.
#[derive(Debug, clap::Args)]
pub(crate) struct Home {
    /// The server's home folder [default: ~/.mlxd; environment: MLXD_HOME].
    #[arg(long)]
    home: Option<PathBuf>,
}

/// Why a verb could not be carried out.
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
    Prompt(String),
    #[error("the server does not end within {} s", STOPPING.as_secs())]
    StillThere,
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// What a verb says.
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

/// Does what `verb` says; returns what is to be shown.
pub(crate) fn run(verb: Verb, environment: &Environment) -> Result<Answer, ClientError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(carry_out(verb, environment))
}

async fn carry_out(verb: Verb, environment: &Environment) -> Result<Answer, ClientError> {
    let reach = |home: Home| async {
        let home = config::home(home.home, environment)?;
        connect(&home).await
    };
    let text = match verb {
        Verb::Show { model, prompt: Some(file), ids, json, home } => {
            let home = config::home(home.home, environment)?;
            // An error where no server runs.
            connect(&home).await?;
            return show_prompt(&home, &model, &file, (ids, json));
        }
        Verb::Show { model, prompt: None, home, .. } => {
            let server = reach(home).await?;
            // An error where there is no model of that name.
            let settings = server.settings(context(), model.clone()).await??;
            let models = server.models(context()).await?;
            let named = |entry: &&ModelEntry| entry.id == model || entry.aliases.contains(&model);
            let entry = models.iter().find(named).cloned().unwrap_or_default();
            show::facts(&entry, &settings).map_err(ClientError::Settings)?
        }
        Verb::Ps { all, home } => {
            let server = reach(home).await?;
            let (models, pool) = (server.models(context()).await?, server.pool(context()).await?);
            table::models(&models, all) + &table::pool(&pool)
        }
        Verb::Load { model, keep_alive, home } => {
            let keep_alive = keep_alive.map(|seconds| match u32::try_from(seconds) {
                Ok(seconds) => KeepAlive::Seconds(seconds),
                Err(_) => KeepAlive::Forever,
            });
            let want = Want { model: model.clone(), keep_alive, ..Want::default() };
            let start = Instant::now();
            let workers = reach(home).await?.ensure_ready(context(), want).await??;
            let architecture = workers.first().map_or("", |worker| &worker.model.architecture);
            format!("{model} ({architecture}) is ready after {:.1} s\n", start.elapsed().as_secs_f64())
        }
        Verb::Unload { model, force, home } => {
            reach(home).await?.unload(context(), model.clone(), force).await??;
            format!("{model} is unloaded\n")
        }
        Verb::Restart { model, home, .. } => {
            let (what, text) = match model {
                Some(model) => (Restart::Model(model.clone()), format!("{model} is restarted\n")),
                None => (Restart::Gateway, "the gateway is restarted\n".to_owned()),
            };
            reach(home).await?.restart(context(), what).await??;
            text
        }
        Verb::Set { model, changes, home } => {
            let server = reach(home).await?;
            let mut settings = server.settings(context(), model.clone()).await??;
            if !changes.is_empty() {
                settings = settings::changed(&settings, &changes).map_err(ClientError::Settings)?;
                server.set_settings(context(), model, settings.clone()).await??;
            }
            settings::shown(&settings).map_err(ClientError::Settings)?
        }
        Verb::Stop { home } => {
            let home = config::home(home.home, environment)?;
            connect(&home).await?.stop(context()).await?;
            ended(&home).await?;
            "stopped\n".into()
        }
    };
    Ok(text.into())
}

/// The prompt that a model reads for what a file holds; its ids or the whole answer instead, where that is asked.
fn show_prompt(
    home: &Path,
    model: &str,
    file: &Path,
    (ids, json): (bool, bool),
) -> Result<Answer, ClientError> {
    let request = Request::of(model, &prompt::read(file)?);
    let written = prompt::render(&supervisor::control_socket(home)?, &request, ids)?;
    if json {
        return Ok(written.into());
    }
    let rendered: show::Rendered = serde_json::from_str(&written).map_err(std::io::Error::from)?;
    let note = rendered.note(request.form);
    Ok(Answer { text: if ids { rendered.ids() } else { rendered.prompt }, note })
}

async fn connect(home: &Path) -> Result<SupervisorClient, ClientError> {
    let nobody = || ClientError::NotRunning(home.to_owned());
    let path = supervisor::control_socket(home).map_err(|_| nobody())?;
    match socket::connect(&path, Channel::Control).await {
        Ok(stream) => {
            Ok(SupervisorClient::new(tarpc::client::Config::default(), socket::framed(stream)).spawn())
        }
        Err(e)
            if matches!(e.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::ConnectionRefused) =>
        {
            Err(nobody())
        }
        Err(e) => Err(ClientError::Unreachable(e)),
    }
}

/// Returns when the server has removed its socket, which it does last.
async fn ended(home: &Path) -> Result<(), ClientError> {
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
