//! Scans one store. Runs on the store's thread and may block there.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use model_folder::weights;

use super::inspect::inspect;
use super::stores::{Store, find_folders};
use super::{Catalogue, Folder, Model};

/// Finds the models of one store.
pub(crate) trait ModelSource: Send {
    /// The folder that an error message names if a scan does not end.
    fn path(&self) -> &Path;

    /// Every model of the store. May block for as long as the disk does.
    fn scan(&mut self) -> Catalogue;
}

/// Sources that read these stores from disk.
pub(crate) fn sources(stores: impl IntoIterator<Item = Store>) -> Vec<Box<dyn ModelSource>> {
    stores.into_iter().map(|store| Box::new(StoreScanner::new(store)) as Box<dyn ModelSource>).collect()
}

/// Reads a store, and headers only of models whose files have changed.
pub(super) struct StoreScanner {
    store: Store,
    last: Catalogue,
}

impl StoreScanner {
    pub(super) fn new(store: Store) -> Self {
        Self { store, last: Catalogue::new() }
    }
}

impl ModelSource for StoreScanner {
    fn path(&self) -> &Path {
        self.store.path()
    }

    fn scan(&mut self) -> Catalogue {
        let mut catalogue = Catalogue::new();
        for (id, folder) in find_folders(&self.store) {
            let known = self.last.get(&id).filter(|model| model.folder == folder);
            let model = known.cloned().unwrap_or_else(|| {
                let details = inspect(&folder.path);
                Arc::new(Model { folder, details })
            });
            catalogue.insert(id, model);
        }
        self.last.clone_from(&catalogue);
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
        weights::INDEX,
    ];
    let mut files: Vec<PathBuf> = names.iter().map(|name| path.join(name)).collect();
    let templates = fs::read_dir(path.join("additional_chat_templates")).into_iter().flatten();
    files.extend(templates.filter_map(Result::ok).map(|entry| entry.path()));
    files
}

/// Length and modification time in nanoseconds.
fn file_stamp(meta: &fs::Metadata) -> (u64, u64) {
    let modified = meta.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    (meta.len(), modified.map_or(0, |time| time.as_nanos() as u64))
}
