//! The server's own settings: where each comes from, and changes while the server runs.

use serde::{Deserialize, Serialize};

/// The settings that can be changed, in the order of the documentation. No secret is among them.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct LiveSettings {
    /// Changes with the text of `config.toml`.
    pub revision: String,
    /// Each setting once.
    pub settings: Vec<LiveSetting>,
}

/// A setting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiveSetting {
    /// Its key in `config.toml`.
    pub name: String,
    /// Its value, in JSON.
    pub value: String,
    /// Its default, in JSON; `null` where there is none, or where the machine decides.
    pub default: String,
    /// Where the value comes from.
    pub source: SettingSource,
    /// The flag or the variable that sets it, as a user writes it.
    pub place: Option<String>,
    /// When a change counts.
    pub effect: SettingEffect,
    /// Whether the server still runs with another value.
    pub is_pending: bool,
}

/// Where a value comes from. A flag beats the environment, which beats the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum SettingSource {
    /// It is not set.
    Default,
    /// `config.toml`.
    File,
    /// An environment variable.
    Environment,
    /// A flag of `mlxd serve`.
    Flag,
}

/// When a change of a setting counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum SettingEffect {
    /// From now on.
    AtOnce,
    /// For models that are loaded from now on.
    NextLoad,
    /// When the server starts anew.
    NextServer,
}

/// A change of some settings. The others stay.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SettingsChange {
    /// The revision that the caller has read; `None` if any will do.
    pub expected: Option<String>,
    /// Names with their new values in JSON. `null` takes a setting out of the file.
    pub values: Vec<(String, String)>,
}

/// What became of a change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum SettingsOutcome {
    /// It is written, and in force where that needs no restart.
    Changed(LiveSettings),
    /// The file is no longer that of the expected revision. Nothing is written.
    Stale,
}
