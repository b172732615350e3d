//! Stores responses, and loads, cancels and deletes them.
//!
//! Background responses run as tasks of this process. The database holds them from their beginning, with the name of the gateway
//! instance that produces them. During a restart two gateways share the database: each may read the other's responses, and cancel
//! one by clearing its instance.

use std::collections::{HashMap, VecDeque};
use std::fmt::Display;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ipc_proto::{Error, ErrorKind, Origin, Resource, Result};
use serde_json::{Value, json};
use tokio::sync::{Semaphore, watch};
use tokio::task::AbortHandle;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use crate::dispatch::replay_buffer::ReplayBuffer;
use crate::protocols::openai::responses::wire::Item;
use crate::store::instance::GatewayInstance;
use crate::store::responses::StoredResponse;
use crate::store::{Db, DbError};

/// The stored responses.
#[derive(Debug)]
pub struct ResponseStore {
    db: Db,
    /// The number of responses that could not be stored.
    lost: AtomicU64,
    /// KiB that responses may take that wait for the disk.
    room: Arc<Semaphore>,
    /// The writes of responses.
    writes: TaskTracker,
    /// The retention of a response, in seconds.
    retention_seconds: u64,
    /// This gateway.
    instance: GatewayInstance,
    running: watch::Sender<HashMap<String, AbortHandle>>,
    /// The event streams of background responses, the latest last.
    replays: Mutex<VecDeque<(String, ReplayBuffer)>>,
}

/// Maximum number of replayable streams. The oldest are dropped first.
const MAX_REPLAYS: usize = 64;
/// Maximum total size of replayable streams.
const MAX_REPLAY_BYTES: usize = 32 << 20;

/// How long an answer waits until its response is stored.
const STORE_PATIENCE: Duration = Duration::from_millis(250);
/// Limit of the responses together that wait for the disk.
const MAX_WAITING_KIB: u32 = 64 << 10;
/// Seconds between attempts to store the end of a background response: two minutes in total.
const RETRY_PAUSES_SECONDS: [u64; 6] = [1, 2, 4, 13, 40, 60];
/// Interval of checks whether another gateway has cancelled a response of this one.
const RELEASE_CHECK_INTERVAL: Duration = Duration::from_secs(1);

impl ResponseStore {
    /// The database.
    pub fn db(&self) -> &Db {
        &self.db
    }

    /// Creates the store over the database of the home folder `home`, with the retention in days.
    pub fn new(db: Db, home: &Path, days: u32) -> Self {
        let retention_seconds = u64::from(days) * 24 * 3600;
        let (running, replays) = (watch::Sender::default(), Mutex::default());
        Self {
            db,
            lost: AtomicU64::new(0),
            room: Arc::new(Semaphore::new(MAX_WAITING_KIB as usize)),
            writes: TaskTracker::new(),
            retention_seconds,
            instance: GatewayInstance::new(home),
            running,
            replays,
        }
    }

    /// Returns the number of responses that could not be stored so far.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Stores a response. Waits only briefly for a database that is locked or slow: writing goes on, but the client should not
    /// count on it. A failure is counted and logged.
    ///
    /// # Errors
    /// Returns an error if the response is not stored, or not yet.
    pub async fn store(self: &Arc<Self>, stored: StoredResponse, now: u64) -> Result<()> {
        let kib = (stored.input.len() + stored.response.len()) / 1024 + 1;
        let kib = u32::try_from(kib).unwrap_or(u32::MAX).min(MAX_WAITING_KIB);
        let Ok(room) = Arc::clone(&self.room).try_acquire_many_owned(kib) else {
            return Err(self.record_lost(&stored.id, &"too many others wait for the database"));
        };
        let this = Arc::clone(self);
        let write = async move {
            let _room = room;
            this.store_now(&stored, now).await
        };
        let write = self.writes.spawn(write.in_current_span());
        let late = |_| {
            let text = "the response is not stored yet: the database is locked or slow";
            Error::new(ErrorKind::Unavailable, Origin::Gateway, text)
        };
        let defect =
            |_| Error::new(ErrorKind::Internal, Origin::Gateway, "a write of the gateway has a defect");
        timeout(STORE_PATIENCE, write).await.map_err(late)?.map_err(defect)?
    }

    /// Stores a response, as long as it may take.
    async fn store_now(&self, stored: &StoredResponse, now: u64) -> Result<()> {
        let kept = self.db.store_response(stored, now, self.retention_seconds).await;
        kept.map_err(|error| self.record_lost(&stored.id, &error))
    }

    /// Stores the beginning of a background response of this gateway.
    ///
    /// # Errors
    /// Returns an error if the response cannot be stored.
    pub async fn store_pending(&self, mut stored: StoredResponse, now: u64) -> Result<()> {
        self.instance.acquire_lock().map_err(|error| self.record_lost(&stored.id, &error))?;
        stored.instance = Some(self.instance.name().to_owned());
        // Its client can find it nowhere else.
        self.store_now(&stored, now).await
    }

    fn record_lost(&self, id: &str, error: &dyn Display) -> Error {
        self.lost.fetch_add(1, Ordering::Relaxed);
        tracing::warn!(id, %error, "a response could not be kept");
        let text = format!("the response cannot be kept: {error}");
        Error::new(ErrorKind::Unavailable, Origin::Gateway, text)
    }

    /// Returns the items of a conversation up to and including response `id`.
    ///
    /// # Errors
    /// Returns an error if it, or a previous response, is missing or not finished.
    pub async fn history(&self, owner: &str, id: &str) -> Result<Vec<Item>> {
        let wrong = |text: String| {
            let error = Error::not_found(Resource::PreviousResponse, text);
            Err(error.with_field("previous_response_id"))
        };
        let chain = self.db.response_chain(owner, id).await.map_err(|e| to_error(&e))?;
        match chain.first() {
            None => return wrong(format!("the previous response \"{id}\" does not exist, or was not kept")),
            Some(StoredResponse { previous: Some(lost), .. }) => {
                return wrong(format!(
                    "the response \"{lost}\", which \"{id}\" goes on from, is not kept any more"
                ));
            }
            Some(_) => {}
        }
        let mut items = Vec::new();
        for stored in chain {
            let response: Value = parse_json(&stored.response)?;
            if is_unfinished(&response) {
                let made = stored.instance.is_some_and(|instance| self.is_produced_by(&instance, &stored.id));
                let what = if made { "is not finished" } else { "has failed" };
                let text = format!("the previous response \"{}\" {what}", stored.id);
                return Err(Error::invalid("previous_response_id", text));
            }
            items.extend(parse_json::<Vec<Item>>(&stored.input)?);
            let output = serde_json::from_value::<Vec<Item>>(response["output"].clone());
            items.extend(output.map_err(|e| corrupt_response(&e))?);
        }
        Ok(items)
    }

    /// Returns a response in the API's form.
    ///
    /// # Errors
    /// Returns an error if there is no such response.
    pub async fn get(&self, owner: &str, id: &str) -> Result<Value> {
        self.load_current(owner, id).await.map(|(response, _)| response)
    }

    /// Returns a response and, if it is unfinished, the name of the gateway that produces it.
    async fn load_current(&self, owner: &str, id: &str) -> Result<(Value, Option<String>)> {
        let stored = self.load(owner, id).await?;
        let response: Value = parse_json(&stored.response)?;
        if !is_unfinished(&response) {
            return Ok((response, None));
        }
        if let Some(instance) = stored.instance
            && self.is_produced_by(&instance, id)
        {
            return Ok((response, Some(instance)));
        }
        // The response may have ended since it was read. If not, no gateway is left to finish it.
        let mut response: Value = parse_json(&self.load(owner, id).await?.response)?;
        if is_unfinished(&response) {
            response["status"] = "failed".into();
            let text = "the server was restarted while the response was made, or could not keep it";
            response["error"] = json!({"code": "server_error", "message": text});
        }
        Ok((response, None))
    }

    fn is_produced_by(&self, instance: &str, id: &str) -> bool {
        if instance == self.instance.name() {
            return self.running.borrow().contains_key(id);
        }
        self.instance.is_alive(instance)
    }

    /// Returns the new input items of a response.
    ///
    /// # Errors
    /// Returns an error if there is no such response.
    pub async fn input(&self, owner: &str, id: &str) -> Result<Vec<Item>> {
        parse_json(&self.load(owner, id).await?.input)
    }

    /// Returns an output item of a stored response by its id, which contains the response's id. Returns `None` for unknown items.
    ///
    /// # Errors
    /// Returns an error if the database fails.
    pub async fn item(&self, owner: &str, id: &str) -> Result<Option<Item>> {
        let number = id.split_once('_').and_then(|(_, rest)| Some(rest.rsplit_once('_')?.0));
        let Some(number) = number else { return Ok(None) };
        let stored = self.db.response(owner, &format!("resp_{number}")).await.map_err(|e| to_error(&e))?;
        let Some(stored) = stored else { return Ok(None) };
        let response: Value = parse_json(&stored.response)?;
        let items: Vec<Item> =
            serde_json::from_value(response["output"].clone()).map_err(|e| corrupt_response(&e))?;
        Ok(items.into_iter().find(|item| item.id.as_deref() == Some(id)))
    }

    /// Makes a stream replayable by the response's id.
    pub fn add_replay(&self, id: String, replay: ReplayBuffer) {
        let mut replays = self.replays.lock().unwrap_or_else(PoisonError::into_inner);
        replays.push_back((id, replay));
        let bytes = |replays: &VecDeque<(String, ReplayBuffer)>| {
            replays.iter().map(|(_, replay)| replay.size()).sum::<usize>()
        };
        while replays.len() > MAX_REPLAYS || (replays.len() > 1 && bytes(&replays) > MAX_REPLAY_BYTES) {
            replays.pop_front();
        }
    }

    /// Returns the past and future events of a response's stream.
    ///
    /// # Errors
    /// Returns an error if the response or its stream is missing.
    pub async fn replay(&self, owner: &str, id: &str) -> Result<ReplayBuffer> {
        self.load(owner, id).await?;
        let replays = self.replays.lock().unwrap_or_else(PoisonError::into_inner);
        let replay = replays.iter().find(|(of, _)| of == id).map(|(_, replay)| replay.clone());
        let text = "stream: the events of this response are not kept: only those of responses made with background and \
                    stream are, for a while";
        replay.ok_or_else(|| Error::invalid("stream", text))
    }

    /// Produces a response in the background. `work` returns the finished response, which is stored, and a guard, which is dropped
    /// afterwards.
    pub fn run<R: Send>(
        self: &Arc<Self>,
        id: String,
        work: impl Future<Output = (String, R)> + Send + 'static,
    ) {
        let entry = RunningGuard { all: Arc::clone(self), id: id.clone() };
        let making = async move {
            let RunningGuard { all, id } = &entry;
            let (response, rest) = tokio::select! {
                made = work => made,
                () = all.wait_until_released(id) => return,
            };
            let kept = all.db.finish_response(id, all.instance.name(), &response).await;
            // The stream ends after the end is stored, or after the first attempt has failed.
            drop(rest);
            if kept.is_err() {
                all.store_end_with_retries(id, &response).await;
            }
        };
        // The map is locked until it contains the task, so the task cannot end before.
        self.running.send_modify(|running| {
            running.insert(id, tokio::spawn(making.in_current_span()).abort_handle());
        });
    }

    /// Stores that the generation of a background response has begun. Does not wait for the database. A response that has ended
    /// meanwhile stays as it is.
    pub fn record_begin(self: &Arc<Self>, begun: StoredResponse) {
        let this = Arc::clone(self);
        let write = async move {
            let StoredResponse { id, response, .. } = begun;
            if let Err(error) = this.db.update_response(&id, this.instance.name(), &response).await {
                // Clients see it as queued until its end.
                tracing::warn!(id, %error, "the beginning of a response could not be kept");
            }
        };
        tokio::spawn(write.in_current_span());
    }

    /// Waits until this gateway produces and stores no response.
    pub async fn wait_idle(&self) {
        // `self` owns the sender, so the channel cannot be closed.
        let _ = self.running.subscribe().wait_for(HashMap::is_empty).await;
        self.writes.close();
        self.writes.wait().await;
    }

    /// Waits until another gateway has cancelled a response of this one.
    async fn wait_until_released(&self, id: &str) {
        loop {
            tokio::time::sleep(RELEASE_CHECK_INTERVAL).await;
            if matches!(self.db.is_produced_by(id, self.instance.name()).await, Ok(false)) {
                return;
            }
        }
    }

    /// Stores the end of a background response. Its client can find it only in the database, so failed attempts are repeated.
    async fn store_end_with_retries(&self, id: &str, response: &str) {
        let mut pauses = RETRY_PAUSES_SECONDS.iter();
        while let Err(error) = self.db.finish_response(id, self.instance.name(), response).await {
            let Some(pause) = pauses.next() else { return drop(self.record_lost(id, &error)) };
            tokio::time::sleep(Duration::from_secs(*pause)).await;
        }
    }

    /// Cancels a background response of this or another gateway. Returns its final state.
    ///
    /// # Errors
    /// Returns an error if there is no such response, or if it is not a background response.
    pub async fn cancel(&self, owner: &str, id: &str) -> Result<Value> {
        let (mut response, instance) = self.load_current(owner, id).await?;
        if response["background"] != true {
            let text = "only a response with background: true can be cancelled; others are by closing the connection";
            return Err(Error::invalid("response_id", text));
        }
        let Some(instance) = instance else { return Ok(response) };
        response["status"] = "cancelled".into();
        let ended =
            self.db.finish_response(id, &instance, &response.to_string()).await.map_err(|e| to_error(&e))?;
        if !ended {
            return self.get(owner, id).await;
        }
        self.abort(id);
        Ok(response)
    }

    /// Deletes a response. A response in progress is stopped.
    ///
    /// # Errors
    /// Returns an error if there is no such response.
    pub async fn delete(&self, owner: &str, id: &str) -> Result<()> {
        if !self.db.delete_response(owner, id).await.map_err(|e| to_error(&e))? {
            return Err(not_found(id));
        }
        self.abort(id);
        Ok(())
    }

    /// Stops a response of this gateway. Another gateway notices the change in the database.
    fn abort(&self, id: &str) {
        if let Some(task) = self.running.borrow().get(id) {
            task.abort();
        }
    }

    async fn load(&self, owner: &str, id: &str) -> Result<StoredResponse> {
        self.db.response(owner, id).await.map_err(|e| to_error(&e))?.ok_or_else(|| not_found(id))
    }
}

/// Removes a response from those in progress on drop: at its end, at an abort or at a panic.
struct RunningGuard {
    all: Arc<ResponseStore>,
    id: String,
}

impl Drop for RunningGuard {
    fn drop(&mut self) {
        self.all.running.send_modify(|running| drop(running.remove(&self.id)));
    }
}

/// Whether the response is queued or in progress.
fn is_unfinished(response: &Value) -> bool {
    response["status"] == "queued" || response["status"] == "in_progress"
}

fn not_found(id: &str) -> Error {
    Error::not_found(Resource::Response, format!("the response \"{id}\" does not exist"))
        .with_field("response_id")
}

fn to_error(error: &DbError) -> Error {
    let kind = if error.is_temporary() { ErrorKind::Unavailable } else { ErrorKind::Internal };
    Error::new(kind, Origin::Gateway, error.to_string())
}

fn parse_json<T: serde::de::DeserializeOwned>(text: &str) -> Result<T> {
    serde_json::from_str(text).map_err(|e| corrupt_response(&e))
}

fn corrupt_response(error: &serde_json::Error) -> Error {
    Error::new(ErrorKind::Internal, Origin::Gateway, format!("a kept response cannot be parse_json: {error}"))
}
