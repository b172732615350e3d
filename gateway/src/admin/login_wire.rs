//! The JSON types of the sign-in. Times are seconds since the epoch.
#![expect(missing_docs, reason = "some fields are self-evident")]

use schemars::JsonSchema;
use secrecy::SecretString;
use serde::de::{Deserializer, Error};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::access::key::Scope;
use crate::protocols::common::body::Body;

/// A sign-in.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SignInInput {
    #[serde(deserialize_with = "secret")]
    #[schemars(with = "String", extend("writeOnly" = true))]
    pub password: SecretString,
}

/// The first password, or a new one in place of a forgotten one.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SetupInput {
    /// The end of the address that `mlxd serve` or `mlxd login link` prints.
    #[serde(deserialize_with = "secret")]
    #[schemars(with = "String", extend("writeOnly" = true))]
    pub token: SecretString,
    /// The password from now on, of 8 to 1024 bytes.
    #[serde(deserialize_with = "secret")]
    #[schemars(with = "String", extend("writeOnly" = true))]
    pub password: SecretString,
}

/// A new password.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PasswordInput {
    /// The present one. Not needed if there is none.
    #[serde(default, deserialize_with = "optional_secret")]
    #[schemars(with = "Option<String>", extend("writeOnly" = true))]
    pub old: Option<SecretString>,
    /// The password from now on, of 8 to 1024 bytes.
    #[serde(deserialize_with = "secret")]
    #[schemars(with = "String", extend("writeOnly" = true))]
    pub new: SecretString,
}

/// A text. The usual message would quote a wrong value.
fn secret<'de, D: Deserializer<'de>>(source: D) -> Result<SecretString, D::Error> {
    optional_secret(source)?.ok_or_else(|| D::Error::custom("must be a string"))
}

fn optional_secret<'de, D: Deserializer<'de>>(source: D) -> Result<Option<SecretString>, D::Error> {
    match Value::deserialize(source)? {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(text.into())),
        _ => Err(D::Error::custom("must be a string")),
    }
}

impl Body for SignInInput {}
impl Body for SetupInput {}
impl Body for PasswordInput {}

/// How a client is let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(rename = "AccessBy")]
pub enum By {
    /// By an API key.
    Key,
    /// By a session.
    Session,
    /// By no means: the server has neither keys nor a password, and answers this machine.
    Loopback,
}

/// Who the client is.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Access {
    /// How it is let in; null if it is not.
    pub by: Option<By>,
    /// The parts of the API that it may use.
    pub scopes: Vec<Scope>,
    /// The name of its key; null for a key of the settings.
    pub key: Option<String>,
    /// The id of its session.
    pub session: Option<String>,
    /// Whether there is a password.
    pub has_password: bool,
}

/// A browser that has signed in.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Session")]
pub struct SessionView {
    pub id: String,
    /// The browser, as its `User-Agent` names it.
    pub name: String,
    pub created_at: i64,
    /// Up to half a minute late after a crash.
    pub last_used_at: i64,
    /// Its end, however much it is used.
    pub expires_at: i64,
    /// Whether it is the client's own.
    pub is_current: bool,
}

/// All sessions.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Sessions")]
pub struct SessionList {
    /// The one used last first.
    pub sessions: Vec<SessionView>,
}

/// A one-time link, for the command line.
#[derive(Serialize)]
pub struct LinkView {
    /// The end of its address.
    pub token: String,
    pub expires_at: i64,
}
