//! The queue of downloads. One task owns it; the handle sends commands.
//!
//! Every order is in the file before it is answered. A download that runs is queued in the file, so it goes on after any end of the
//! process, and a paused one stays paused.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ipc_proto::hub::{Download, DownloadChange, DownloadOrder, DownloadState};
use ipc_proto::{Error, ErrorKind, Origin, Resource, Result};
use tokio::sync::{mpsc, oneshot, watch};

use crate::error::HubError;
use crate::pull::Pulled;
use crate::settings::ModelName;

mod downloader;
mod entry;
mod file;
mod meter;
mod plan;

pub(crate) use downloader::Downloader;
use entry::{Entry, Job};
use file::{QueueFile, Stored};
use meter::{Meter, Step};

/// Rates fall and times pass also if nothing comes.
const TICK: Duration = Duration::from_secs(1);
/// Ended downloads that the list keeps.
const MAX_ENDED: usize = 100;

/// A handle to the queue.
#[derive(Debug, Clone)]
pub(crate) struct Queue {
    commands: mpsc::UnboundedSender<Command>,
    revisions: watch::Receiver<u64>,
}

#[derive(Debug)]
enum Command {
    List(oneshot::Sender<Vec<Download>>),
    Add(Order, oneshot::Sender<Result<Download>>),
    Change(String, DownloadChange, oneshot::Sender<Result<Download>>),
    /// The flag keeps what is on disk.
    Remove(String, bool, oneshot::Sender<Result<Download>>),
    /// The task of this number has ended.
    Ended(u64, std::result::Result<Pulled, HubError>),
    /// Another download may have to run.
    Turn,
    /// End all tasks.
    Stop(oneshot::Sender<()>),
}

/// A checked order.
#[derive(Debug)]
struct Order {
    name: ModelName,
    order: DownloadOrder,
}

impl Queue {
    /// Starts the task with the downloads of the file in `home`.
    pub(crate) fn start(home: &Path, downloader: Arc<Downloader>) -> Self {
        let (commands, queue) = mpsc::unbounded_channel();
        // The first one asked for is 0.
        let (revisions, receiver) = watch::channel(1);
        let file = QueueFile::in_home(home);
        let entries = file.load().into_iter().map(Entry::new).collect();
        let reports = commands.clone();
        let actor = Actor { entries, file, downloader, reports, revisions: Arc::new(revisions), jobs: 0 };
        tokio::spawn(actor.run(queue));
        Self { commands, revisions: receiver }
    }

    /// The number of the last change.
    pub(crate) fn revisions(&self) -> watch::Receiver<u64> {
        self.revisions.clone()
    }

    /// All downloads, the oldest first.
    pub(crate) async fn list(&self) -> Vec<Download> {
        self.ask(Command::List).await.unwrap_or_default()
    }

    /// Queues a download, or lets the model's present one go on.
    pub(crate) async fn add(&self, name: ModelName, order: DownloadOrder) -> Result<Download> {
        self.ask(|reply| Command::Add(Order { name, order }, reply)).await?
    }

    /// Changes a download.
    pub(crate) async fn change(&self, id: String, change: DownloadChange) -> Result<Download> {
        self.ask(|reply| Command::Change(id, change, reply)).await?
    }

    /// Takes a download off the list, and gives its room back unless `keep`.
    pub(crate) async fn remove(&self, id: String, keep: bool) -> Result<Download> {
        self.ask(|reply| Command::Remove(id, keep, reply)).await?
    }

    /// Ends all tasks. Their downloads stay queued.
    pub(crate) async fn stop(&self) {
        // An error means that the task has ended.
        let _ = self.ask(Command::Stop).await;
    }

    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Result<T> {
        let ending = || Error::new(ErrorKind::Unavailable, Origin::Hub, "the hub process ends");
        let (reply, answer) = oneshot::channel();
        self.commands.send(command(reply)).map_err(|_| ending())?;
        answer.await.map_err(|_| ending())
    }
}

struct Actor {
    /// The oldest first.
    entries: Vec<Entry>,
    file: QueueFile,
    downloader: Arc<Downloader>,
    /// For the tasks' reports.
    reports: mpsc::UnboundedSender<Command>,
    revisions: Arc<watch::Sender<u64>>,
    /// Tasks so far.
    jobs: u64,
}

impl Actor {
    async fn run(mut self, mut commands: mpsc::UnboundedReceiver<Command>) {
        let mut ticks = tokio::time::interval(TICK);
        self.arrange().await;
        loop {
            tokio::select! {
                command = commands.recv() => match command {
                    Some(Command::Stop(reply)) => {
                        for entry in &mut self.entries {
                            entry.stop().await;
                        }
                        self.save_later().await;
                        let _ = reply.send(());
                        return;
                    }
                    Some(Command::List(reply)) => {
                        let now = Instant::now();
                        // A caller that has left needs no answer, here and below.
                        let _ = reply.send(self.entries.iter().map(|entry| entry.view(now)).collect());
                        continue;
                    }
                    Some(command) => self.handle(command).await,
                    None => return,
                },
                _ = ticks.tick() => {
                    if self.entries.iter().all(|entry| entry.stored.state != DownloadState::Queued) {
                        continue;
                    }
                }
            }
            self.arrange().await;
            self.revisions.send_modify(|revision| *revision += 1);
        }
    }

    async fn handle(&mut self, command: Command) {
        match command {
            Command::Add(order, reply) => drop(reply.send(self.add(order).await)),
            Command::Change(id, change, reply) => drop(reply.send(self.change(&id, change).await)),
            Command::Remove(id, keep, reply) => self.remove(&id, keep, reply).await,
            Command::Ended(number, outcome) => self.end(number, outcome).await,
            Command::Turn | Command::List(_) | Command::Stop(_) => self.save_later().await,
        }
    }

    async fn add(&mut self, Order { name, order }: Order) -> Result<Download> {
        let now = Instant::now();
        let is_same = |entry: &Entry| entry.stored.model == name.id && entry.stored.revision == name.revision;
        let Some(at) = self.entries.iter().position(is_same) else {
            self.forget_ended();
            self.entries.push(Entry::new(self.stored(name, &order)));
            return self.saved(self.entries.len() - 1, None).await;
        };
        let entry = &mut self.entries[at];
        let before = entry.stored.clone();
        let stays = match entry.stored.state {
            DownloadState::Paused => order.automatic,
            DownloadState::Failed => order.automatic && entry.has_just_failed(now),
            DownloadState::Queued | DownloadState::Running => true,
            DownloadState::Done => false,
        };
        if !stays {
            entry.queue();
        }
        entry.stored.force |= order.force;
        entry.stored.priority = order.priority.unwrap_or(entry.stored.priority);
        self.saved(at, Some(before)).await
    }

    fn stored(&self, name: ModelName, order: &DownloadOrder) -> Stored {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut number = since.as_millis();
        let mut id = format!("d{number:x}");
        while self.entries.iter().any(|entry| entry.stored.id == id) {
            number += 1;
            id = format!("d{number:x}");
        }
        Stored {
            id,
            model: name.id,
            revision: name.revision,
            state: DownloadState::Queued,
            priority: order.priority.unwrap_or_default(),
            force: order.force,
            bytes_done: 0,
            bytes_total: None,
            error: None,
            created_at: since.as_secs(),
            present_name: None,
        }
    }

    /// Keeps the list short: the oldest of many ended downloads goes.
    fn forget_ended(&mut self) {
        let has_ended =
            |entry: &Entry| matches!(entry.stored.state, DownloadState::Done | DownloadState::Failed);
        if self.entries.iter().filter(|entry| has_ended(entry)).count() >= MAX_ENDED
            && let Some(at) = self.entries.iter().position(has_ended)
        {
            self.entries.remove(at);
        }
    }

    async fn change(&mut self, id: &str, change: DownloadChange) -> Result<Download> {
        let at = self.find(id)?;
        let entry = &mut self.entries[at];
        let before = entry.stored.clone();
        entry.stored.priority = change.priority.unwrap_or(before.priority);
        match change.paused {
            Some(true) if before.state == DownloadState::Queued => {
                entry.stop().await;
                entry.pause();
            }
            Some(false) if matches!(before.state, DownloadState::Paused | DownloadState::Failed) => {
                entry.queue();
            }
            _ => {}
        }
        self.saved(at, Some(before)).await
    }

    /// Answers once the room is free, and does other work meanwhile.
    async fn remove(&mut self, id: &str, keep: bool, reply: oneshot::Sender<Result<Download>>) {
        let at = match self.find(id) {
            Ok(at) => at,
            Err(error) => return drop(reply.send(Err(error))),
        };
        self.entries[at].stop().await;
        let entry = self.entries.remove(at);
        if let Err(error) = self.save().await {
            self.entries.insert(at, entry);
            return drop(reply.send(Err(error)));
        }
        let view = entry.view(Instant::now());
        let model = entry.cached_as().to_owned();
        // Another revision's download has its parts in the same place.
        let is_shared = self.entries.iter().any(|other| other.is_unfinished() && other.cached_as() == model);
        if keep || !entry.is_unfinished() || is_shared {
            return drop(reply.send(Ok(view)));
        }
        let downloader = Arc::clone(&self.downloader);
        tokio::task::spawn_blocking(move || {
            let outcome = match downloader.discard(&model) {
                Ok(freed) => {
                    tracing::info!(model, freed, "a download was cancelled");
                    Ok(view)
                }
                // Now it is that program's download.
                Err(HubError::InUse(_)) => Ok(view),
                Err(error) => Err(error.for_callers()),
            };
            let _ = reply.send(outcome);
        });
    }

    async fn end(&mut self, number: u64, outcome: std::result::Result<Pulled, HubError>) {
        let is_its = |entry: &&mut Entry| entry.job.as_ref().is_some_and(|job| job.number == number);
        let Some(entry) = self.entries.iter_mut().find(is_its) else { return };
        entry.end(outcome, Instant::now());
        let Stored { model, state, error, .. } = &entry.stored;
        match error {
            None => tracing::info!(model, "a download is complete"),
            Some(error) => tracing::warn!(model, ?state, error, "a download has ended early"),
        }
        self.save_later().await;
    }

    /// Starts and ends tasks, so that those run whose turn it is.
    async fn arrange(&mut self) {
        let now = Instant::now();
        let candidates: Vec<_> = self.entries.iter().map(|entry| entry.candidate(now)).collect();
        for (at, runs) in plan::chosen(&candidates).into_iter().enumerate() {
            match (runs, self.entries[at].job.is_some()) {
                (true, false) => self.start(at),
                (false, true) => self.entries[at].stop().await,
                _ => {}
            }
        }
    }

    fn start(&mut self, at: usize) {
        self.jobs += 1;
        let number = self.jobs;
        let (turns, revisions) = (self.reports.clone(), Arc::clone(&self.revisions));
        let meter = Arc::new(Meter::new(move |step| match step {
            Step::Progress => revisions.send_modify(|revision| *revision += 1),
            Step::Turn => drop(turns.send(Command::Turn)),
        }));
        let Stored { model, revision, force, .. } = self.entries[at].stored.clone();
        let name = ModelName { id: model, revision };
        tracing::info!(model = %name, "a download begins");
        let (downloader, reports, counted) =
            (Arc::clone(&self.downloader), self.reports.clone(), Arc::clone(&meter));
        let task = tokio::spawn(async move {
            let outcome = downloader.run(name, force, counted).await;
            // An error means that the process ends.
            let _ = reports.send(Command::Ended(number, outcome));
        });
        self.entries[at].job = Some(Job { number, meter, task });
    }

    fn find(&self, id: &str) -> Result<usize> {
        let text = || format!("there is no download \"{id}\"; GET /admin/v1/downloads lists all");
        let found = self.entries.iter().position(|entry| entry.stored.id == id);
        found.ok_or_else(|| Error::not_found(Resource::Download, text()))
    }

    /// Saves, and shows the download. If the file cannot be written, the download is as `before`, or not there.
    async fn saved(&mut self, at: usize, before: Option<Stored>) -> Result<Download> {
        if let Err(error) = self.save().await {
            match before {
                Some(before) => self.entries[at].stored = before,
                None => drop(self.entries.remove(at)),
            }
            return Err(error);
        }
        // What it does now is part of the answer.
        self.arrange().await;
        Ok(self.entries[at].view(Instant::now()))
    }

    async fn save(&mut self) -> Result<()> {
        self.entries.iter_mut().for_each(Entry::take_numbers);
        let stored = self.entries.iter().map(|entry| entry.stored.clone()).collect();
        let file = self.file.clone();
        let written = tokio::task::spawn_blocking(move || file.save(stored)).await;
        written.map_err(std::io::Error::other).flatten().map_err(|error| {
            let text = format!("the list of downloads cannot be written: {error}");
            Error::new(ErrorKind::Unavailable, Origin::Hub, text)
        })
    }

    /// Saves what nobody waits for. The next order saves it too.
    async fn save_later(&mut self) {
        if let Err(error) = self.save().await {
            tracing::warn!(%error, "the list of downloads is not up to date");
        }
    }
}

#[cfg(test)]
mod tests;
