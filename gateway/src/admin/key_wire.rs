//! The JSON types of API keys. Times are seconds since the epoch.
#![expect(missing_docs, reason = "some fields are self-evident")]

use ipc_proto::gateway::Dollars;
use ipc_proto::generate::Priority;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::access::budget::Limits;
use crate::access::key::Scope;
use crate::protocols::common::body::Body;

/// A key to make.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KeyInput {
    /// Its user, a person or a program, in 1 to 100 characters.
    pub name: String,
    /// The parts of the API that it opens; `inference` if absent.
    pub scopes: Option<Vec<Scope>>,
    /// The names that it may ask for: models, aliases, providers' models and routes. `*` at the end of one stands for any rest.
    /// Empty: all.
    #[serde(default)]
    pub models: Vec<String>,
    /// Whether its requests never go to a provider.
    #[serde(default)]
    pub local_only: bool,
    /// The class of its requests in a model's queue. If absent, each request says its own.
    pub priority: Option<Priority>,
    /// POST requests in a minute.
    pub requests_per_minute: Option<u32>,
    /// Tokens of prompts and outputs in a minute.
    pub tokens_per_minute: Option<u32>,
    /// Tokens of prompts and outputs in a calendar day (UTC).
    pub tokens_per_day: Option<u64>,
    /// Tokens of prompts and outputs in a calendar month (UTC).
    pub tokens_per_month: Option<u64>,
    /// US dollars that providers may cost in a calendar day (UTC).
    #[schemars(with = "Option<f64>")]
    pub cost_per_day: Option<Dollars>,
    /// US dollars that providers may cost in a calendar month (UTC).
    #[schemars(with = "Option<f64>")]
    pub cost_per_month: Option<Dollars>,
    /// Whether prompts and outputs of its requests are stored with the request log.
    #[serde(default)]
    pub store_content: bool,
    /// The time from which it is refused.
    pub expires_at: Option<i64>,
}

impl Body for KeyInput {}

/// A key without its secret.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ApiKey {
    pub id: String,
    pub name: String,
    pub status: KeyStatus,
    /// The end of the secret.
    pub last_four: String,
    /// The parts of the API that it opens.
    pub scopes: Vec<Scope>,
    /// The names that it may ask for. Empty: all.
    pub models: Vec<String>,
    /// Whether its requests never go to a provider.
    pub local_only: bool,
    /// The class of its requests in a model's queue; null if each request says its own.
    pub priority: Option<Priority>,
    #[serde(flatten)]
    pub limits: Limits,
    /// Whether prompts and outputs of its requests are stored with the request log.
    pub store_content: bool,
    pub created_at: i64,
    pub expires_at: Option<i64>,
    /// Up to half a minute late after a crash.
    pub last_used_at: Option<i64>,
    pub revoked_at: Option<i64>,
}

/// Whether a key is accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum KeyStatus {
    Active,
    Expired,
    Revoked,
}

/// A new key.
#[derive(Serialize, JsonSchema)]
pub struct NewKey {
    #[serde(flatten)]
    pub key: ApiKey,
    /// The key itself, as clients send it. It is shown this once.
    pub secret: String,
}

/// All keys.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ApiKeys {
    /// The oldest first, revoked ones included.
    pub keys: Vec<ApiKey>,
}
