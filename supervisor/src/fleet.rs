//! The workers: one task owns them all, others hold a [`Fleet`] and ask.
//!
//! A worker starts when a request names its model and nobody serves it. Many who ask at once share one start; one who
//! gives up does not stop it for the others. When a worker ends, the next request starts another.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use ipc_proto::supervisor::{ModelEntry, ModelState, WorkerAddress};
use ipc_proto::{Error, ErrorKind, Result, Source};
use tokio::sync::{mpsc, oneshot, watch};

use crate::registry;

mod worker;

use worker::{Launch, Life};

/// A model that failed to load is not tried again sooner, so that clients that retry do not keep the disk busy.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// Ids that an error message lists.
const LISTED: usize = 8;

/// A handle to the task that owns the workers.
#[derive(Debug, Clone)]
pub(crate) struct Fleet(mpsc::UnboundedSender<Command>);

enum Command {
    Ensure(String, oneshot::Sender<Result<WorkerAddress>>),
    Models(oneshot::Sender<Vec<ModelEntry>>),
    Loaded(String, u64, Result<WorkerAddress>),
    Ended(String, u64),
    Stop(Duration, oneshot::Sender<()>),
}

enum Slot {
    Loading { incarnation: u64, waiting: Vec<oneshot::Sender<Result<WorkerAddress>>> },
    Ready(WorkerAddress),
    Failed { error: Error, at: Instant },
}

struct Owner {
    directories: Vec<PathBuf>,
    program: PathBuf,
    run: PathBuf,
    slots: BTreeMap<String, Slot>,
    incarnations: u64,
    /// Worker processes alive.
    alive: usize,
    commands: mpsc::UnboundedSender<Command>,
    /// Set to the grace period when the workers shall end.
    stopping: watch::Sender<Option<Duration>>,
    stopped: Option<oneshot::Sender<()>>,
}

/// Starts the task, with no worker running.
pub(crate) fn start(directories: Vec<PathBuf>, program: PathBuf, run: PathBuf) -> Fleet {
    let (commands, mut queue) = mpsc::unbounded_channel();
    let mut owner = Owner {
        directories,
        program,
        run,
        slots: BTreeMap::new(),
        incarnations: 0,
        alive: 0,
        commands: commands.clone(),
        stopping: watch::Sender::new(None),
        stopped: None,
    };
    tokio::spawn(async move {
        while let Some(command) = queue.recv().await {
            owner.obey(command);
        }
    });
    Fleet(commands)
}

impl Fleet {
    /// Where `model` is served, after starting it where needed.
    pub(crate) async fn ensure_ready(&self, model: String) -> Result<WorkerAddress> {
        let gone = || Error::new(ErrorKind::Unavailable, Source::Supervisor, "the supervisor is stopping");
        let (reply, answer) = oneshot::channel();
        self.0.send(Command::Ensure(model, reply)).map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }

    /// Every model on disk.
    pub(crate) async fn models(&self) -> Vec<ModelEntry> {
        let (reply, answer) = oneshot::channel();
        let _ = self.0.send(Command::Models(reply));
        answer.await.unwrap_or_default()
    }

    /// Ends every worker, by force after `grace`.
    pub(crate) async fn stop(&self, grace: Duration) {
        let (reply, answer) = oneshot::channel();
        let _ = self.0.send(Command::Stop(grace, reply));
        let _ = answer.await;
    }
}

impl Owner {
    fn obey(&mut self, command: Command) {
        match command {
            Command::Ensure(model, reply) => self.ensure(model, reply),
            Command::Models(reply) => drop(reply.send(self.models())),
            Command::Loaded(model, incarnation, outcome) => self.loaded(model, incarnation, &outcome),
            Command::Ended(model, incarnation) => self.ended(&model, incarnation),
            Command::Stop(grace, reply) => {
                self.stopping.send_replace(Some(grace));
                self.stopped = Some(reply);
                self.report_stopped();
            }
        }
    }

    fn ensure(&mut self, model: String, reply: oneshot::Sender<Result<WorkerAddress>>) {
        let refused = match self.slots.get_mut(&model) {
            Some(Slot::Ready(address)) => return drop(reply.send(Ok(address.clone()))),
            Some(Slot::Loading { waiting, .. }) => return waiting.push(reply),
            Some(Slot::Failed { error, at }) if at.elapsed() < RETRY_AFTER => Some(error.clone()),
            _ if self.stopped.is_some() => {
                Some(Error::new(ErrorKind::Unavailable, Source::Supervisor, "the server is stopping"))
            }
            _ => None,
        };
        if let Some(error) = refused {
            return drop(reply.send(Err(error)));
        }
        match registry::scan(&self.directories).remove(&model) {
            Some(folder) => {
                let incarnation = self.launch(&model, folder.path);
                self.slots.insert(model, Slot::Loading { incarnation, waiting: vec![reply] });
            }
            None => drop(reply.send(Err(self.unknown(&model)))),
        }
    }

    fn launch(&mut self, model: &str, folder: PathBuf) -> u64 {
        self.incarnations += 1;
        self.alive += 1;
        let incarnation = self.incarnations;
        let launch = Launch {
            program: self.program.clone(),
            folder,
            socket: self.run.join(format!("w{incarnation}.sock")),
            model: model.to_owned(),
            incarnation,
        };
        let (loaded, ended) = (self.commands.clone(), self.commands.clone());
        let (name, same) = (model.to_owned(), model.to_owned());
        let life = Life {
            launch,
            stopping: self.stopping.subscribe(),
            loaded: Box::new(move |outcome| drop(loaded.send(Command::Loaded(name, incarnation, outcome)))),
        };
        tokio::spawn(async move {
            life.live().await;
            let _ = ended.send(Command::Ended(same, incarnation));
        });
        incarnation
    }

    fn loaded(&mut self, model: String, incarnation: u64, outcome: &Result<WorkerAddress>) {
        let Some(Slot::Loading { incarnation: current, .. }) = self.slots.get(&model) else { return };
        if *current != incarnation {
            return;
        }
        let slot = match outcome {
            Ok(address) => Slot::Ready(address.clone()),
            Err(error) => Slot::Failed { error: error.clone(), at: Instant::now() },
        };
        if let Some(Slot::Loading { waiting, .. }) = self.slots.insert(model, slot) {
            for reply in waiting {
                let _ = reply.send(outcome.clone());
            }
        }
    }

    fn ended(&mut self, model: &str, incarnation: u64) {
        self.alive -= 1;
        if matches!(self.slots.get(model), Some(Slot::Ready(address)) if address.incarnation == incarnation) {
            self.slots.remove(model);
        }
        self.report_stopped();
    }

    fn report_stopped(&mut self) {
        if self.alive == 0
            && let Some(reply) = self.stopped.take()
        {
            let _ = reply.send(());
        }
    }

    fn models(&self) -> Vec<ModelEntry> {
        let state = |id: &str| match self.slots.get(id) {
            None => ModelState::Stopped,
            Some(Slot::Loading { .. }) => ModelState::Loading { loaded: 0, total: 0 },
            Some(Slot::Ready(_)) => ModelState::Ready,
            Some(Slot::Failed { error, .. }) => ModelState::Failed(error.message.clone()),
        };
        let found = registry::scan(&self.directories).into_iter();
        found
            .map(|(id, folder)| ModelEntry {
                state: state(&id),
                id,
                created: folder.created,
                bytes: folder.bytes,
                ..ModelEntry::default()
            })
            .collect()
    }

    fn unknown(&self, model: &str) -> Error {
        let ids: Vec<String> = registry::scan(&self.directories).into_keys().collect();
        let there = match ids.len() {
            0 => {
                let places: Vec<_> = self.directories.iter().map(|path| path.display().to_string()).collect();
                format!("there are no models yet; put model folders into {}", places.join(" or "))
            }
            n if n > LISTED => format!("available are {} and {} more", ids[..LISTED].join(", "), n - LISTED),
            _ => format!("available are {}", ids.join(", ")),
        };
        let text = format!("the model \"{model}\" does not exist; {there}");
        Error::new(ErrorKind::ModelNotFound, Source::Client, text).with_param("model")
    }
}

#[cfg(test)]
mod tests;
