//! Layers of settings: flags over environment variables over `config.toml`.
//!
//! A group of settings is a struct that derives `Deserialize` and denies unknown fields. The name of a field is the setting's
//! key in the file. In capitals, behind `MLXD_`, it is the environment variable. A flag of the same name has dashes for
//! underscores. An error names the flag, variable or key that the value came from.

use std::collections::BTreeMap;
use std::path::PathBuf;

use ipc_proto::supervisor::SettingSource;
use serde::de::value::{Error, SeqDeserializer};
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, Error as _, IntoDeserializer, MapAccess, Visitor,
};
use serde::forward_to_deserialize_any;
use toml::{Table, Value};

use super::{ConfigError, wording};

/// The settings as they were written, each in up to three places.
#[derive(Default)]
pub(super) struct Layers {
    /// By the settings' names. Texts may stand for numbers and lists, as in the environment.
    pub(super) flags: Table,
    /// By the variables' names.
    pub(super) environment: BTreeMap<String, String>,
    pub(super) file: Table,
    /// The path of the file.
    pub(super) path: PathBuf,
    /// The keys of all groups so far.
    pub(super) keys: Vec<&'static str>,
}

impl Layers {
    /// The settings of one group. The highest layer that has a setting decides.
    pub(super) fn group<T: DeserializeOwned>(&mut self) -> Result<T, ConfigError> {
        Ok(T::deserialize(Group(self))?)
    }

    /// Refuses a key of the file that is in no group.
    pub(super) fn refuse_unknown_keys(&self) -> Result<(), ConfigError> {
        let Some(unknown) = self.file.keys().find(|key| !self.keys.contains(&key.as_str())) else {
            return Ok(());
        };
        let problem = format!("unknown field `{unknown}`, expected one of {}", self.keys.join(", "));
        Err(ConfigError::File { path: self.path.clone(), problem })
    }

    /// The flag, variable or key that a setting comes from, if any layer has it.
    pub(super) fn source(&self, key: &'static str) -> Option<String> {
        self.setting(key).map(|setting| setting.source)
    }

    /// Where a setting is written, in words too, and its value there. Flags and variables have texts.
    pub(super) fn given(&self, key: &'static str) -> Option<(SettingSource, String, serde_json::Value)> {
        let Setting { source: place, written, .. } = self.setting(key)?;
        let source = if self.flags.contains_key(key) {
            SettingSource::Flag
        } else if matches!(written, Written::Text(_)) {
            SettingSource::Environment
        } else {
            SettingSource::File
        };
        let value = match written {
            Written::Text(text) => text.into(),
            Written::Value(value) => serde_json::to_value(value).unwrap_or_default(),
        };
        Some((source, place, value))
    }

    fn setting(&self, key: &'static str) -> Option<Setting<'_>> {
        if let Some(value) = self.flags.get(key) {
            let source = format!("--{}", key.replace('_', "-"));
            let written = value.as_str().map_or(Written::Value(value), Written::Text);
            return Some(Setting { key, source, written });
        }
        let variable = format!("MLXD_{}", key.to_uppercase());
        if let Some(text) = self.environment.get(&variable) {
            return Some(Setting { key, source: variable, written: Written::Text(text) });
        }
        let value = self.file.get(key)?;
        let source = format!("{}: {key}", self.path.display());
        Some(Setting { key, source, written: Written::Value(value) })
    }
}

/// One setting from the layer that decides.
struct Setting<'a> {
    key: &'static str,
    /// The flag, variable or key, for messages.
    source: String,
    written: Written<'a>,
}

enum Written<'a> {
    Text(&'a str),
    Value(&'a Value),
}

/// Gives a struct those of its fields that some layer has.
struct Group<'a>(&'a mut Layers);

impl<'de> Deserializer<'de> for Group<'_> {
    type Error = Error;

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.0.keys.extend(fields);
        let settings: Vec<Setting<'_>> = fields.iter().filter_map(|field| self.0.setting(field)).collect();
        visitor.visit_map(Settings { left: settings.into_iter(), current: None })
    }

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Error> {
        Err(Error::custom("a group of settings is a struct"))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

struct Settings<'a> {
    left: std::vec::IntoIter<Setting<'a>>,
    current: Option<Setting<'a>>,
}

impl<'de> MapAccess<'de> for Settings<'_> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        self.current = self.left.next();
        self.current.as_ref().map(|setting| seed.deserialize(setting.key.into_deserializer())).transpose()
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        let setting = self.current.take().ok_or_else(|| Error::custom("a value has a key before it"))?;
        let Setting { key, source, written } = setting;
        let value = match written {
            Written::Text(text) => {
                // A path may contain a comma.
                let is_paths = matches!(key, "models" | "model_folders");
                let separator = if is_paths { ':' } else { ',' };
                seed.deserialize(Text { text, separator }).map_err(|problem| format!("{source}: {problem}"))
            }
            Written::Value(value) => {
                seed.deserialize(value.clone()).map_err(|error| wording::sentence(&source, &error))
            }
        };
        value.map_err(Error::custom)
    }
}

/// A text. The type of the field decides whether it becomes a number, a list or stays a text.
struct Text<'a> {
    text: &'a str,
    /// Separates the items of a list.
    separator: char,
}

impl Text<'_> {
    fn number<T: std::str::FromStr>(&self, greatest: impl std::fmt::Display) -> Result<T, Error> {
        let problem =
            || Error::custom(format!("\"{}\" is not a whole number from 0 to {greatest}", self.text));
        self.text.trim().parse().map_err(|_| problem())
    }
}

impl<'de> Deserializer<'de> for Text<'_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_str(self.text)
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.text.trim() {
            "true" | "1" => visitor.visit_bool(true),
            "false" | "0" => visitor.visit_bool(false),
            other => Err(Error::custom(format!("\"{other}\" is neither true nor false"))),
        }
    }

    fn deserialize_u16<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_u16(self.number(u16::MAX)?)
    }

    fn deserialize_u32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_u32(self.number(u32::MAX)?)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let items = self.text.split(self.separator).filter(|item| !item.trim().is_empty());
        visitor.visit_seq(SeqDeserializer::new(items))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    forward_to_deserialize_any! {
        i8 i16 i32 i64 i128 u8 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct
        tuple tuple_struct struct map enum identifier ignored_any
    }
}
