//! Makes a downloaded model visible, at once and only when all of it is there.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::Repository;
use crate::error::{HubError, at};
use crate::info::RemoteFile;
use crate::settings::is_commit;

/// The form of the tree's list that huggingface_hub 2 reads.
const TREE_FORMAT: u32 = 1;

impl Repository {
    /// Creates the folders of a download.
    pub(crate) fn prepare(&self) -> Result<(), HubError> {
        let blobs = self.blobs();
        fs::create_dir_all(&blobs).map_err(at(blobs))
    }

    /// Links a snapshot's files to their blobs, then points the branch or tag to it. All blobs must be complete.
    ///
    /// A new snapshot appears by one rename. In one that another program has begun, the weights come last.
    pub(crate) fn publish(
        &self,
        commit: &str,
        revision: &str,
        files: &[&RemoteFile],
        all: &[RemoteFile],
    ) -> Result<PathBuf, HubError> {
        let target = self.snapshot(commit);
        self.write_tree(commit, all)?;
        if target.is_dir() {
            link_files(&target, files, &target)?;
        } else {
            let new = self.folder().join(format!(".{commit}.mlxd"));
            remove_folder(&new)?;
            // The links are relative, so they are made for the folder's final place.
            link_files(&new, files, &target)?;
            let parent = self.folder().join("snapshots");
            fs::create_dir_all(&parent).map_err(at(parent))?;
            fs::rename(&new, &target).map_err(at(&target))?;
        }
        if !is_commit(revision) {
            self.write_reference(revision, commit)?;
        }
        Ok(target)
    }

    /// The commit that a revision means here.
    pub(crate) fn commit(&self, revision: &str) -> Option<String> {
        if is_commit(revision) {
            return Some(revision.to_owned());
        }
        let text = fs::read_to_string(self.folder().join("refs").join(revision)).ok()?;
        Some(text.trim().to_owned()).filter(|commit| is_commit(commit))
    }

    /// The files of a commit as a list on disk has them. `None` without a list.
    pub(crate) fn tree(&self, commit: &str) -> Option<Vec<RemoteFile>> {
        let text = fs::read_to_string(self.tree_path(commit)).ok()?;
        let list: Value = serde_json::from_str(&text).ok()?;
        let files = list.get("files")?.as_object()?;
        files.iter().map(|(path, entry)| tree_file(path, entry)).collect()
    }

    fn tree_path(&self, commit: &str) -> PathBuf {
        self.folder().join("trees").join(format!("{commit}.json"))
    }

    fn write_tree(&self, commit: &str, all: &[RemoteFile]) -> Result<(), HubError> {
        let path = self.tree_path(commit);
        if path.exists() {
            return Ok(());
        }
        // Sorted, as huggingface_hub writes them.
        let files: BTreeMap<&str, Value> =
            all.iter().map(|file| (file.path.as_str(), tree_entry(file))).collect();
        let files: Map<String, Value> =
            files.into_iter().map(|(path, entry)| (path.to_owned(), entry)).collect();
        write_whole(&path, json!({"format_version": TREE_FORMAT, "files": files}).to_string().as_bytes())
    }

    fn write_reference(&self, revision: &str, commit: &str) -> Result<(), HubError> {
        write_whole(&self.folder().join("refs").join(revision), commit.as_bytes())
    }
}

fn tree_entry(file: &RemoteFile) -> Value {
    let mut entry = json!({"size": file.size, "blob_id": file.git_sha1});
    if let Some(sha256) = &file.sha256 {
        entry["lfs_sha256"] = sha256.as_str().into();
        entry["lfs_size"] = file.size.into();
    }
    if let Some(xet) = &file.xet {
        entry["xet_hash"] = xet.as_str().into();
    }
    entry
}

fn tree_file(path: &str, entry: &Value) -> Option<RemoteFile> {
    let text = |name: &str| entry.get(name).and_then(Value::as_str).map(str::to_owned);
    Some(RemoteFile {
        path: path.to_owned(),
        size: entry.get("lfs_size").or_else(|| entry.get("size"))?.as_u64()?,
        git_sha1: text("blob_id")?,
        sha256: text("lfs_sha256"),
        xet: text("xet_hash"),
    })
}

/// Makes the links in `folder` as they must be in `place`. Settings come before weights, and the weights' index last.
fn link_files(folder: &Path, files: &[&RemoteFile], place: &Path) -> Result<(), HubError> {
    let rank = |file: &RemoteFile| match file.path.as_str() {
        path if path.ends_with(".safetensors.index.json") => 2,
        path if path.ends_with(".safetensors") => 1,
        _ => 0,
    };
    let mut files = files.to_vec();
    files.sort_by_key(|file| rank(file));
    for file in files {
        let link = folder.join(&file.path);
        if let Some(parent) = link.parent() {
            fs::create_dir_all(parent).map_err(at(parent))?;
        }
        let depth = file.path.split('/').count() + 1;
        let target = format!("{}blobs/{}", "../".repeat(depth), file.etag());
        if fs::read_link(&link).is_ok_and(|old| old == Path::new(&target)) && place.join(&file.path).exists()
        {
            continue;
        }
        let new = link.with_file_name(format!(".{}.mlxd", file.etag()));
        remove_file(&new)?;
        symlink(&target, &new).map_err(at(&new))?;
        fs::rename(&new, &link).map_err(at(&link))?;
    }
    Ok(())
}

/// Writes a file that is either the old or the new one at any moment.
fn write_whole(path: &Path, content: &[u8]) -> Result<(), HubError> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(at(parent))?;
    }
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".mlxd");
    let new = path.with_file_name(name);
    fs::write(&new, content).map_err(at(&new))?;
    fs::rename(&new, path).map_err(at(path))
}

pub(super) fn remove_file(path: &Path) -> Result<(), HubError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(at(path)(error)),
        _ => Ok(()),
    }
}

pub(super) fn remove_folder(path: &Path) -> Result<(), HubError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(at(path)(error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Cache;
    use super::*;

    fn file(path: &str, content: &str) -> RemoteFile {
        let sha256 = path.ends_with(".safetensors").then(|| "b".repeat(64));
        let git_sha1 = format!("{:0>40}", content.len());
        RemoteFile { path: path.into(), size: content.len() as u64, git_sha1, sha256, xet: None }
    }

    #[test]
    fn snapshot_links_lead_to_the_blobs_and_the_branch_to_the_snapshot() {
        let folder = tempfile::tempdir().unwrap();
        let repository = Cache::new(folder.path()).repository("o/m");
        let files =
            [file("config.json", "{}"), file("1_Pooling/config.json", "{} "), file("model.safetensors", "w")];
        repository.prepare().unwrap();
        for (file, content) in files.iter().zip(["{}", "{} ", "w"]) {
            fs::write(repository.blob(file.etag()), content).unwrap();
        }
        let (commit, chosen) = ("a".repeat(40), files.iter().collect::<Vec<_>>());
        for _ in 0..2 {
            let snapshot = repository.publish(&commit, "main", &chosen, &files).unwrap();
            assert_eq!(fs::read_to_string(snapshot.join("1_Pooling/config.json")).unwrap(), "{} ");
            assert_eq!(fs::read_to_string(snapshot.join("model.safetensors")).unwrap(), "w");
            let left = fs::read_dir(repository.folder()).unwrap().map(|entry| entry.unwrap().file_name());
            let mut left: Vec<_> = left.collect();
            left.sort();
            assert_eq!(left, ["blobs", "refs", "snapshots", "trees"]);
        }
        assert_eq!(repository.commit("main"), Some(commit.clone()));
        assert_eq!(repository.commit("other"), None);
        let mut read = repository.tree(&commit).unwrap();
        read.sort_by(|a, b| b.path.cmp(&a.path));
        let mut expected = files.to_vec();
        expected.sort_by(|a, b| b.path.cmp(&a.path));
        assert_eq!(read, expected);
    }
}
