//! Finds models on disk: every folder with a config.json below a models directory, named by its path there.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

/// Levels of folders that are looked into; `organisation/model` needs two.
const MAX_DEPTH: usize = 4;

/// A model's folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Folder {
    pub(crate) path: PathBuf,
    /// Modification time of its config.json, seconds since the epoch.
    pub(crate) created: u64,
    /// Bytes of its weight files.
    pub(crate) bytes: u64,
}

/// Every model below `directories`, by id. Where two have one id, the earlier directory counts.
pub(crate) fn scan(directories: &[PathBuf]) -> BTreeMap<String, Folder> {
    let mut found = BTreeMap::new();
    for directory in directories {
        // A directory that is a model itself is named by its own name.
        if let (Some(folder), Some(name)) = (folder(directory), directory.file_name()) {
            found.entry(name.to_string_lossy().into_owned()).or_insert(folder);
            continue;
        }
        visit(directory, "", MAX_DEPTH, &mut found);
    }
    found
}

fn visit(directory: &Path, prefix: &str, depth: usize, found: &mut BTreeMap<String, Folder>) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    for entry in entries.filter_map(Result::ok) {
        // A name that is not text could not be asked for.
        let Some(name) = entry.file_name().to_str().map(str::to_owned) else { continue };
        let path = entry.path();
        if name.starts_with('.') || !path.is_dir() {
            continue;
        }
        let id = format!("{prefix}{name}");
        if let Some(folder) = folder(&path) {
            found.entry(id).or_insert(folder);
        } else if depth > 1 {
            // The depth also bounds links that lead in circles.
            visit(&path, &format!("{id}/"), depth - 1, found);
        }
    }
}

fn folder(path: &Path) -> Option<Folder> {
    let config = fs::metadata(path.join("config.json")).ok().filter(fs::Metadata::is_file)?;
    let modified = config.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    let files = fs::read_dir(path).ok()?.filter_map(Result::ok).map(|entry| entry.path());
    let weights = files.filter(|file| file.extension().is_some_and(|extension| extension == "safetensors"));
    let bytes = weights.filter_map(|file| fs::metadata(file).ok()).map(|meta| meta.len()).sum();
    Some(Folder { path: path.to_owned(), created: modified.map_or(0, |time| time.as_secs()), bytes })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(folder: &Path, name: &str) {
        fs::create_dir_all(folder.join(name)).unwrap();
        fs::write(folder.join(name).join("config.json"), "{}").unwrap();
        fs::write(folder.join(name).join("model.safetensors"), "12345").unwrap();
    }

    #[test]
    fn ids_are_paths_below_the_directory() {
        let root = tempfile::tempdir().unwrap();
        for name in ["one", "org/two", "a/b/c/deep", "a/b/c/d/too-deep", ".hidden/three", "one/inside"] {
            model(root.path(), name);
        }
        fs::create_dir(root.path().join("empty")).unwrap();
        let found = scan(&[root.path().to_owned()]);
        assert_eq!(found.keys().collect::<Vec<_>>(), ["a/b/c/deep", "one", "org/two"]);
        assert_eq!(found["one"].bytes, 5);
        assert!(found["one"].created > 1_600_000_000);
    }

    #[test]
    fn the_first_directory_wins_and_links_and_circles_are_harmless() {
        let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        model(first.path(), "same");
        model(second.path(), "same");
        model(second.path(), "real");
        std::os::unix::fs::symlink(second.path().join("real"), first.path().join("linked")).unwrap();
        std::os::unix::fs::symlink(first.path(), first.path().join("circle")).unwrap();
        let found = scan(&[first.path().to_owned(), second.path().to_owned()]);
        assert!(found["same"].path.starts_with(first.path()));
        assert!(found.contains_key("linked") && found.contains_key("real"));
    }

    #[test]
    fn a_directory_that_is_a_model_is_named_by_itself() {
        let root = tempfile::tempdir().unwrap();
        model(root.path(), "mine");
        assert_eq!(scan(&[root.path().join("mine")]).keys().collect::<Vec<_>>(), ["mine"]);
        assert!(scan(&[root.path().join("nowhere")]).is_empty());
    }
}
