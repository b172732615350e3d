//! Removes what an unfinished download has left, and keeps every complete snapshot.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::path::Path;

use super::Repository;
use super::publish::{remove_file, remove_folder};
use super::removal::disk_bytes;
use crate::error::HubError;

/// The ends of the names of a file on its way.
const PARTS: [&str; 3] = [".mlxd.incomplete", ".mlxd.ranges", ".mlxd.ranges.new"];

/// Removes mlxd's parts of files, and contents that no snapshot has. Returns the bytes that are free again.
///
/// Contents that another program has locked stay, and so do links into the shared store.
pub(super) fn discard(repository: &Repository, id: &str) -> Result<u64, HubError> {
    if !repository.folder().is_dir() {
        return Ok(0);
    }
    let _lock = repository.try_lock_model()?.ok_or_else(|| HubError::InUse(id.to_owned()))?;
    let used = used(&repository.folder().join("snapshots"));
    let mut freed = 0;
    // A write of the download that was ended may still be under way, and make a part a whole file between two looks.
    loop {
        let (files, bytes) = sweep(repository, &used)?;
        freed += bytes;
        if files == 0 {
            break;
        }
    }
    let is_empty = |folder: &Path| fs::read_dir(folder).map_or(true, |mut entries| entries.next().is_none());
    if used.is_empty() && is_empty(&repository.blobs()) {
        remove_folder(&repository.folder())?;
        remove_folder(&repository.locks())?;
    }
    Ok(freed)
}

/// The names of the contents that snapshots have.
fn used(snapshots: &Path) -> BTreeSet<OsString> {
    let mut names = BTreeSet::new();
    let mut folders = vec![snapshots.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok) {
            let path = entry.path();
            match fs::read_link(&path) {
                Ok(target) => names.extend(target.file_name().map(ToOwned::to_owned)),
                Err(_) if path.is_dir() => folders.push(path),
                Err(_) => {}
            }
        }
    }
    names
}

/// Removes what is surplus. Returns the number of files, and their bytes.
fn sweep(repository: &Repository, used: &BTreeSet<OsString>) -> Result<(usize, u64), HubError> {
    let (mut files, mut freed) = (0, 0);
    for entry in fs::read_dir(repository.blobs()).into_iter().flatten().filter_map(Result::ok) {
        let (path, name) = (entry.path(), entry.file_name());
        let Ok(meta) = fs::symlink_metadata(&path) else { continue };
        let text = name.to_string_lossy();
        let part = PARTS.iter().find_map(|ending| text.strip_suffix(ending));
        // Unfinished files of other programs have a point in their names.
        let is_surplus = part.is_some() || (!used.contains(&name) && !text.contains('.'));
        if !meta.is_file() || !is_surplus {
            continue;
        }
        let Some(_lock) = repository.try_lock_blob(part.unwrap_or(&text))? else { continue };
        remove_file(&path)?;
        files += 1;
        freed += disk_bytes(&meta);
    }
    Ok((files, freed))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::super::Cache;
    use super::*;

    #[test]
    fn parts_go_and_another_snapshots_contents_stay() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::new(folder.path());
        let repository = cache.repository("o/m");
        repository.prepare().unwrap();
        let snapshot = repository.snapshot(&"a".repeat(40));
        fs::create_dir_all(snapshot.join("sub")).unwrap();
        for name in ["old", "new", "e.mlxd.incomplete", "e.mlxd.ranges", "p.incomplete", "locked"] {
            fs::write(repository.blob(name), vec![1; 9000]).unwrap();
        }
        symlink("../../../blobs/old", snapshot.join("sub/model.safetensors")).unwrap();
        let lock = repository.try_lock_blob("locked").unwrap().unwrap();
        assert!(cache.discard("o/m").unwrap() >= 27_000);
        let left = |repository: &Repository| {
            let entries = fs::read_dir(repository.blobs()).unwrap();
            let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
            names.sort();
            names
        };
        assert_eq!(left(&repository), ["locked", "old", "p.incomplete"]);
        drop(lock);
        cache.discard("o/m").unwrap();
        assert_eq!(left(&repository), ["old", "p.incomplete"]);
    }

    #[test]
    fn model_without_a_snapshot_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::new(folder.path());
        let repository = cache.repository("o/m");
        repository.prepare().unwrap();
        fs::write(repository.blob("e.mlxd.incomplete"), "x").unwrap();
        fs::write(repository.blob("whole"), "x").unwrap();
        let lock = repository.try_lock_model().unwrap();
        assert!(matches!(cache.discard("o/m"), Err(HubError::InUse(_))));
        drop(lock);
        cache.discard("o/m").unwrap();
        assert!(!repository.folder().exists());
        assert_eq!(cache.discard("o/m").unwrap(), 0);
    }
}
