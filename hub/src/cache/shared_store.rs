//! The store of contents that models share, of huggingface_hub 2: `blobs/XX/HASH` beside the models, marked by a file.
//!
//! A blob of a model is then a link into the store. `HASH.refs` lists these links, one path a line. A content without a list is
//! kept for ever: huggingface_hub prefers a leak to a loss, and so does mlxd.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Component, Path, PathBuf};

use super::locks::Lock;
use super::publish::remove_file;
use crate::error::{HubError, at};

const MARKER: &str = ".huggingface-shared-blobs";
const VERSION: &str = "1\n";

/// A cache's store.
#[derive(Debug)]
pub(super) struct SharedStore {
    /// The cache.
    root: PathBuf,
}

impl SharedStore {
    /// The store of a cache. `None` if it has none of a known form.
    pub(super) fn open(root: &Path) -> Option<Self> {
        let marker = fs::read_to_string(root.join("blobs").join(MARKER)).ok()?;
        (marker == VERSION).then(|| Self { root: root.to_owned() })
    }

    /// The content that a model's blob leads to, if it is in the store.
    pub(super) fn content(&self, blob: &Path) -> Option<PathBuf> {
        let target = fs::read_link(blob).ok()?;
        let path = plain(&blob.parent()?.join(target))?;
        let inside = path.strip_prefix(plain(&self.root)?.join("blobs")).ok()?;
        let parts: Vec<&str> = inside.iter().filter_map(|part| part.to_str()).collect();
        let [prefix, hash] = parts.as_slice() else { return None };
        let is_hash = hash.len() == 64 && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
        (is_hash && hash.starts_with(prefix) && prefix.len() == 2)
            .then(|| self.root.join("blobs").join(inside))
    }

    /// The blobs that lead to a content. `None` without a list.
    fn references(&self, content: &Path) -> Option<BTreeSet<PathBuf>> {
        let list = fs::read_to_string(beside(content, ".refs")).ok()?;
        let inside =
            |line: &&str| Path::new(line).components().all(|part| matches!(part, Component::Normal(_)));
        let blobs = list.lines().filter(inside).map(|line| self.root.join(line));
        Some(blobs.filter(|blob| self.content(blob).as_deref() == Some(content)).collect())
    }

    /// Bytes that are free once none of `blobs` is there.
    pub(super) fn freed(&self, content: &Path, blobs: &BTreeSet<PathBuf>) -> u64 {
        match self.references(content) {
            Some(references) if !references.is_empty() && references.is_subset(blobs) => {
                fs::symlink_metadata(content).map_or(0, |meta| meta.len())
            }
            _ => 0,
        }
    }

    /// Removes a content to which no blob leads any more. Otherwise its list keeps those that do.
    pub(super) fn sweep(&self, content: &Path) -> Result<(), HubError> {
        let _lock = Lock::block(&beside(content, ".lock"))?;
        let Some(references) = self.references(content) else { return Ok(()) };
        let list = beside(content, ".refs");
        if references.is_empty() {
            remove_file(content)?;
            return remove_file(&list);
        }
        let line = |blob: &PathBuf| Some(format!("{}\n", blob.strip_prefix(&self.root).ok()?.to_str()?));
        let text: String = references.iter().filter_map(line).collect();
        let new = beside(content, ".refs.mlxd.tmp");
        fs::write(&new, text).map_err(at(&new))?;
        fs::rename(&new, &list).map_err(at(&list))
    }
}

/// The file with this ending beside a content.
fn beside(content: &Path, ending: &str) -> PathBuf {
    let mut name = content.file_name().unwrap_or_default().to_owned();
    name.push(ending);
    content.with_file_name(name)
}

/// The path without `.` and `..`, by its text alone: links are not followed. `None` if it leaves the root.
fn plain(path: &Path) -> Option<PathBuf> {
    let mut plain = PathBuf::new();
    for part in std::path::absolute(path).ok()?.components() {
        match part {
            Component::ParentDir => plain.pop().then_some(())?,
            Component::CurDir => {}
            part => plain.push(part),
        }
    }
    Some(plain)
}
