//! The folder of an agent's profile. Only its owner may read it.
//!
//! An agent keeps its own settings in the same files, so a file that is there is merged: the set-up's values stand in for those of
//! the same name, and all others stay.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use serde_json::Value;
use toml::Table;

use super::LaunchError;
use super::setup::{Filled, Setup};

/// In the home.
const FOLDER: &str = "launch";

/// The folder.
#[derive(Debug)]
pub(super) struct Profile(PathBuf);

impl Profile {
    pub(super) fn new(home: &Path, id: &str) -> Self {
        Self(home.join(FOLDER).join(id))
    }

    pub(super) fn folder(&self) -> &Path {
        &self.0
    }

    /// Writes the files of a set-up. `fetch` gets those that the server has.
    pub(super) fn write(
        &self,
        setup: &Setup,
        fetch: impl Fn(&str) -> Result<String, LaunchError>,
    ) -> Result<(), LaunchError> {
        // An agent without files has a folder, too.
        self.create(&self.0)?;
        for (path, content) in &setup.files {
            let text = match content {
                Filled::Json(value) => self.merged_json(path, value)?,
                Filled::Toml(text) => self.merged_toml(path, text)?,
                Filled::Fetched(source) => fetch(source)?,
            };
            self.save(path, text.as_bytes())?;
        }
        Ok(())
    }

    /// The text of a file, if there is one.
    pub(super) fn read(&self, path: impl AsRef<Path>) -> Result<Option<String>, LaunchError> {
        let path = self.0.join(path);
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(cause) => Err(LaunchError::File { path, cause }),
        }
    }

    /// Writes a file. Another process sees the old one or the new one.
    pub(super) fn save(&self, path: impl AsRef<Path>, bytes: &[u8]) -> Result<(), LaunchError> {
        let path = self.0.join(path);
        self.create(path.parent().unwrap_or(&self.0))?;
        let mut part = path.clone().into_os_string();
        part.push(format!(".{}.part", std::process::id()));
        let write = || -> std::io::Result<()> {
            let mut file: File =
                OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&part)?;
            file.write_all(bytes)?;
            fs::rename(&part, &path)
        };
        write().map_err(|cause| LaunchError::File { path: path.clone(), cause })
    }

    /// Removes the folder.
    pub(super) fn remove(&self) -> Result<(), LaunchError> {
        fs::remove_dir_all(&self.0).map_err(|cause| LaunchError::File { path: self.0.clone(), cause })
    }

    fn create(&self, folder: &Path) -> Result<(), LaunchError> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
        let closed = made.and_then(|()| fs::set_permissions(&self.0, Permissions::from_mode(0o700)));
        closed.map_err(|cause| LaunchError::File { path: folder.to_owned(), cause })
    }

    /// A file that is no JSON, such as JSON with comments, is replaced.
    fn merged_json(&self, path: &Path, own: &Value) -> Result<String, LaunchError> {
        let before = self.read(path)?.and_then(|text| serde_json::from_str(&text).ok());
        let merged = merge_json(before.unwrap_or_default(), own);
        Ok(serde_json::to_string_pretty(&merged)? + "\n")
    }

    fn merged_toml(&self, path: &Path, own: &str) -> Result<String, LaunchError> {
        let before: Option<Table> = self.read(path)?.and_then(|text| toml::from_str(&text).ok());
        let Some(before) = before else { return Ok(own.to_owned()) };
        let invalid = |error: String| LaunchError::Unreachable(format!("{}: {error}", path.display()));
        let own: Table = toml::from_str(own).map_err(|error| invalid(error.to_string()))?;
        toml::to_string(&merge_toml(before, own)).map_err(|error| invalid(error.to_string()))
    }
}

fn merge_json(before: Value, own: &Value) -> Value {
    match (before, own) {
        (Value::Object(mut before), Value::Object(own)) => {
            for (name, value) in own {
                let old = before.get_mut(name).map(Value::take).unwrap_or_default();
                before.insert(name.clone(), merge_json(old, value));
            }
            Value::Object(before)
        }
        (_, own) => own.clone(),
    }
}

fn merge_toml(mut before: Table, own: Table) -> Table {
    for (name, value) in own {
        let merged = match (before.remove(&name), value) {
            (Some(toml::Value::Table(old)), toml::Value::Table(own)) => {
                toml::Value::Table(merge_toml(old, own))
            }
            (_, own) => own,
        };
        before.insert(name, merged);
    }
    before
}
