//! Which models on disk may be removed, and what that frees: those of Hugging Face's cache, and those of the home's folder for models.
//! Models of other programs and folders are refused.

use std::fs;
use std::path::{Path, PathBuf};

use crate::cache::Cache;
use crate::error::{HubError, at};

/// A model that may be removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removable {
    /// The model's name.
    pub id: String,
    /// The folder that goes.
    pub folder: PathBuf,
    /// Bytes that are free afterwards.
    pub freed: u64,
    /// Bytes that stay because other models share them.
    pub shared: u64,
    /// The folder is a link: only that goes.
    pub is_link: bool,
    is_cached: bool,
}

impl Removable {
    /// Looks at the model `id`, whose files are in `folder`. Without a folder it is a download that has ended early. `own` is the
    /// home's folder for models.
    ///
    /// # Errors
    /// There is none, or another program or person manages it.
    pub fn plan(cache: &Cache, own: &Path, id: &str, folder: Option<&Path>) -> Result<Self, HubError> {
        match folder {
            Some(folder) if folder.starts_with(own) && folder != own => {
                let is_link = folder.is_symlink();
                let freed = if is_link { 0 } else { bytes_below(folder) };
                let (id, folder) = (id.to_owned(), folder.to_owned());
                Ok(Self { id, folder, freed, shared: 0, is_link, is_cached: false })
            }
            Some(folder) if !cache.holds(id, folder) => {
                Err(HubError::NotManaged { id: id.to_owned(), folder: folder.to_owned() })
            }
            _ => {
                let removal = cache.plan_removal(id)?;
                let (freed, shared) = (removal.freed, removal.shared);
                Ok(Self {
                    id: id.to_owned(),
                    folder: removal.folder,
                    freed,
                    shared,
                    is_link: false,
                    is_cached: true,
                })
            }
        }
    }

    /// Removes it.
    ///
    /// # Errors
    /// A download of it runs, or files cannot be removed.
    pub fn remove(&self, cache: &Cache) -> Result<(), HubError> {
        if self.is_cached {
            return cache.remove(&self.id).map(drop);
        }
        let removed =
            if self.is_link { fs::remove_file(&self.folder) } else { fs::remove_dir_all(&self.folder) };
        removed.map_err(at(&self.folder))
    }
}

fn bytes_below(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    let bytes = |path: PathBuf| match fs::symlink_metadata(&path) {
        Ok(meta) if meta.is_dir() => bytes_below(&path),
        Ok(meta) => meta.len(),
        Err(_) => 0,
    };
    entries.map(|entry| bytes(entry.path())).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A cache with the model `o/m`, and a home's folder with `a`, and with `b`, a link to it.
    fn places() -> (tempfile::TempDir, Cache, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let (root, own) = (folder.path().join("cache"), folder.path().join("models"));
        fs::create_dir_all(root.join("models--o--m/snapshots/c")).unwrap();
        fs::write(root.join("models--o--m/snapshots/c/config.json"), "1234").unwrap();
        fs::create_dir_all(own.join("a")).unwrap();
        fs::write(own.join("a/config.json"), "12345").unwrap();
        std::os::unix::fs::symlink("a", own.join("b")).unwrap();
        (folder, Cache::new(&root), own)
    }

    #[test]
    fn only_the_cache_and_the_homes_folder_are_managed() {
        let (root, cache, own) = places();
        let plan = |id: &str, folder: &Path| Removable::plan(&cache, &own, id, Some(folder));
        let own_model = plan("a", &own.join("a")).unwrap();
        assert_eq!((own_model.freed, own_model.is_link), (5, false));
        let link = plan("b", &own.join("b")).unwrap();
        assert_eq!((link.freed, link.is_link), (0, true));
        let snapshot = root.path().join("cache/models--o--m/snapshots/c");
        assert_eq!(plan("o/m", &snapshot).unwrap().freed, 4);
        // The folder for models itself, another model's, and one elsewhere.
        for folder in [own.clone(), snapshot, PathBuf::from("/elsewhere/c")] {
            let refused = plan("c", &folder).unwrap_err();
            assert!(refused.to_string().contains(&*folder.to_string_lossy()), "{refused}");
        }
        let none = Removable::plan(&cache, &own, "none", None).unwrap_err();
        assert!(none.to_string().contains("mlxd ls"), "{none}");
    }

    #[test]
    fn removal_of_a_link_leaves_its_target() {
        let (root, cache, own) = places();
        Removable::plan(&cache, &own, "b", Some(&*own.join("b"))).unwrap().remove(&cache).unwrap();
        assert!(!own.join("b").is_symlink() && own.join("a/config.json").exists());
        Removable::plan(&cache, &own, "a", Some(&*own.join("a"))).unwrap().remove(&cache).unwrap();
        assert!(!own.join("a").exists());
        Removable::plan(&cache, &own, "o/m", None).unwrap().remove(&cache).unwrap();
        assert!(!root.path().join("cache/models--o--m").exists());
    }
}
