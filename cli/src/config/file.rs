//! Reads `config.toml`, and the tables of single models in it.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use ipc_proto::gateway::{Route, Routes};
use ipc_proto::supervisor::ModelSettings;
use serde::Deserialize;
use toml::{Table, Value};

use super::{ConfigError, wording};

/// The top-level table; empty without a file.
pub(super) fn read(path: &Path) -> Result<Table, ConfigError> {
    parse(&text(path)?, path)
}

/// The file's text; empty without a file.
pub(super) fn text(path: &Path) -> Result<String, ConfigError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(ConfigError::File { path: path.to_owned(), problem: error.to_string() }),
    }
}

/// The top-level table of a text that is, or is to be, at `path`.
pub(super) fn parse(text: &str, path: &Path) -> Result<Table, ConfigError> {
    let problem = |problem: String| ConfigError::File { path: path.to_owned(), problem };
    toml::from_str(text).map_err(|error| problem(describe(text, &error)))
}

/// The line and the problem. The usual message would also quote the line, which may hold a key.
fn describe(text: &str, error: &toml::de::Error) -> String {
    let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
    format!("line {}: {}", before.matches('\n').count() + 1, error.message())
}

/// Replaces the file, all of it or nothing. It may be a link into a folder of such files.
pub(crate) fn replace(path: &Path, text: &str) -> io::Result<()> {
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let draft = path.with_extension("toml.new");
    let mut options = fs::OpenOptions::new();
    let mut target = options.write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
    target.write_all(text.as_bytes()).and_then(|()| target.sync_all())?;
    fs::rename(&draft, &path)
}

/// Checks the routes in the file, so that an error says where in it the wrong one is.
pub(super) fn check_routes(file: &Table, path: &Path) -> Result<(), ConfigError> {
    let Some(Value::Array(items)) = file.get("routes") else { return Ok(()) };
    let place = |number: usize| match route_line(path, number) {
        Some(line) => format!("line {line}: "),
        None => String::new(),
    };
    let problem = |problem: String| ConfigError::File { path: path.to_owned(), problem };
    let mut routes = Vec::with_capacity(items.len());
    for (at, item) in items.iter().enumerate() {
        let route = Route::deserialize(item.clone()).map_err(|error| {
            let sentence = wording::sentence(&format!("route {}", at + 1), &error);
            problem(format!("{}{sentence}", place(at + 1)))
        })?;
        routes.push(route);
    }
    Routes::try_from(routes).map(drop).map_err(|text| {
        let number = text.strip_prefix("route ").and_then(|rest| rest.split(' ').next()?.parse().ok());
        problem(format!("{}{text}", number.map(place).unwrap_or_default()))
    })
}

/// The line at which the route of this number begins, both counted from 1. `None` if the routes are not tables of their own.
fn route_line(path: &Path, number: usize) -> Option<usize> {
    let text = fs::read_to_string(path).ok()?;
    let mut heads = text.lines().enumerate().filter(|(_, line)| line.trim_start().starts_with("[[routes]]"));
    heads.nth(number.checked_sub(1)?).map(|(at, _)| at + 1)
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
        let key = format!("models.\"{id}\"");
        let problem = |problem: String| ConfigError::File { path: path.to_owned(), problem };
        let settings: ModelSettings =
            table.try_into().map_err(|error| problem(wording::sentence(&key, &error)))?;
        settings.check().map_err(|error| problem(format!("{key}: {error}")))?;
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
