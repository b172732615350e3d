//! Scans one store. Runs on the store's thread and may block there.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use ipc_proto::supervisor::Details;
use model_folder::weights;

use super::inspect::{SENTENCE_CONFIG, inspect};
use super::reader::Reader;
use super::stores::{Found, PathContent, Store, find_folders};
use super::summaries::Summaries;
use super::{Catalogue, Folder, Model};

/// Finds the models of one store.
pub(crate) trait ModelSource: Send {
    /// The folder that an error message names if a scan does not end.
    fn path(&self) -> &Path;

    /// Every model of the store. May block for as long as the store's folder does.
    fn scan(&mut self) -> Catalogue;
}

/// Sources that read these stores from disk. Models that the summaries know are not read.
pub(crate) fn sources(
    stores: impl IntoIterator<Item = Store>,
    summaries: &Arc<Summaries>,
) -> Vec<Box<dyn ModelSource>> {
    let scanner = |store| Box::new(StoreScanner::new(store, Arc::clone(summaries))) as Box<dyn ModelSource>;
    stores.into_iter().map(scanner).collect()
}

/// Scans stores once, one after another. Writes into the home what the next scan need not read.
pub(crate) fn scan_at_once(stores: Vec<Store>, home: &Path) -> Vec<(Store, Catalogue)> {
    let began = SystemTime::now();
    let summaries = Arc::new(Summaries::of(home));
    let scan = |store: Store| (store.clone(), StoreScanner::new(store, Arc::clone(&summaries)).scan());
    let scanned: Vec<_> = stores.into_iter().map(scan).collect();
    summaries.update(scanned.iter().flat_map(|(_, catalogue)| catalogue.values()), began);
    scanned
}

/// Reads a store, and headers only of models whose files have changed since the last scan or its summary.
pub(super) struct StoreScanner {
    store: Store,
    /// The models as they were when their folders answered.
    last: Catalogue,
    summaries: Arc<Summaries>,
    places: Reader<PathContent>,
    headers: Reader<Details>,
}

impl StoreScanner {
    pub(super) fn new(store: Store, summaries: Arc<Summaries>) -> Self {
        Self { store, last: Catalogue::new(), summaries, places: Reader::new(), headers: Reader::new() }
    }

    /// A model whose folder answers.
    fn read(&mut self, id: &str, folder: Folder) -> Arc<Model> {
        if let Some(known) = self.last.get(id).filter(|model| model.folder == folder) {
            return Arc::clone(known);
        }
        if let Some(details) = self.summaries.details(&folder).cloned() {
            return Arc::new(Model { folder, details, silent: false });
        }
        let path = folder.path.clone();
        match self.headers.read(&folder.path, move || inspect(&path)) {
            Some(details) => Arc::new(Model { folder, details, silent: false }),
            None => self.silent(id, folder),
        }
    }

    /// A model whose folder does not answer, with the details that are known.
    fn silent(&self, id: &str, folder: Folder) -> Arc<Model> {
        let known = self.last.get(id);
        let problem = Some(format!("its folder {} does not answer", folder.path.display()));
        let details = known.map(|model| model.details.clone()).unwrap_or_default();
        let details = Details { folder: folder.path.clone(), problem, ..details };
        let folder = known.map_or(folder, |model| model.folder.clone());
        Arc::new(Model { folder, details, silent: true })
    }
}

impl ModelSource for StoreScanner {
    fn path(&self) -> &Path {
        self.store.path()
    }

    fn scan(&mut self) -> Catalogue {
        self.places.begin_scan();
        self.headers.begin_scan();
        let (mut catalogue, mut last) = (Catalogue::new(), Catalogue::new());
        for (id, found) in find_folders(&self.store, &mut self.places) {
            let model = match found {
                Found::Folder(folder) => self.read(&id, folder),
                Found::Silent(path) => self.silent(&id, Folder::unread(path)),
            };
            let answered = if model.silent { self.last.get(&id) } else { Some(&model) };
            last.extend(answered.map(|model| (id.clone(), Arc::clone(model))));
            catalogue.insert(id, model);
        }
        self.last = last;
        catalogue
    }
}

/// The model in a folder; `None` without a regular config.json.
pub(super) fn read_folder(path: &Path) -> Option<Folder> {
    let config = fs::metadata(path.join("config.json")).ok().filter(fs::Metadata::is_file)?;
    let mut weights = Vec::new();
    for entry in fs::read_dir(path).ok()?.filter_map(Result::ok) {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        // macOS writes `._` files on foreign file systems.
        if name.ends_with(".safetensors") && !name.starts_with('.') {
            weights.push(entry.path());
        }
    }
    let has_weights = !weights.is_empty() || path.join(weights::INDEX).exists();
    weights.sort();
    let weights: Vec<fs::Metadata> = weights.iter().filter_map(|file| fs::metadata(file).ok()).collect();
    let mut stamp = vec![file_stamp(&config)];
    stamp.extend(weights.iter().map(file_stamp));
    stamp.extend(
        other_files(path).iter().filter_map(|file| fs::metadata(file).ok()).map(|meta| file_stamp(&meta)),
    );
    let created = config.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    Some(Folder {
        path: path.to_owned(),
        created: created.map_or(0, |time| time.as_secs()),
        bytes: weights.iter().map(fs::Metadata::len).sum(),
        has_weights,
        stamp,
    })
}

/// Files that [`inspect`] reads beside config.json and weights.
fn other_files(path: &Path) -> Vec<PathBuf> {
    let names = [
        "tokenizer.json",
        "tokenizer_config.json",
        "generation_config.json",
        "chat_template.jinja",
        "chat_template.json",
        "modules.json",
        "1_Pooling/config.json",
        SENTENCE_CONFIG,
        weights::INDEX,
    ];
    let mut files: Vec<PathBuf> = names.iter().map(|name| path.join(name)).collect();
    let templates = fs::read_dir(path.join("additional_chat_templates")).into_iter().flatten();
    files.extend(templates.filter_map(Result::ok).map(|entry| entry.path()));
    files
}

/// Length and modification time in nanoseconds.
pub(super) fn file_stamp(meta: &fs::Metadata) -> (u64, u64) {
    let modified = meta.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    (meta.len(), modified.map_or(0, |time| time.as_nanos() as u64))
}
