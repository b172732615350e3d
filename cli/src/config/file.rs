//! Reads `config.toml`, and the tables of single models in it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use ipc_proto::supervisor::ModelSettings;
use toml::{Table, Value};

use super::ConfigError;

/// The top-level table; empty without a file.
pub(super) fn read(path: &Path) -> Result<Table, ConfigError> {
    let problem = |problem: String| ConfigError::File { path: path.to_owned(), problem };
    match fs::read_to_string(path) {
        Ok(text) => toml::from_str(&text).map_err(|error| problem(describe(&text, &error))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Table::new()),
        Err(error) => Err(problem(error.to_string())),
    }
}

/// The line and the problem. The usual message would also quote the line, which may hold a key.
fn describe(text: &str, error: &toml::de::Error) -> String {
    let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
    format!("line {}: {}", before.matches('\n').count() + 1, error.message())
}

/// Takes the tables of single models out of the file. `models` is a list of folders afterwards.
pub(super) fn take_models(
    file: &mut Table,
    path: &Path,
) -> Result<BTreeMap<String, ModelSettings>, ConfigError> {
    let tables = match file.remove("models") {
        Some(Value::Table(tables)) => tables,
        Some(folders) => {
            file.insert("models".into(), folders);
            return Ok(BTreeMap::new());
        }
        None => return Ok(BTreeMap::new()),
    };
    let mut models = BTreeMap::new();
    for (id, table) in tables {
        let problem = |problem: &dyn std::fmt::Display| ConfigError::File {
            path: path.to_owned(),
            problem: format!("models.\"{id}\": {problem}"),
        };
        let settings: ModelSettings = table.try_into().map_err(|error| problem(&error))?;
        settings.check().map_err(|error| problem(&error))?;
        models.insert(id, settings);
    }
    match shared_name(&models) {
        Some(problem) => Err(ConfigError::File { path: path.to_owned(), problem }),
        None => Ok(models),
    }
}

/// Names the first alias that is also the name of another model in the file.
fn shared_name(models: &BTreeMap<String, ModelSettings>) -> Option<String> {
    let mut owners: BTreeMap<&str, &str> = models.keys().map(|id| (id.as_str(), id.as_str())).collect();
    for (id, settings) in models {
        for alias in &settings.aliases {
            if let Some(owner) = owners.insert(alias, id) {
                return Some(format!(
                    "models.\"{id}\": aliases: \"{alias}\" is already a name of \"{owner}\""
                ));
            }
        }
    }
    None
}
