//! What was set while the server ran, kept for its next runs in `settings.toml` of its home.
//!
//! For a model that is named there the file's table counts whole, and config.toml's says nothing: whoever set it saw all of it.
//! A pin that was set alone counts before either. To go back to config.toml a table is deleted while the server does not run.
//! Written anew as a whole and put in place by a rename, so that a crash leaves the old file or the new one.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use ipc_proto::supervisor::ModelSettings;
use serde::{Deserialize, Serialize};

/// The file's name in the home.
pub(crate) const NAME: &str = "settings.toml";
const HEAD: &str = "# Written by mlxd: what was set while it ran. A model's table here takes the place of config.toml's.\n\n";

/// The file and what it says.
#[derive(Debug)]
pub(crate) struct Kept {
    path: PathBuf,
    set: Set,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Set {
    /// By id, instead of what the settings say.
    pinned: BTreeMap<String, bool>,
    /// By id.
    models: BTreeMap<String, ModelSettings>,
}

impl Kept {
    /// What the file at `path` says; nothing, where there is none.
    ///
    /// # Errors
    /// In words, where it cannot be read or somebody wrote what makes no sense.
    pub(crate) fn read(path: PathBuf) -> Result<Self, String> {
        let set: Set = match fs::read_to_string(&path) {
            Ok(text) => toml::from_str(&text).map_err(|e| problem(&text, &e))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Set::default(),
            Err(error) => return Err(error.to_string()),
        };
        for (id, settings) in &set.models {
            settings.check().map_err(|error| format!("models.\"{id}\": {error}"))?;
        }
        Ok(Self { path, set })
    }

    /// What was set for a model.
    pub(crate) fn settings(&self, id: &str) -> Option<&ModelSettings> {
        self.set.models.get(id)
    }

    /// Whether it was pinned or the opposite, apart from its settings.
    pub(crate) fn pinned(&self, id: &str) -> Option<bool> {
        self.set.pinned.get(id).copied()
    }

    /// The models that something was set for.
    pub(crate) fn models(&self) -> impl Iterator<Item = &String> {
        self.set.models.keys()
    }

    /// Replaces a model's settings, its pin with them.
    ///
    /// # Errors
    /// When the file cannot be written; nothing has changed then.
    pub(crate) fn set(&mut self, id: &str, settings: ModelSettings) -> io::Result<()> {
        let mut set = self.set.clone();
        set.models.insert(id.to_owned(), settings);
        set.pinned.remove(id);
        self.write(set)
    }

    /// Pins a model, or the opposite.
    ///
    /// # Errors
    /// As [`Self::set`].
    pub(crate) fn pin(&mut self, id: &str, pinned: bool) -> io::Result<()> {
        let mut set = self.set.clone();
        set.pinned.insert(id.to_owned(), pinned);
        self.write(set)
    }

    fn write(&mut self, set: Set) -> io::Result<()> {
        let text = toml::to_string(&set).map_err(io::Error::other)?;
        replace(&self.path, &format!("{HEAD}{text}"))?;
        self.set = set;
        Ok(())
    }
}

/// What is wrong with the file, and in which line.
fn problem(text: &str, error: &toml::de::Error) -> String {
    let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
    format!("line {}: {}", before.matches('\n').count() + 1, error.message())
}

/// Puts `text` in the place of a file: it is on the disk under another name before it gets this one.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let draft = path.with_extension("toml.new");
    let written = File::create(&draft).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_all()
    });
    let placed = written.and_then(|()| fs::rename(&draft, path));
    if placed.is_err() {
        // What could not be finished is of no use.
        let _ = fs::remove_file(&draft);
    }
    placed
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn settings() -> ModelSettings {
        ModelSettings {
            aliases: vec!["nick".into()],
            context: Some(4096),
            adapter: Some(Path::new("/a").into()),
            replicas: 2,
            ..ModelSettings::default()
        }
    }

    #[test]
    fn what_was_set_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(NAME);
        let mut kept = Kept::read(path.clone()).unwrap();
        kept.pin("org/a.b", true).unwrap();
        kept.set("m", settings()).unwrap();
        kept.pin("m", false).unwrap();
        let again = Kept::read(path.clone()).unwrap();
        assert_eq!(again.settings("m"), Some(&settings()));
        assert_eq!(
            (again.pinned("org/a.b"), again.pinned("m"), again.pinned("n")),
            (Some(true), Some(false), None)
        );
        // New settings say whether it is pinned.
        kept.set("m", settings()).unwrap();
        assert_eq!(Kept::read(path).unwrap().pinned("m"), None);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no draft is left");
    }

    #[test]
    fn what_cannot_be_written_is_not_set() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("place");
        fs::create_dir(&place).unwrap();
        let mut kept = Kept::read(place.join(NAME)).unwrap();
        kept.pin("m", true).unwrap();
        fs::remove_dir_all(&place).unwrap();
        assert!(kept.pin("m", false).is_err() && kept.set("m", settings()).is_err());
        assert_eq!((kept.pinned("m"), kept.settings("m")), (Some(true), None));
    }

    #[test]
    fn a_file_that_makes_no_sense_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(NAME);
        for (text, part) in [
            ("[models.m]\nreplicas = 0\n", "replicas"),
            ("[models.m]\n\ncolour = 1\n", "line 3: unknown field `colour`"),
            ("[pinned]\nm = 3\n", "line 2: invalid type: integer `3`"),
            ("[pinned]\nm = true\n[models.m", "line 3"),
        ] {
            fs::write(&path, text).unwrap();
            let problem = Kept::read(path.clone()).unwrap_err();
            assert!(problem.contains(part), "{problem}");
        }
    }
}
