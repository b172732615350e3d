//! The file with the downloads. It is replaced as a whole, so it is the old or the new one after any end of the process.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use ipc_proto::generate::Priority;
use ipc_proto::hub::DownloadState;
use serde::{Deserialize, Serialize};

/// Its name in mlxd's home. The supervisor looks there for downloads to go on with.
const NAME: &str = "downloads.json";

/// A download as the file has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Stored {
    pub(super) id: String,
    /// The model's name on the hub, as it was ordered.
    pub(super) model: String,
    pub(super) revision: String,
    /// One that runs is stored as queued.
    pub(super) state: DownloadState,
    pub(super) priority: Priority,
    pub(super) force: bool,
    /// Bytes that were on disk.
    pub(super) bytes_done: u64,
    /// Bytes of all files.
    pub(super) bytes_total: Option<u64>,
    /// Why it failed.
    pub(super) error: Option<String>,
    /// Seconds since the epoch.
    pub(super) created_at: u64,
    /// The model's present name on the hub, which is its name in the cache.
    pub(super) present_name: Option<String>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Content<T> {
    downloads: Vec<T>,
}

/// The file.
#[derive(Debug, Clone)]
pub(super) struct QueueFile {
    path: PathBuf,
}

impl QueueFile {
    /// The file in this folder. It may be missing.
    pub(super) fn in_home(home: &Path) -> Self {
        Self { path: home.join(NAME) }
    }

    /// Reads it. One that cannot be read is set aside, and its name logged: downloads can be ordered anew, and continue.
    pub(super) fn load(&self) -> Vec<Stored> {
        let text = match fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Vec::new(),
            Err(error) => {
                tracing::error!(path = %self.path.display(), %error, "the list of downloads cannot be read");
                return Vec::new();
            }
        };
        match serde_json::from_str::<Content<Stored>>(&text) {
            Ok(content) => content.downloads,
            Err(error) => {
                let aside = self.path.with_extension("json.broken");
                let kept = fs::rename(&self.path, &aside);
                tracing::error!(%error, aside = %aside.display(), ?kept, "the list of downloads is set aside");
                Vec::new()
            }
        }
    }

    /// Replaces it. It is on disk when this returns.
    pub(super) fn save(&self, downloads: Vec<Stored>) -> io::Result<()> {
        let text = serde_json::to_string_pretty(&Content { downloads })?;
        let new = self.path.with_extension("json.new");
        let mut file = File::create(&new)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, &self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_restores_the_downloads_and_a_broken_one_is_set_aside() {
        let folder = tempfile::tempdir().unwrap();
        let file = QueueFile::in_home(folder.path());
        assert!(file.load().is_empty());
        let stored = Stored {
            id: "d1".into(),
            model: "o/m".into(),
            revision: "main".into(),
            state: DownloadState::Paused,
            priority: Priority::High,
            force: true,
            bytes_done: 5,
            bytes_total: Some(9),
            error: None,
            created_at: 7,
            present_name: Some("o/new".into()),
        };
        file.save(vec![stored.clone()]).unwrap();
        assert_eq!(file.load(), [stored]);
        fs::write(&file.path, "{\"downloads\": [{\"id\"").unwrap();
        assert!(file.load().is_empty());
        assert!(folder.path().join("downloads.json.broken").exists() && !file.path.exists());
    }
}
