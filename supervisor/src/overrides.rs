//! Model settings set at run time, stored in `settings.toml` of the home folder for the server's next runs.
//!
//! A model's table there replaces that of config.toml as a whole: its author saw all of the settings.
//! A pin that was set alone overrides both. To return to config.toml, delete the table while the server is stopped.
//! The file is written whole and renamed into place, so a crash leaves the old file or the new one.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use ipc_proto::supervisor::ModelSettings;
use serde::{Deserialize, Serialize};

/// The file's name in the home folder.
pub(crate) const FILE_NAME: &str = "settings.toml";
const HEADER: &str = "# Written by mlxd: what was set while it ran. A model's table here takes the place of config.toml's.\n\n";

/// The contents of `settings.toml`, and its path.
#[derive(Debug, Clone)]
pub(crate) struct SettingsOverrides {
    path: PathBuf,
    tables: Tables,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Tables {
    /// By model id. Overrides the pin of the settings.
    pinned: BTreeMap<String, bool>,
    /// By model id.
    models: BTreeMap<String, ModelSettings>,
}

/// A change to one model's overrides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Edit {
    /// Replaces the settings, including the pin.
    Settings(ModelSettings),
    /// Replaces the pin alone.
    Pin(bool),
}

impl SettingsOverrides {
    /// Reads the file at `path`. A missing file sets nothing.
    ///
    /// # Errors
    /// A sentence for the user if the file cannot be read or is invalid.
    pub(crate) fn load(path: PathBuf) -> Result<Self, String> {
        let tables: Tables = match fs::read_to_string(&path) {
            Ok(text) => toml::from_str(&text).map_err(|e| describe_problem(&text, &e))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Tables::default(),
            Err(error) => return Err(error.to_string()),
        };
        for (id, settings) in &tables.models {
            settings.check().map_err(|error| format!("models.\"{id}\": {error}"))?;
        }
        Ok(Self { path, tables })
    }

    pub(crate) fn settings(&self, id: &str) -> Option<&ModelSettings> {
        self.tables.models.get(id)
    }

    /// The pin that was set apart from the settings.
    pub(crate) fn pinned(&self, id: &str) -> Option<bool> {
        self.tables.pinned.get(id).copied()
    }

    /// Ids of the models with settings.
    pub(crate) fn model_ids(&self) -> impl Iterator<Item = &String> {
        self.tables.models.keys()
    }

    /// A copy with one edit applied, not yet written.
    pub(crate) fn with(&self, id: &str, edit: Edit) -> Self {
        let mut edited = self.clone();
        match edit {
            Edit::Settings(settings) => {
                edited.tables.models.insert(id.to_owned(), settings);
                edited.tables.pinned.remove(id);
            }
            Edit::Pin(pinned) => drop(edited.tables.pinned.insert(id.to_owned(), pinned)),
        }
        edited
    }

    /// Writes the file. Blocks until the disk has it.
    ///
    /// # Errors
    /// The file cannot be written. The old one is still in place.
    pub(crate) fn write(&self) -> io::Result<()> {
        let text = toml::to_string(&self.tables).map_err(io::Error::other)?;
        replace_file(&self.path, &format!("{HEADER}{text}"))
    }
}

fn describe_problem(text: &str, error: &toml::de::Error) -> String {
    let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
    format!("line {}: {}", before.matches('\n').count() + 1, error.message())
}

/// Replaces a file atomically: writes and syncs a draft, then renames it.
fn replace_file(path: &Path, text: &str) -> io::Result<()> {
    let draft = path.with_extension("toml.new");
    let written = File::create(&draft).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_all()
    });
    let placed = written.and_then(|()| fs::rename(&draft, path));
    if placed.is_err() {
        // An unfinished draft is useless.
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
    fn overrides_written_and_loaded_again_are_equal() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE_NAME);
        let mut overrides = SettingsOverrides::load(path.clone()).unwrap();
        for (id, edit) in
            [("org/a.b", Edit::Pin(true)), ("m", Edit::Settings(settings())), ("m", Edit::Pin(false))]
        {
            overrides = overrides.with(id, edit);
            overrides.write().unwrap();
        }
        let loaded = SettingsOverrides::load(path.clone()).unwrap();
        assert_eq!(loaded.settings("m"), Some(&settings()));
        assert_eq!(
            (loaded.pinned("org/a.b"), loaded.pinned("m"), loaded.pinned("n")),
            (Some(true), Some(false), None)
        );
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no draft is left");
    }

    #[test]
    fn new_settings_replace_an_earlier_pin() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE_NAME);
        let overrides = SettingsOverrides::load(path.clone()).unwrap().with("m", Edit::Pin(false));
        overrides.with("m", Edit::Settings(settings())).write().unwrap();
        assert_eq!(SettingsOverrides::load(path).unwrap().pinned("m"), None);
    }

    #[test]
    fn edits_that_cannot_be_written_fail_and_leave_the_original() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("place");
        fs::create_dir(&place).unwrap();
        let overrides = SettingsOverrides::load(place.join(FILE_NAME)).unwrap().with("m", Edit::Pin(true));
        overrides.write().unwrap();
        fs::remove_dir_all(&place).unwrap();
        assert!(overrides.with("m", Edit::Pin(false)).write().is_err());
        assert!(overrides.with("m", Edit::Settings(settings())).write().is_err());
        assert_eq!((overrides.pinned("m"), overrides.settings("m")), (Some(true), None));
    }

    #[test]
    fn invalid_file_is_refused_with_its_line_or_field() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE_NAME);
        for (text, part) in [
            ("[models.m]\nreplicas = 0\n", "replicas"),
            ("[models.m]\n\ncolour = 1\n", "line 3: unknown field `colour`"),
            ("[pinned]\nm = 3\n", "line 2: invalid type: integer `3`"),
            ("[pinned]\nm = true\n[models.m", "line 3"),
        ] {
            fs::write(&path, text).unwrap();
            let problem = SettingsOverrides::load(path.clone()).unwrap_err();
            assert!(problem.contains(part), "{problem}");
        }
    }
}
