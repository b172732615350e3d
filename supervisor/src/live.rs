//! Changes of the server's own settings while it runs.
//!
//! A [`SettingsFile`] knows the form and the place of the settings; the program that starts the supervisor has it. This module puts a
//! change in force: in the fleet at once, in the hub process and the gateway by starting them anew.

use std::fmt::Debug;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ipc_proto::supervisor::{LiveSettings, SettingsChange, SettingsOutcome};
use ipc_proto::{Error, ErrorKind, Origin, Result};
use tokio::sync::Mutex;

use crate::Config;
use crate::fleet::{Fleet, Limits, stopping};
use crate::gateway::{Gateway, GatewaySettings};
use crate::hub::HubProcess;
use crate::machine;

/// The file that the settings are written to, and the flags and variables above it. Its methods may block.
pub trait SettingsFile: Debug + Send + Sync {
    /// The settings as they are written now.
    ///
    /// # Errors
    /// The file cannot be read, or has a wrong value.
    fn read(&self) -> Result<LiveSettings>;

    /// Writes a change, all of it or nothing.
    ///
    /// # Errors
    /// A name that is none, or is set by a flag or a variable; a wrong value; the file cannot be written.
    fn change(&self, change: &SettingsChange) -> Result<Edited>;
}

/// The outcome of an edit.
#[derive(Debug)]
pub enum Edited {
    /// The file is no longer that of the expected revision.
    Stale,
    /// It is written.
    Written {
        /// The settings afterwards.
        settings: LiveSettings,
        /// What a server would start with now.
        config: Box<Config>,
    },
}

/// Reads and changes the settings of the running parts.
#[derive(Debug, Clone)]
pub(crate) struct Live {
    file: Arc<dyn SettingsFile>,
    fleet: Fleet,
    gateway: Gateway,
    hub: HubProcess,
    /// The worker's program, which knows the default budget.
    worker: PathBuf,
    /// One change at a time.
    turn: Arc<Mutex<()>>,
}

impl Live {
    /// The settings of these parts. `worker` is the worker's program.
    pub(crate) fn new(
        file: Arc<dyn SettingsFile>,
        worker: PathBuf,
        (fleet, gateway, hub): (&Fleet, &Gateway, &HubProcess),
    ) -> Self {
        let (fleet, gateway, hub) = (fleet.clone(), gateway.clone(), hub.clone());
        Self { file, fleet, gateway, hub, worker, turn: Arc::default() }
    }

    pub(crate) async fn read(&self) -> Result<LiveSettings> {
        let file = Arc::clone(&self.file);
        blocking(move || file.read()).await
    }

    /// Writes a change and puts it in force. Goes on if the caller leaves: what is written has to be in force.
    pub(crate) async fn change(&self, change: SettingsChange) -> Result<SettingsOutcome> {
        let live = self.clone();
        let changed = tokio::spawn(async move { live.write_and_apply(change).await });
        changed.await.unwrap_or_else(|_| Err(stopping()))
    }

    async fn write_and_apply(&self, change: SettingsChange) -> Result<SettingsOutcome> {
        let _turn = self.turn.lock().await;
        let file = Arc::clone(&self.file);
        match blocking(move || file.change(&change)).await? {
            Edited::Stale => Ok(SettingsOutcome::Stale),
            Edited::Written { settings, config } => {
                self.apply(*config).await?;
                tracing::info!(revision = settings.revision, "the server's settings were changed");
                Ok(SettingsOutcome::Changed(settings))
            }
        }
    }

    async fn apply(&self, config: Config) -> Result<()> {
        let budget = match config.policy.memory {
            Some(bytes) => bytes,
            None => machine::default_budget(&self.worker).await,
        };
        let (idle_seconds, hang_seconds) = (config.policy.idle_seconds, config.policy.hang_seconds);
        self.fleet.set_limits(Limits { budget, idle_seconds, hang_seconds }).await?;
        self.hub.configure(config.hub, budget);
        let gateway = GatewaySettings {
            config: config.gateway,
            drain: Duration::from_secs(config.drain_seconds.into()),
            hang: Duration::from_secs(hang_seconds.into()),
        };
        self.gateway.configure(gateway).await
    }
}

/// Runs work that may wait for a disk on a thread of its own.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let failed = |error: tokio::task::JoinError| {
        Err(Error::new(
            ErrorKind::Internal,
            Origin::Supervisor,
            format!("the settings' thread ended: {error}"),
        ))
    };
    tokio::task::spawn_blocking(work).await.unwrap_or_else(failed)
}
