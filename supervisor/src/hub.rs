//! Keeps the hub process running, once it is needed, and passes calls on to it.
//!
//! It is needed at the first order or search, and at the start of the server if downloads are unfinished. From then on it stays, and is
//! replaced when it dies: all that it has to know is in its file.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use command_fds::{CommandFdExt, FdMapping};
use ipc_proto::hub::{
    Download, DownloadChange, DownloadOrder, Downloads, FoundModel, HubClient, HubQuery, RemovedModel,
};
use ipc_proto::socket::{self, Channel};
use ipc_proto::{Error, ErrorKind, Origin, Result};
use nix::sys::signal::Signal;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use tarpc::client::{Config, RpcError};
use tarpc::context::Context;
use tokio::process::Command;
use tokio::sync::{mpsc, oneshot, watch};

use crate::backoff::{Backoff, Death};
use crate::child::Child;
use crate::document;
use crate::fleet::stopping;

/// The process inherits its settings as this descriptor.
const CONFIG_FD: i32 = 3;
/// The file of downloads in the home folder.
const FILE: &str = "downloads.json";
/// Time for a call, with the start of the process.
const CALL_LIMIT: Duration = Duration::from_secs(8);
/// Time for a search.
const SEARCH_LIMIT: Duration = Duration::from_secs(25);
/// Time for the removal of a model. Some file systems take long for large files.
const REMOVAL_LIMIT: Duration = Duration::from_secs(60);
/// The process answers a watch call after 20 s at the latest. One that does not answer within this time is hung.
const WATCH_LIMIT: Duration = Duration::from_secs(60);
/// Watchers get news twice a second at most.
const PACE: Duration = Duration::from_millis(500);
/// Time that a new process has to listen. The program may come from a slow disk.
const START_LIMIT: Duration = Duration::from_secs(30);
/// Time between the end of a process's connections and its own end.
const LAST_STEP: Duration = Duration::from_millis(300);
/// Time that a process has to write its list before it is started anew.
const LIST_LIMIT: Duration = Duration::from_secs(2);
const SOCKET_POLL: Duration = Duration::from_millis(5);

/// The parameters of a start.
pub(crate) struct HubLaunch {
    pub(crate) program: PathBuf,
    /// The process's socket.
    pub(crate) socket: PathBuf,
    pub(crate) home: PathBuf,
    /// The settings, in JSON.
    pub(crate) config: SecretString,
    /// Memory that all models may have together, in bytes.
    pub(crate) budget: u64,
}

/// A handle to the task that owns the process.
#[derive(Debug, Clone)]
pub(crate) struct HubProcess {
    commands: mpsc::UnboundedSender<HubCommand>,
    /// What the process has reported last.
    downloads: watch::Receiver<Downloads>,
    file: PathBuf,
}

#[derive(Debug)]
enum HubCommand {
    /// Send a client, once the process listens.
    Need(oneshot::Sender<HubClient>),
    /// Go on with these settings and this budget. A process that runs is started anew if they differ.
    Configure(SecretString, u64),
    /// End the process, by SIGKILL after this time.
    Stop(Duration, oneshot::Sender<()>),
}

/// How a phase of the task ended.
enum Ended {
    /// The process ended, for this reason.
    Process(String),
    /// The process was ended because its settings have changed.
    Reconfigured,
    /// The server stops.
    Stopped,
}

/// Starts the task, and the process if downloads are unfinished.
pub(crate) fn start(launch: HubLaunch) -> HubProcess {
    let (commands, queue) = mpsc::unbounded_channel();
    let (news, downloads) = watch::channel(Downloads { revision: 1, downloads: Vec::new() });
    let file = launch.home.join(FILE);
    let needed = std::fs::read_to_string(&file).is_ok_and(|text| has_unfinished(&text));
    let keeper = Keeper { launch, commands: queue, news, waiting: Vec::new() };
    tokio::spawn(keeper.run(needed));
    HubProcess { commands, downloads, file }
}

/// Whether the list has a download to go on with. One that cannot be read is the process's affair.
fn has_unfinished(text: &str) -> bool {
    match serde_json::from_str::<Value>(text) {
        Ok(list) => {
            let downloads = list["downloads"].as_array();
            downloads.is_some_and(|all| all.iter().any(|download| download["state"] == "queued"))
        }
        Err(_) => true,
    }
}

impl HubProcess {
    /// All downloads. Without a list there are none, and no process is needed.
    pub(crate) async fn downloads(&self) -> Result<Vec<Download>> {
        if !self.file.exists() {
            return Ok(Vec::new());
        }
        let call = |hub: HubClient, context| async move { hub.downloads(context).await.map(Ok) };
        self.call(CALL_LIMIT, call).await
    }

    pub(crate) async fn add(&self, order: DownloadOrder) -> Result<Download> {
        self.call(CALL_LIMIT, |hub, context| async move { hub.add(context, order).await }).await
    }

    pub(crate) async fn change(&self, id: String, change: DownloadChange) -> Result<Download> {
        self.call(CALL_LIMIT, |hub, context| async move { hub.change(context, id, change).await }).await
    }

    pub(crate) async fn remove(&self, id: String, keep: bool) -> Result<Download> {
        self.call(CALL_LIMIT, |hub, context| async move { hub.remove(context, id, keep).await }).await
    }

    pub(crate) async fn search(&self, query: HubQuery) -> Result<Vec<FoundModel>> {
        self.call(SEARCH_LIMIT, |hub, context| async move { hub.search(context, query).await }).await
    }

    /// What the removal of a model takes away, whose files are in this folder.
    pub(crate) async fn removal(&self, model: String, folder: PathBuf) -> Result<RemovedModel> {
        self.call(CALL_LIMIT, |hub, context| async move { hub.removal(context, model, folder).await }).await
    }

    pub(crate) async fn remove_model(&self, model: String, folder: PathBuf) -> Result<RemovedModel> {
        let call = |hub: HubClient, context| async move { hub.remove_model(context, model, folder).await };
        self.call(REMOVAL_LIMIT, call).await
    }

    /// Waits until the downloads differ from those of `revision`.
    pub(crate) async fn watch(&self, revision: u64) -> Downloads {
        let mut downloads = self.downloads.clone();
        let news = downloads.wait_for(|now| now.revision != revision).await.map(|now| now.clone());
        match news {
            Ok(news) => news,
            // The server stops.
            Err(_) => std::future::pending().await,
        }
    }

    /// Puts settings in force. Downloads go on with the next process.
    pub(crate) fn configure(&self, config: SecretString, budget: u64) {
        // A task that has ended needs none.
        let _ = self.commands.send(HubCommand::Configure(config, budget));
    }

    /// Ends the process.
    pub(crate) async fn stop(&self, grace: Duration) {
        let (done, ended) = oneshot::channel();
        if self.commands.send(HubCommand::Stop(grace, done)).is_ok() {
            let _ = ended.await;
        }
    }

    /// Makes a call, and starts the process before if none runs.
    async fn call<T, F>(&self, limit: Duration, call: impl FnOnce(HubClient, Context) -> F) -> Result<T>
    where
        F: Future<Output = Result<Result<T>, RpcError>>,
    {
        let mut context = tarpc::context::current();
        context.deadline = Instant::now() + limit;
        let made = async {
            let (reply, client) = oneshot::channel();
            self.commands.send(HubCommand::Need(reply)).map_err(|_| stopping())?;
            let client = client.await.map_err(|_| stopping())?;
            call(client, context).await.map_err(|error| unreachable(&error)).flatten()
        };
        tokio::time::timeout(limit, made).await.unwrap_or_else(|_| Err(silent(limit)))
    }
}

fn silent(limit: Duration) -> Error {
    let text = format!("the hub process does not answer within {} s", limit.as_secs());
    Error::new(ErrorKind::Timeout, Origin::Hub, text)
}

fn unreachable(error: &RpcError) -> Error {
    let text = format!("the hub process does not answer: {error}");
    Error::new(ErrorKind::Unavailable, Origin::Hub, text)
}

/// Owns the process.
struct Keeper {
    launch: HubLaunch,
    commands: mpsc::UnboundedReceiver<HubCommand>,
    news: watch::Sender<Downloads>,
    /// Callers that wait for a process that listens.
    waiting: Vec<oneshot::Sender<HubClient>>,
}

impl Keeper {
    async fn run(mut self, needed: bool) {
        if !needed && self.wait_for_need().await.is_none() {
            return;
        }
        let (mut backoff, mut starts) = (Backoff::default(), 0);
        loop {
            let started_at = Instant::now();
            let end = match self.run_once().await {
                Ended::Process(end) => end,
                Ended::Reconfigured => continue,
                Ended::Stopped => return,
            };
            starts += 1;
            let death = Death { process: starts, lifetime: started_at.elapsed(), steps: 0 };
            let wait = backoff.delay_after(death, Instant::now());
            tracing::error!(end, restart_in_ms = wait.as_millis() as u64, "the hub process ended");
            let waited = tokio::time::sleep(wait);
            tokio::pin!(waited);
            loop {
                tokio::select! {
                    () = &mut waited => break,
                    command = self.commands.recv() => match command {
                        Some(HubCommand::Need(reply)) => self.waiting.push(reply),
                        Some(HubCommand::Configure(config, budget)) => {
                            self.launch.set(config, budget);
                        }
                        Some(HubCommand::Stop(_, done)) => {
                            let _ = done.send(());
                            return;
                        }
                        None => return,
                    },
                }
            }
        }
    }

    /// Waits for the first caller. `None` if the server stops before.
    async fn wait_for_need(&mut self) -> Option<()> {
        loop {
            match self.commands.recv().await? {
                HubCommand::Need(reply) => {
                    self.waiting.push(reply);
                    return Some(());
                }
                HubCommand::Configure(config, budget) => {
                    self.launch.set(config, budget);
                }
                HubCommand::Stop(_, done) => {
                    let _ = done.send(());
                    return None;
                }
            }
        }
    }

    /// Runs one process to its end.
    async fn run_once(&mut self) -> Ended {
        let mut child = match self.launch.spawn() {
            Ok(child) => child,
            Err(error) => return Ended::Process(error.to_string()),
        };
        let socket = self.launch.socket.clone();
        let connecting = connect(&socket);
        tokio::pin!(connecting);
        let client = loop {
            tokio::select! {
                client = &mut connecting => match client {
                    Some(client) => break client,
                    None => return kill(child, "it did not listen").await,
                },
                end = child.wait() => return Ended::Process(end.text),
                command = self.commands.recv() => match command {
                    Some(HubCommand::Need(reply)) => self.waiting.push(reply),
                    Some(HubCommand::Configure(config, budget)) => {
                        if self.launch.set(config, budget) {
                            return reconfigured(child).await;
                        }
                    }
                    Some(HubCommand::Stop(grace, done)) => return stop(child, grace, done).await,
                    None => return Ended::Stopped,
                },
            }
        };
        for reply in self.waiting.drain(..) {
            let _ = reply.send(client.clone());
        }
        let following = follow(&client, &self.news);
        tokio::pin!(following);
        loop {
            tokio::select! {
                () = &mut following => return kill(child, "it gave no sign of life").await,
                end = child.wait() => return Ended::Process(end.text),
                command = self.commands.recv() => match command {
                    // A caller that has left needs none.
                    Some(HubCommand::Need(reply)) => drop(reply.send(client.clone())),
                    Some(HubCommand::Configure(config, budget)) => {
                        if self.launch.set(config, budget) {
                            return reconfigured(child).await;
                        }
                    }
                    Some(HubCommand::Stop(grace, done)) => return stop(child, grace, done).await,
                    None => return Ended::Stopped,
                },
            }
        }
    }
}

async fn stop(mut child: Child, grace: Duration, done: oneshot::Sender<()>) -> Ended {
    child.stop(grace).await;
    let _ = done.send(());
    Ended::Stopped
}

/// Ends a process that has other settings than the next one. It writes its list before.
async fn reconfigured(mut child: Child) -> Ended {
    child.stop(LIST_LIMIT).await;
    Ended::Reconfigured
}

/// Ends a process that does not answer, unless that is because it has just ended.
async fn kill(mut child: Child, reason: &str) -> Ended {
    if let Ok(end) = tokio::time::timeout(LAST_STEP, child.wait()).await {
        return Ended::Process(end.text);
    }
    child.signal(Signal::SIGKILL);
    Ended::Process(format!("{} ({reason})", child.wait().await.text))
}

impl HubLaunch {
    /// Takes settings over. Returns whether they differ.
    fn set(&mut self, config: SecretString, budget: u64) -> bool {
        let differs = budget != self.budget || config.expose_secret() != self.config.expose_secret();
        (self.config, self.budget) = (config, budget);
        differs
    }

    fn spawn(&self) -> std::io::Result<Child> {
        // A process that was killed has left its socket, which would refuse connections.
        let _ = std::fs::remove_file(&self.socket);
        let mut command = Command::new(&self.program);
        command.arg("--lifeline").arg("--socket").arg(&self.socket).arg("--home").arg(&self.home);
        command.arg("--config").arg(format!("/dev/fd/{CONFIG_FD}"));
        command.arg("--budget").arg(self.budget.to_string());
        let config = FdMapping { parent_fd: document::pipe(&self.config)?.into(), child_fd: CONFIG_FD };
        command.fd_mappings(vec![config]).map_err(std::io::Error::other)?;
        Child::spawn(command, "hub")
    }
}

/// A client of the process that listens at `socket`, or soon will. `None` after [`START_LIMIT`].
async fn connect(socket: &Path) -> Option<HubClient> {
    let trying = async {
        loop {
            match socket::connect(socket, Channel::Control).await {
                Ok(stream) => return HubClient::new(Config::default(), socket::framed(stream)).spawn(),
                Err(_) => tokio::time::sleep(SOCKET_POLL).await,
            }
        }
    };
    tokio::time::timeout(START_LIMIT, trying).await.ok()
}

/// Publishes the process's news. Returns when the process does not answer.
async fn follow(hub: &HubClient, news: &watch::Sender<Downloads>) {
    let mut revision = 0;
    loop {
        let mut context = tarpc::context::current();
        context.deadline = Instant::now() + WATCH_LIMIT;
        let Ok(now) = hub.watch(context, revision).await else { return };
        revision = now.revision;
        news.send_if_modified(|last| {
            let changed = last.downloads != now.downloads;
            if changed {
                *last = Downloads { revision: last.revision + 1, downloads: now.downloads };
            }
            changed
        });
        tokio::time::sleep(PACE).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_other_settings_differ() {
        let mut launch = HubLaunch {
            program: PathBuf::new(),
            socket: PathBuf::new(),
            home: PathBuf::new(),
            config: "{}".into(),
            budget: 7,
        };
        assert!(!launch.set("{}".into(), 7));
        assert!(launch.set("{}".into(), 8) && launch.set("[]".into(), 8));
        assert_eq!((launch.budget, launch.config.expose_secret()), (8, "[]"));
    }

    #[test]
    fn only_an_unfinished_download_needs_the_process() {
        let list = |state: &str| format!(r#"{{"downloads": [{{"state": "done"}}, {{"state": "{state}"}}]}}"#);
        assert!(has_unfinished(&list("queued")) && has_unfinished("{"));
        for state in ["paused", "done", "failed"] {
            assert!(!has_unfinished(&list(state)), "{state}");
        }
        assert!(!has_unfinished("{}"));
    }
}
