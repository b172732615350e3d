//! The layouts of model stores: plain folders, Hugging Face's cache, LM Studio's folder.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use model_folder::files::read_text;
use model_folder::hub_cache;

use super::Folder;
use super::reader::Reader;
use super::scan::read_folder;

/// Levels of folders that are searched. `organisation/model` needs two.
const MAX_DEPTH: usize = 4;
/// Bytes of a `refs/main` file. A revision has 40.
const MAX_REVISION_BYTES: u64 = 256;

/// A folder with models.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Store {
    /// Models are named by their paths below it. It can be a model itself.
    Folder(PathBuf),
    /// `models--organisation--name/snapshots/<revision>`, the layout of huggingface_hub
    /// (<https://huggingface.co/docs/huggingface_hub/guides/manage-cache>).
    Hub(PathBuf),
    /// `organisation/name` folders of another program. Only those with weights in safetensors count.
    Foreign(PathBuf),
}

impl Store {
    pub(crate) fn path(&self) -> &Path {
        let (Self::Folder(path) | Self::Hub(path) | Self::Foreign(path)) = self;
        path
    }
}

/// The stores of other programs, located by their own rules.
///
/// Hugging Face's cache: HF_HUB_CACHE, HF_HOME, XDG_CACHE_HOME, ~/.cache.
/// LM Studio's models: ~/.lmstudio, formerly ~/.cache/lm-studio.
pub(crate) fn stores_of_other_programs(variable: impl Fn(&str) -> Option<PathBuf>) -> Vec<Store> {
    let hub = hub_cache::location(&variable);
    let mut stores: Vec<Store> = hub.map(Store::Hub).into_iter().collect();
    if let Some(home) = variable("HOME") {
        stores.push(Store::Foreign(home.join(".lmstudio/models")));
        stores.push(Store::Foreign(home.join(".cache/lm-studio/models")));
    }
    stores
}

/// The result of a scan under an id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Found {
    Folder(Folder),
    /// The path does not answer.
    Silent(PathBuf),
}

/// The content of a path in a store.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum PathContent {
    Nothing,
    Model(Folder),
    /// A folder that is no model.
    Folders {
        /// Device and inode.
        identity: (u64, u64),
        /// Files are left out.
        entries: Vec<Entry>,
    },
}

/// An entry of a folder.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entry {
    name: String,
    path: PathBuf,
    is_link: bool,
}

/// Every model folder of a store, by id. Blocks for as long as the store's own folder does, and not for long at those
/// below it.
pub(super) fn find_folders(store: &Store, reader: &mut Reader<PathContent>) -> BTreeMap<String, Found> {
    match store {
        Store::Folder(path) => Walk::new(reader).run(path, MAX_DEPTH),
        Store::Foreign(path) => {
            let mut found = Walk::new(reader).run(path, 2);
            found.retain(|_, found| !matches!(found, Found::Folder(folder) if !folder.has_weights));
            found
        }
        Store::Hub(path) => find_snapshots(path, reader),
    }
}

/// A walk through the folders of a store.
///
/// It enters each folder once, by device and inode: links may form circles. Links come last, so that a folder keeps its
/// own name. Models may have several names.
struct Walk<'a> {
    reader: &'a mut Reader<PathContent>,
    entered: BTreeSet<(u64, u64)>,
    /// Ids, paths and depths.
    links: VecDeque<(String, PathBuf, usize)>,
    found: BTreeMap<String, Found>,
}

impl<'a> Walk<'a> {
    fn new(reader: &'a mut Reader<PathContent>) -> Self {
        Self { reader, entered: BTreeSet::new(), links: VecDeque::new(), found: BTreeMap::new() }
    }

    fn run(mut self, root: &Path, depth: usize) -> BTreeMap<String, Found> {
        match inspect_path(root, true) {
            // A folder that is a model itself is named by its own name.
            PathContent::Model(folder) => {
                if let Some(name) = root.file_name() {
                    self.found.insert(name.to_string_lossy().into_owned(), Found::Folder(folder));
                }
            }
            PathContent::Folders { identity, entries } => self.enter("", identity, entries, depth),
            PathContent::Nothing => {}
        }
        while let Some((id, path, depth)) = self.links.pop_front() {
            self.visit(id, path, depth);
        }
        self.found
    }

    fn enter(&mut self, prefix: &str, identity: (u64, u64), entries: Vec<Entry>, depth: usize) {
        if !self.entered.insert(identity) {
            return;
        }
        for Entry { name, path, is_link } in entries {
            let id = format!("{prefix}{name}");
            if is_link {
                self.links.push_back((id, path, depth));
            } else {
                self.visit(id, path, depth);
            }
        }
    }

    fn visit(&mut self, id: String, path: PathBuf, depth: usize) {
        let (at, is_entered) = (path.clone(), depth > 1);
        match self.reader.read(&path, move || inspect_path(&at, is_entered)) {
            None => drop(self.found.insert(id, Found::Silent(path))),
            Some(PathContent::Model(folder)) => drop(self.found.insert(id, Found::Folder(folder))),
            Some(PathContent::Folders { identity, entries }) => {
                self.enter(&format!("{id}/"), identity, entries, depth - 1);
            }
            Some(PathContent::Nothing) => {}
        }
    }
}

/// Reads what is at a path. A folder that will not be entered counts as nothing.
fn inspect_path(path: &Path, is_entered: bool) -> PathContent {
    if let Some(folder) = read_folder(path) {
        return PathContent::Model(folder);
    }
    let is_folder = |meta: &fs::Metadata| is_entered && meta.is_dir();
    let Some(meta) = fs::metadata(path).ok().filter(is_folder) else { return PathContent::Nothing };
    let Ok(entries) = fs::read_dir(path) else { return PathContent::Nothing };
    let mut entries: Vec<Entry> = entries.filter_map(Result::ok).filter_map(|e| to_entry(&e)).collect();
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    PathContent::Folders { identity: (meta.dev(), meta.ino()), entries }
}

/// `None` for a file, and for a hidden folder. A request cannot name a folder whose name is not UTF-8.
fn to_entry(entry: &fs::DirEntry) -> Option<Entry> {
    let name = entry.file_name().to_str().filter(|name| !name.starts_with('.'))?.to_owned();
    let kind = entry.file_type().ok().filter(|kind| kind.is_dir() || kind.is_symlink())?;
    Some(Entry { name, path: entry.path(), is_link: kind.is_symlink() })
}

fn find_snapshots(cache: &Path, reader: &mut Reader<PathContent>) -> BTreeMap<String, Found> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(cache).into_iter().flatten().filter_map(Result::ok) {
        let name = entry.file_name();
        let Some(id) = name.to_str().and_then(hub_cache::model_id) else { continue };
        let path = entry.path();
        let at = path.clone();
        match reader.read(&path, move || read_snapshot(&at).map_or(PathContent::Nothing, PathContent::Model))
        {
            None => drop(found.insert(id, Found::Silent(path))),
            Some(PathContent::Model(folder)) => drop(found.insert(id, Found::Folder(folder))),
            Some(_) => {}
        }
    }
    found
}

/// The snapshot of a repository; `None` if none has weights.
///
/// It is the one that `refs/main` names. The download of another revision writes no `refs/main`, or leaves an old one. Then it is
/// the newest snapshot.
fn read_snapshot(repository: &Path) -> Option<Folder> {
    let snapshots = repository.join("snapshots");
    main_revision(repository)
        .and_then(|revision| read_weights_folder(&snapshots.join(revision)))
        .or_else(|| newest_snapshot(&snapshots))
}

/// The revision in `refs/main`.
fn main_revision(repository: &Path) -> Option<String> {
    let reference = read_text(&repository.join("refs/main"), MAX_REVISION_BYTES).ok()?;
    let revision = reference.trim();
    // The file's content becomes part of a path.
    let is_revision = !revision.is_empty() && revision.bytes().all(|byte| byte.is_ascii_alphanumeric());
    is_revision.then(|| revision.to_owned())
}

/// The snapshot that was written last; of several, the last by name.
fn newest_snapshot(snapshots: &Path) -> Option<Folder> {
    let mut newest: Option<(SystemTime, Folder)> = None;
    for entry in fs::read_dir(snapshots).ok()?.filter_map(Result::ok) {
        let Some(folder) = read_weights_folder(&entry.path()) else { continue };
        let written = entry.metadata().and_then(|meta| meta.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
        let is_newer =
            newest.as_ref().is_none_or(|(time, other)| (*time, &other.path) < (written, &folder.path));
        if is_newer {
            newest = Some((written, folder));
        }
    }
    newest.map(|(_, folder)| folder)
}

fn read_weights_folder(path: &Path) -> Option<Folder> {
    read_folder(path).filter(|folder| folder.has_weights)
}
