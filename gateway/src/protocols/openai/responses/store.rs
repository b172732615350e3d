//! Responses that are kept: read, gone on from, cancelled, deleted.
//!
//! Those made while nobody waits run as tasks of this process, and are kept from their beginning on with its name: another
//! gateway, that took this one's place or whose place this one took, may read them too, and end them by taking the name away.

use std::collections::{HashMap, VecDeque};
use std::fmt::Display;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ipc_proto::{Error, ErrorKind, Origin, Resource, Result};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::AbortHandle;

use crate::dispatch::replay_buffer::ReplayBuffer;
use crate::protocols::openai::responses::wire::Item;
use crate::store::instance::GatewayInstance;
use crate::store::responses::Stored;
use crate::store::{Db, DbError};

/// The kept responses.
#[derive(Debug)]
pub struct Responses {
    db: Db,
    /// Those that the database did not take.
    lost: AtomicU64,
    /// How long one is kept, in seconds.
    seconds: u64,
    /// This gateway.
    maker: GatewayInstance,
    running: watch::Sender<HashMap<String, AbortHandle>>,
    /// What the streams of those told that are made while nobody need wait, the latest last.
    replays: Mutex<VecDeque<(String, ReplayBuffer)>>,
}

/// Streams that can be read again, at most; the oldest go first.
const MAX_TAPES: usize = 64;
/// Bytes of them, at most, together.
const MAX_TAPE_BYTES: usize = 32 << 20;

/// Seconds between tries to keep the end of a response that nobody waits for: two minutes in all.
const PAUSES: [u64; 6] = [1, 2, 4, 13, 40, 60];
/// How often it is looked whether another gateway was told to end what this one makes.
const LOOK_EVERY: Duration = Duration::from_secs(1);

impl Responses {
    /// Those in `db`, which is `home`'s, each for so many days.
    pub fn new(db: Db, home: &Path, days: u32) -> Self {
        let seconds = u64::from(days) * 24 * 3600;
        let (running, replays) = (watch::Sender::default(), Mutex::default());
        Self { db, lost: AtomicU64::new(0), seconds, maker: GatewayInstance::new(home), running, replays }
    }

    /// Responses that could not be kept so far.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Keeps a response. One that cannot be kept is counted, and told of in the log.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn keep(&self, stored: &Stored, now: u64) -> Result<()> {
        let kept = self.db.keep_response(stored, now, self.seconds).await;
        kept.map_err(|error| self.lose(&stored.id, &error))
    }

    /// Keeps the beginning of a response that is to be made here while nobody waits.
    ///
    /// # Errors
    /// When that cannot be kept.
    pub async fn begin(&self, mut stored: Stored, now: u64) -> Result<()> {
        self.maker.show().map_err(|error| self.lose(&stored.id, &error))?;
        stored.maker = Some(self.maker.name().to_owned());
        self.keep(&stored, now).await
    }

    fn lose(&self, id: &str, error: &dyn Display) -> Error {
        self.lost.fetch_add(1, Ordering::Relaxed);
        tracing::warn!(id, %error, "a response could not be kept");
        let text = format!("the response cannot be kept: {error}");
        Error::new(ErrorKind::Unavailable, Origin::Gateway, text)
    }

    /// Items of a conversation up to and with response `id`.
    ///
    /// # Errors
    /// When it, or an earlier one, is not there or not finished.
    pub async fn history(&self, owner: &str, id: &str) -> Result<Vec<Item>> {
        let wrong = |text: String| {
            let error = Error::not_found(Resource::Response, text);
            Err(error.with_field("previous_response_id"))
        };
        let chain = self.db.response_chain(owner, id).await.map_err(|e| refused(&e))?;
        match chain.first() {
            None => return wrong(format!("the previous response \"{id}\" does not exist, or was not kept")),
            Some(Stored { previous: Some(lost), .. }) => {
                return wrong(format!(
                    "the response \"{lost}\", which \"{id}\" goes on from, is not kept any more"
                ));
            }
            Some(_) => {}
        }
        let mut items = Vec::new();
        for stored in chain {
            let response: Value = read(&stored.response)?;
            if is_in_progress(&response) {
                let made = stored.maker.is_some_and(|maker| self.is_making(&maker, &stored.id));
                let what = if made { "is not finished" } else { "has failed" };
                let text = format!("the previous response \"{}\" {what}", stored.id);
                return Err(Error::invalid("previous_response_id", text));
            }
            items.extend(read::<Vec<Item>>(&stored.input)?);
            let output = serde_json::from_value::<Vec<Item>>(response["output"].clone());
            items.extend(output.map_err(|e| broken(&e))?);
        }
        Ok(items)
    }

    /// A response as the API gives it.
    ///
    /// # Errors
    /// When it is not there.
    pub async fn get(&self, owner: &str, id: &str) -> Result<Value> {
        self.current(owner, id).await.map(|(response, _)| response)
    }

    /// Likewise, with the name of the gateway that still makes it.
    async fn current(&self, owner: &str, id: &str) -> Result<(Value, Option<String>)> {
        let stored = self.stored(owner, id).await?;
        let response: Value = read(&stored.response)?;
        if !is_in_progress(&response) {
            return Ok((response, None));
        }
        if let Some(maker) = stored.maker
            && self.is_making(&maker, id)
        {
            return Ok((response, Some(maker)));
        }
        // It may have ended since it was read; after this nobody is there to end it any more.
        let mut response: Value = read(&self.stored(owner, id).await?.response)?;
        if is_in_progress(&response) {
            response["status"] = "failed".into();
            let text = "the server was restarted while the response was made, or could not keep it";
            response["error"] = json!({"code": "server_error", "message": text});
        }
        Ok((response, None))
    }

    fn is_making(&self, maker: &str, id: &str) -> bool {
        if maker == self.maker.name() {
            return self.running.borrow().contains_key(id);
        }
        self.maker.lives(maker)
    }

    /// The items that were new in a response.
    ///
    /// # Errors
    /// When it is not there.
    pub async fn input(&self, owner: &str, id: &str) -> Result<Vec<Item>> {
        read(&self.stored(owner, id).await?.input)
    }

    /// An item that a kept response has brought forth, by its id, which the response's follows from; `None` where there is
    /// none.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn item(&self, owner: &str, id: &str) -> Result<Option<Item>> {
        let number = id.split_once('_').and_then(|(_, rest)| Some(rest.rsplit_once('_')?.0));
        let Some(number) = number else { return Ok(None) };
        let stored = self.db.response(owner, &format!("resp_{number}")).await.map_err(|e| refused(&e))?;
        let Some(stored) = stored else { return Ok(None) };
        let response: Value = read(&stored.response)?;
        let items: Vec<Item> = serde_json::from_value(response["output"].clone()).map_err(|e| broken(&e))?;
        Ok(items.into_iter().find(|item| item.id.as_deref() == Some(id)))
    }

    /// Lets a stream be read again by the response's id.
    pub fn record(&self, id: String, replay: ReplayBuffer) {
        let mut replays = self.replays.lock().unwrap_or_else(PoisonError::into_inner);
        replays.push_back((id, replay));
        let bytes = |replays: &VecDeque<(String, ReplayBuffer)>| {
            replays.iter().map(|(_, replay)| replay.size()).sum::<usize>()
        };
        while replays.len() > MAX_TAPES || (replays.len() > 1 && bytes(&replays) > MAX_TAPE_BYTES) {
            replays.pop_front();
        }
    }

    /// What a response's stream has told and tells.
    ///
    /// # Errors
    /// When the response is not there, or its stream is not.
    pub async fn replay(&self, owner: &str, id: &str) -> Result<ReplayBuffer> {
        self.stored(owner, id).await?;
        let replays = self.replays.lock().unwrap_or_else(PoisonError::into_inner);
        let replay = replays.iter().find(|(of, _)| of == id).map(|(_, replay)| replay.clone());
        let text = "stream: the events of this response are not kept: only those of responses made with background and \
                    stream are, for a while";
        replay.ok_or_else(|| Error::invalid("stream", text))
    }

    /// Makes a response while nobody waits; the first of what `work` returns is kept, and then the rest of it is dropped.
    pub fn run<R: Send>(
        self: &Arc<Self>,
        id: String,
        work: impl Future<Output = (String, R)> + Send + 'static,
    ) {
        let entry = Entry { all: Arc::clone(self), id: id.clone() };
        let making = async move {
            let Entry { all, id } = &entry;
            let (response, rest) = tokio::select! {
                made = work => made,
                () = all.taken_away(id) => return,
            };
            let kept = all.db.end_response(id, all.maker.name(), &response).await;
            // It is told that it has ended when it is kept so, or when that has to wait.
            drop(rest);
            if kept.is_err() {
                all.end_at_last(id, &response).await;
            }
        };
        // The map is locked until the task is known: it cannot end before.
        self.running.send_modify(|running| {
            running.insert(id, tokio::spawn(making).abort_handle());
        });
    }

    /// Returns when no response is made here any more.
    pub async fn idle(&self) {
        // The sender is ours: it cannot be gone.
        let _ = self.running.subscribe().wait_for(HashMap::is_empty).await;
    }

    /// Comes when another gateway was told to end a response that is made here.
    async fn taken_away(&self, id: &str) {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            if matches!(self.db.is_made_by(id, self.maker.name()).await, Ok(false)) {
                return;
            }
        }
    }

    /// Keeps the end of a response that nobody waits for: its client can only find it here, so this is tried for a while.
    async fn end_at_last(&self, id: &str, response: &str) {
        let mut pauses = PAUSES.iter();
        while let Err(error) = self.db.end_response(id, self.maker.name(), response).await {
            let Some(pause) = pauses.next() else { return drop(self.lose(id, &error)) };
            tokio::time::sleep(Duration::from_secs(*pause)).await;
        }
    }

    /// Stops a response that is made while nobody waits, here or by another gateway; the response as it is then.
    ///
    /// # Errors
    /// When it is not there, or was never such a one.
    pub async fn cancel(&self, owner: &str, id: &str) -> Result<Value> {
        let (mut response, maker) = self.current(owner, id).await?;
        if response["background"] != true {
            let text = "only a response with background: true can be cancelled; others are by closing the connection";
            return Err(Error::invalid("response_id", text));
        }
        let Some(maker) = maker else { return Ok(response) };
        response["status"] = "cancelled".into();
        let ended = self.db.end_response(id, &maker, &response.to_string()).await.map_err(|e| refused(&e))?;
        if !ended {
            return self.get(owner, id).await;
        }
        self.abort(id);
        Ok(response)
    }

    /// Forgets a response; one that is being made is stopped.
    ///
    /// # Errors
    /// When it is not there.
    pub async fn delete(&self, owner: &str, id: &str) -> Result<()> {
        if !self.db.delete_response(owner, id).await.map_err(|e| refused(&e))? {
            return Err(unknown(id));
        }
        self.abort(id);
        Ok(())
    }

    /// Stops what is made here; another gateway sees by itself that it need not go on.
    fn abort(&self, id: &str) {
        if let Some(task) = self.running.borrow().get(id) {
            task.abort();
        }
    }

    async fn stored(&self, owner: &str, id: &str) -> Result<Stored> {
        self.db.response(owner, id).await.map_err(|e| refused(&e))?.ok_or_else(|| unknown(id))
    }
}

/// A response among those that are made here, until it is dropped, be it by an end, an abort or a panic.
struct Entry {
    all: Arc<Responses>,
    id: String,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.all.running.send_modify(|running| drop(running.remove(&self.id)));
    }
}

fn is_in_progress(response: &Value) -> bool {
    response["status"] == "in_progress"
}

fn unknown(id: &str) -> Error {
    Error::not_found(Resource::Response, format!("the response \"{id}\" does not exist"))
        .with_field("response_id")
}

fn refused(error: &DbError) -> Error {
    Error::new(ErrorKind::Internal, Origin::Gateway, error.to_string())
}

fn read<T: serde::de::DeserializeOwned>(text: &str) -> Result<T> {
    serde_json::from_str(text).map_err(|e| broken(&e))
}

fn broken(error: &serde_json::Error) -> Error {
    Error::new(ErrorKind::Internal, Origin::Gateway, format!("a kept response cannot be read: {error}"))
}
