//! The settings that a running server shows and changes: where each comes from, and edits of `config.toml` that keep its comments.

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use ipc_proto::gateway::GatewayConfig;
use ipc_proto::supervisor::{LiveSetting, LiveSettings, SettingEffect, SettingSource, SettingsChange};
use ipc_proto::{Error, Origin};
use serde_json::Value;
use supervisor::{Config, Edited, SettingsFile};
use toml_edit::{Array, Document, DocumentMut, Item, TomlError};

use super::layers::Layers;
use super::{
    ConfigError, Environment, Flags, FleetSettings, ServerSettings, file, flag_table, home, resolve_file,
};

/// The settings, in the order of the documentation, and when a change of each counts.
const SETTINGS: [(&str, SettingEffect); 16] = [
    ("host", SettingEffect::NextServer),
    ("port", SettingEffect::NextServer),
    ("memory", SettingEffect::AtOnce),
    ("idle_seconds", SettingEffect::AtOnce),
    ("hang_seconds", SettingEffect::NextLoad),
    ("recoveries", SettingEffect::AtOnce),
    ("drain_seconds", SettingEffect::AtOnce),
    ("idle_connection_seconds", SettingEffect::AtOnce),
    ("body_seconds", SettingEffect::AtOnce),
    ("response_days", SettingEffect::AtOnce),
    ("request_days", SettingEffect::AtOnce),
    ("request_rows", SettingEffect::AtOnce),
    ("download_limit", SettingEffect::AtOnce),
    ("auto_download", SettingEffect::AtOnce),
    ("cors_origins", SettingEffect::AtOnce),
    ("allowed_hosts", SettingEffect::AtOnce),
];

/// `config.toml` of a running server, below the flags and variables that it was started with.
pub(crate) struct LiveFile {
    flags: Flags,
    environment: Environment,
    home: PathBuf,
    path: PathBuf,
    /// The values that the server runs with, in the order of [`SETTINGS`]. Held during a change.
    running: Mutex<Vec<Value>>,
}

impl fmt::Debug for LiveFile {
    /// Variables may be secrets.
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.debug_struct("LiveFile").field("path", &self.path).finish_non_exhaustive()
    }
}

/// A value, and where it comes from.
struct Given {
    value: Value,
    source: SettingSource,
    place: Option<String>,
}

impl LiveFile {
    /// Resolves the configuration of a server that starts now, and remembers it.
    ///
    /// # Errors
    /// A wrong setting.
    pub(crate) fn open(flags: Flags, environment: Environment) -> Result<(Config, Self), ConfigError> {
        let home = home(flags.home.clone(), &environment)?;
        let path = home.join("config.toml");
        let mut live = Self { flags, environment, home, path, running: Mutex::default() };
        let text = file::text(&live.path)?;
        let config = live.resolve(&text)?;
        let running = live.given(&text)?.into_iter().map(|given| given.value).collect();
        live.running = Mutex::new(running);
        Ok((config, live))
    }

    /// What a server would start with if this were the file's text.
    fn resolve(&self, text: &str) -> Result<Config, ConfigError> {
        let file = file::parse(text, &self.path)?;
        resolve_file(self.flags.clone(), self.environment.clone(), self.home.clone(), file)
    }

    /// Each of [`SETTINGS`] if this is the file's text.
    fn given(&self, text: &str) -> Result<Vec<Given>, ConfigError> {
        let layers = Layers {
            flags: flag_table(&self.flags)?,
            environment: self.environment.settings.clone(),
            file: file::parse(text, &self.path)?,
            path: self.path.clone(),
            ..Layers::default()
        };
        let one = |name: &'static str| {
            let default = default_of(name);
            match layers.given(name) {
                Some((source, place, written)) => {
                    let value =
                        written.as_str().map_or_else(|| written.clone(), |text| typed(text, &default));
                    let place = (source != SettingSource::File).then_some(place);
                    Given { value, source, place }
                }
                None => Given { value: default, source: SettingSource::Default, place: None },
            }
        };
        Ok(SETTINGS.iter().map(|(name, _)| one(name)).collect())
    }

    fn shown(&self, text: &str, running: &[Value]) -> Result<LiveSettings, ConfigError> {
        let all = SETTINGS.iter().zip(self.given(text)?).zip(running);
        let shown = all.map(|(((name, effect), given), running)| LiveSetting {
            name: (*name).to_owned(),
            is_pending: given.value != *running,
            value: given.value.to_string(),
            default: default_of(name).to_string(),
            source: given.source,
            place: given.place,
            effect: *effect,
        });
        Ok(LiveSettings { revision: revision(text), settings: shown.collect() })
    }

    /// An error in the terms of the change.
    fn refusal(&self, error: &ConfigError, change: &SettingsChange) -> Error {
        let text = error.to_string();
        let text = text.strip_prefix(&format!("{}: ", self.path.display())).unwrap_or(&text);
        let mut names = change.values.iter().map(|(name, _)| name.as_str());
        let named = match error {
            ConfigError::Open(_) => Some("host"),
            _ => names.clone().find(|name| text.contains(name)).or_else(|| names.next()),
        };
        match named {
            Some(name) => Error::invalid(name, text),
            None => unreadable(text.to_owned()),
        }
    }
}

impl SettingsFile for LiveFile {
    fn read(&self) -> ipc_proto::Result<LiveSettings> {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let shown = file::text(&self.path).and_then(|text| self.shown(&text, &running));
        shown.map_err(|error| unreadable(error.to_string()))
    }

    fn change(&self, change: &SettingsChange) -> ipc_proto::Result<Edited> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let refused = |error: ConfigError| self.refusal(&error, change);
        let before = file::text(&self.path).map_err(|error| unreadable(error.to_string()))?;
        if change.expected.as_ref().is_some_and(|expected| *expected != revision(&before)) {
            return Ok(Edited::Stale);
        }
        let given = self.given(&before).map_err(|error| unreadable(error.to_string()))?;
        check_names(&given, change)?;
        let text = edited(before, change)?;
        let config = self.resolve(&text).map_err(refused)?;
        // Whoever changes settings here was let in without a key, and would not be any more.
        if super::is_unclaimed(&config) {
            return Err(refused(ConfigError::Open(config.host)));
        }
        let given = self.given(&text).map_err(refused)?;
        file::replace(&self.path, &text).map_err(|error| {
            unreadable(format!("nothing was set, since {} cannot be written: {error}", self.path.display()))
        })?;
        for ((_, effect), (value, given)) in SETTINGS.iter().zip(running.iter_mut().zip(given)) {
            if *effect != SettingEffect::NextServer {
                *value = given.value;
            }
        }
        let settings = self.shown(&text, &running).map_err(refused)?;
        Ok(Edited::Written { settings, config: Box::new(config) })
    }
}

/// Refuses names that are no settings, and those that the file does not decide.
fn check_names(given: &[Given], change: &SettingsChange) -> ipc_proto::Result<()> {
    for (name, _) in &change.values {
        let Some(at) = SETTINGS.iter().position(|(known, _)| known == name) else {
            let names = SETTINGS.map(|(known, _)| known).join(", ");
            return Err(Error::invalid(name, format!("{name} is none of {names}")));
        };
        if let Some(place) = &given[at].place {
            return Err(Error::invalid(name, format!("{name} is set by {place}, which beats config.toml")));
        }
    }
    Ok(())
}

/// The file is to blame, not the caller.
fn unreadable(text: String) -> Error {
    Error::new(ipc_proto::ErrorKind::Unavailable, Origin::Supervisor, text)
}

/// A number that changes with the text.
fn revision(text: &str) -> String {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

/// The default of a setting; `null` where there is none, or where the machine decides.
fn default_of(name: &str) -> Value {
    let ServerSettings { host, port, .. } = ServerSettings::default();
    match name {
        "host" => host.into(),
        "port" => port.into(),
        "hang_seconds" => FleetSettings::default().hang_seconds.into(),
        _ => {
            let gateway = serde_json::to_value(GatewayConfig::default()).unwrap_or_default();
            gateway.get(name).cloned().unwrap_or_default()
        }
    }
}

/// A text of a flag or a variable, with the type of the default.
fn typed(text: &str, default: &Value) -> Value {
    match default {
        Value::Number(_) => text.trim().parse::<u64>().map_or_else(|_| text.into(), Value::from),
        Value::Bool(_) => matches!(text.trim(), "true" | "1").into(),
        Value::Array(_) => text.split(',').map(str::trim).filter(|item| !item.is_empty()).collect(),
        _ => text.into(),
    }
}

/// The text with all changes.
fn edited(text: String, change: &SettingsChange) -> ipc_proto::Result<String> {
    change.values.iter().try_fold(text, |text, (name, value)| {
        let wrong = || {
            Error::invalid(name, format!("{name} must be a text, a whole number, a list of texts or null"))
        };
        let value: Value = serde_json::from_str(value).map_err(|_| wrong())?;
        let edited = match value {
            Value::Null => without(&text, name),
            value => with(&text, name, toml_of(&value).ok_or_else(wrong)?),
        };
        edited.map_err(|error| unreadable(format!("config.toml: {}", error.message())))
    })
}

fn toml_of(value: &Value) -> Option<toml_edit::Value> {
    match value {
        Value::String(text) => Some(text.as_str().into()),
        Value::Bool(flag) => Some((*flag).into()),
        Value::Number(number) => number.as_i64().map(Into::into),
        Value::Array(items) => items.iter().map(Value::as_str).collect::<Option<Array>>().map(Into::into),
        Value::Null | Value::Object(_) => None,
    }
}

/// The text with another value of a key. What stands around it stays.
fn with(text: &str, name: &str, value: toml_edit::Value) -> Result<String, TomlError> {
    let mut document: DocumentMut = text.parse()?;
    match document.get_mut(name).and_then(Item::as_value_mut) {
        Some(old) => {
            let around = old.decor().clone();
            *old = value;
            *old.decor_mut() = around;
        }
        None => drop(document.insert(name, toml_edit::value(value))),
    }
    Ok(document.to_string())
}

/// The text without the lines of a key. Comments above it stay.
fn without(text: &str, name: &str) -> Result<String, TomlError> {
    let document = Document::parse(text)?;
    let Some((key, item)) = document.as_table().get_key_value(name) else { return Ok(text.to_owned()) };
    let Some((key, value)) = key.span().zip(item.span()) else { return Ok(text.to_owned()) };
    let start = text[..key.start].rfind('\n').map_or(0, |at| at + 1);
    let end = text[value.end..].find('\n').map_or(text.len(), |at| value.end + at + 1);
    Ok(format!("{}{}", &text[..start], &text[end..]))
}

#[cfg(test)]
mod tests;
