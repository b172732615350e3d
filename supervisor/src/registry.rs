//! The models on disk, as the fleet's actor knows them: the last catalogue of every store.
//!
//! Each store has a thread that walks its folders and reads headers ([`scan`]). The actor only merges the results.
//! A folder that is slow or hangs therefore delays neither the actor nor the other stores. Within a store, [`reader`]
//! leaves folders behind that do not answer.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use ipc_proto::supervisor::Details;

mod fields;
mod inspect;
mod reader;
mod scan;
mod stores;
mod summaries;

pub(crate) use inspect::{header_details, remote_details};
pub(crate) use scan::{ModelSource, scan_at_once, sources};
pub(crate) use stores::{Store, stores_of_other_programs};
pub(crate) use summaries::Summaries;

/// A catalogue of this age is fresh enough for a list.
pub(crate) const FRESH: Duration = Duration::from_millis(500);
/// A scan that runs for longer is overdue: its folder does not answer.
pub(crate) const SCAN_LIMIT: Duration = Duration::from_secs(5);
/// Ids that an error message lists.
const LISTED: usize = 8;

/// The models of one store, or of all of them, by id.
pub(crate) type Catalogue = BTreeMap<String, Arc<Model>>;

/// A model on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Model {
    pub(crate) folder: Folder,
    /// From the headers of its files.
    pub(crate) details: Details,
    /// Its folder does not answer. `details` are the last known ones.
    pub(crate) silent: bool,
}

/// A model's folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Folder {
    pub(crate) path: PathBuf,
    /// Modification time of its config.json, seconds since the epoch.
    pub(crate) created: u64,
    /// Bytes of its weight files.
    pub(crate) bytes: u64,
    /// Whether it has weight files or their index, even if they cannot be read.
    pub(crate) has_weights: bool,
    /// Sizes and times of its files. Differs when a file has changed.
    stamp: Vec<(u64, u64)>,
}

impl Folder {
    /// A folder that has not been read.
    pub(crate) fn unread(path: PathBuf) -> Self {
        Self { path, created: 0, bytes: 0, has_weights: false, stamp: Vec::new() }
    }
}

/// The catalogues of all stores.
#[derive(Debug)]
pub(crate) struct Registry {
    stores: Vec<ScannedStore>,
    merged: Catalogue,
    changed: BTreeSet<String>,
    /// Models whose ids another folder has, as sentences.
    hidden: BTreeSet<String>,
}

#[derive(Debug)]
struct ScannedStore {
    path: PathBuf,
    /// Each message makes the store's thread scan once.
    requests: Sender<()>,
    models: Catalogue,
    /// Scans completed so far.
    completed: u64,
    /// When the last completed scan began.
    scanned_at: Option<Instant>,
    /// When the scan began that runs now.
    running_since: Option<Instant>,
    /// Another scan follows the one that runs.
    repeat: bool,
}

/// For each store, the number of the scan that a caller waits for.
#[derive(Debug, Clone)]
pub(crate) struct ScanTicket(Vec<u64>);

impl Registry {
    /// Starts a thread per source and its first scan. If two sources have one id, the earlier source wins.
    ///
    /// `report` is called on those threads with the source's index and its catalogue.
    pub(crate) fn start(
        sources: Vec<Box<dyn ModelSource>>,
        report: impl Fn(usize, Catalogue) + Clone + Send + 'static,
    ) -> io::Result<Self> {
        let mut stores = Vec::new();
        for (index, mut source) in sources.into_iter().enumerate() {
            let path = source.path().to_owned();
            let (requests, received) = channel();
            let report = report.clone();
            // A thread outside the runtime: a scan that hangs must not hold up the runtime's end.
            thread::Builder::new().name(format!("scan-{index}")).spawn(move || {
                for () in received {
                    report(index, source.scan());
                }
            })?;
            stores.push(ScannedStore::new(path, requests));
        }
        let (merged, changed, hidden) = <_>::default();
        let mut registry = Self { stores, merged, changed, hidden };
        registry.refresh(Instant::now());
        Ok(registry)
    }

    /// Starts scans so that every store's catalogue is at most `max_age` old. Waits for none of them.
    pub(crate) fn request_scans(&mut self, max_age: Duration, now: Instant) -> ScanTicket {
        ScanTicket(self.stores.iter_mut().map(|store| store.request(max_age, now)).collect())
    }

    /// Starts scans of the stores whose catalogues are no longer fresh.
    pub(crate) fn refresh(&mut self, now: Instant) {
        for store in self.stores.iter_mut().filter(|store| store.running_since.is_none()) {
            store.request(FRESH, now);
        }
    }

    /// Takes over a store's new catalogue.
    pub(crate) fn complete_scan(&mut self, index: usize, models: Catalogue, now: Instant) {
        let Some(store) = self.stores.get_mut(index) else { return };
        let is_first = store.completed == 0;
        store.complete(models, now);
        let (merged, hidden) = self.merge();
        for text in hidden.difference(&self.hidden) {
            tracing::warn!("{text}");
        }
        self.hidden = hidden;
        let before = std::mem::replace(&mut self.merged, merged);
        // The first catalogue of a store is no change.
        if is_first {
            return;
        }
        for id in before.keys().chain(self.merged.keys()) {
            let (old, new) = (before.get(id), self.merged.get(id));
            if old.map(|model| &model.folder) != new.map(|model| &model.folder) {
                self.changed.insert(id.clone());
            }
        }
    }

    /// The models of all stores, and a sentence for each that is hidden by another.
    fn merge(&self) -> (Catalogue, BTreeSet<String>) {
        let (mut merged, mut hidden) = (Catalogue::new(), BTreeSet::new());
        for store in &self.stores {
            for (id, model) in &store.models {
                let first = merged.entry(id.clone()).or_insert_with(|| Arc::clone(model));
                let (first, second) = (&first.folder.path, &model.folder.path);
                if first != second {
                    let (first, second) = (first.display(), second.display());
                    hidden
                        .insert(format!("two models are named \"{id}\": {first} is served, {second} is not"));
                }
            }
        }
        (merged, hidden)
    }

    /// A sentence for each model that is hidden by another of the same id.
    pub(crate) fn hidden(&self) -> Vec<String> {
        self.hidden.iter().cloned().collect()
    }

    pub(crate) fn models(&self) -> &Catalogue {
        &self.merged
    }

    pub(crate) fn get(&self, id: &str) -> Option<Arc<Model>> {
        self.merged.get(id).cloned()
    }

    /// Whether every store has been scanned at least once.
    pub(crate) fn is_complete(&self) -> bool {
        self.stores.iter().all(|store| store.completed > 0)
    }

    /// The stores that can say more about a model: its own if it is known, else all.
    pub(crate) fn stores_for(&self, id: &str) -> Vec<usize> {
        match self.stores.iter().position(|store| store.models.contains_key(id)) {
            Some(own) => vec![own],
            None => self.all_stores(),
        }
    }

    pub(crate) fn all_stores(&self) -> Vec<usize> {
        (0..self.stores.len()).collect()
    }

    /// Whether the ticket's scans of these stores are complete, except for those that are overdue.
    pub(crate) fn is_settled(&self, stores: &[usize], ticket: &ScanTicket, now: Instant) -> bool {
        stores.iter().all(|&index| self.has_completed(index, ticket) || self.stores[index].is_overdue(now))
    }

    /// Folders of the stores whose scans are missing from the ticket.
    pub(crate) fn unanswered(&self, ticket: &ScanTicket) -> Vec<String> {
        let mut folders = Vec::new();
        for index in self.all_stores() {
            if !self.has_completed(index, ticket) {
                folders.push(self.stores[index].path.display().to_string());
            }
        }
        folders
    }

    fn has_completed(&self, index: usize, ticket: &ScanTicket) -> bool {
        self.stores[index].completed >= ticket.0[index]
    }

    /// Takes the models whose files came, changed or went since the last call, and whether they exist.
    pub(crate) fn take_changed(&mut self) -> Vec<(String, bool)> {
        let mut changed = Vec::new();
        for id in std::mem::take(&mut self.changed) {
            let exists = self.merged.contains_key(&id);
            changed.push((id, exists));
        }
        changed
    }

    /// Lists the available models for an error message.
    pub(crate) fn describe_available(&self) -> String {
        let ids: Vec<&str> = self.merged.keys().map(String::as_str).collect();
        match ids.len() {
            0 => {
                let places: Vec<String> =
                    self.stores.iter().map(|store| store.path.display().to_string()).collect();
                format!(
                    "there are no models yet; find one with `mlxd search`, or put model folders into {}",
                    places.join(" or ")
                )
            }
            n if n > LISTED => format!("available are {} and {} more", ids[..LISTED].join(", "), n - LISTED),
            _ => format!("available are {}", ids.join(", ")),
        }
    }
}

impl ScannedStore {
    fn new(path: PathBuf, requests: Sender<()>) -> Self {
        Self {
            path,
            requests,
            models: Catalogue::new(),
            completed: 0,
            scanned_at: None,
            running_since: None,
            repeat: false,
        }
    }

    /// The number of the first scan whose result is at most `max_age` old, which is started if needed.
    fn request(&mut self, max_age: Duration, now: Instant) -> u64 {
        let is_young =
            |began: Option<Instant>| began.is_some_and(|at| now.saturating_duration_since(at) < max_age);
        if is_young(self.scanned_at) {
            return self.completed;
        }
        if is_young(self.running_since) {
            return self.completed + 1;
        }
        if self.running_since.is_some() {
            self.repeat = true;
            return self.completed + 2;
        }
        self.begin(now);
        self.completed + 1
    }

    fn begin(&mut self, now: Instant) {
        self.running_since = Some(now);
        // A thread that is gone never answers, and the scan becomes overdue.
        let _ = self.requests.send(());
    }

    fn complete(&mut self, models: Catalogue, now: Instant) {
        self.models = models;
        self.completed += 1;
        self.scanned_at = self.running_since.take();
        if std::mem::take(&mut self.repeat) {
            self.begin(now);
        }
    }

    fn is_overdue(&self, now: Instant) -> bool {
        self.running_since.is_some_and(|since| now.saturating_duration_since(since) > SCAN_LIMIT)
    }
}

#[cfg(test)]
mod tests;
