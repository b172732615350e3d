//! The JSON types of providers and routes. Times are seconds since the epoch.
#![expect(missing_docs, reason = "some fields are self-evident")]

use std::collections::BTreeMap;

use ipc_proto::gateway::{ProviderHeaders, ProviderKind, ProviderLimits, ProviderModel, Route};
use schemars::JsonSchema;
use secrecy::SecretString;
use serde::de::{Deserializer, Error};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::protocols::common::body::Body;
use crate::store::routing_store::ProviderSource;

/// A provider to make, or its settings from now on.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProviderInput {
    /// Its name, the part of its models' names before the slash. It cannot be changed later.
    pub name: Option<String>,
    /// The protocol that it speaks.
    pub kind: ProviderKind,
    /// The address before `/chat/completions` or `/v1/messages`.
    pub url: String,
    /// Its API key, which is never shown. In a replacement, the key stays if this is absent, and null removes it.
    #[serde(default, deserialize_with = "key")]
    #[schemars(with = "Option<String>", extend("writeOnly" = true))]
    pub api_key: Option<Option<SecretString>>,
    /// Headers of every request to it, such as `x-title`. They are shown, so no secret may be in them.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, String>")]
    pub headers: ProviderHeaders,
    /// The models to offer: ids, or objects. No other model is ever asked for.
    pub models: Vec<ProviderModel>,
    /// Seconds that a request may take in all; 600 by default.
    pub timeout_seconds: Option<u32>,
    /// Seconds without a byte after which a request ends, before the answer or in it. No limit if absent.
    pub idle_seconds: Option<u32>,
    /// Whether its address may be link-local, as those of metadata services are.
    #[serde(default)]
    pub allow_link_local: bool,
    /// Its limits over all its models. A provider that has reached one is not asked. In a replacement, they stay if this is absent.
    pub limits: Option<ProviderLimits>,
    /// Whether its models are offered.
    #[serde(default = "yes")]
    pub enabled: bool,
}

/// A key, or null. The usual message would quote a wrong value.
fn key<'de, D: Deserializer<'de>>(source: D) -> Result<Option<Option<SecretString>>, D::Error> {
    match Value::deserialize(source)? {
        Value::Null => Ok(Some(None)),
        Value::String(key) => Ok(Some(Some(key.into()))),
        _ => Err(D::Error::custom("must be a string or null")),
    }
}

fn yes() -> bool {
    true
}

impl Body for ProviderInput {}

/// A provider. Its API key is not shown.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Provider")]
pub struct ProviderView {
    pub name: String,
    /// The place of its definition. A provider of `config.toml` is changed there.
    pub source: ProviderSource,
    /// The protocol that it speaks.
    pub kind: ProviderKind,
    /// The address before `/chat/completions` or `/v1/messages`.
    pub url: String,
    /// Whether it has an API key.
    pub has_key: bool,
    /// The end of its API key; null for a short one too.
    pub last_four: Option<String>,
    /// Headers of every request to it.
    #[schemars(with = "BTreeMap<String, String>")]
    pub headers: ProviderHeaders,
    /// The models that it offers.
    pub models: Vec<ProviderModel>,
    /// Seconds that a request may take in all.
    pub timeout_seconds: u32,
    /// Seconds without a byte after which a request ends; null without such a limit.
    pub idle_seconds: Option<u32>,
    /// Whether its address may be link-local.
    pub allow_link_local: bool,
    /// Its limits over all its models.
    pub limits: ProviderLimits,
    /// Whether its models are offered.
    pub enabled: bool,
    /// Why it cannot be asked; null if it can.
    pub problem: Option<String>,
    pub created_at: Option<i64>,
    pub updated_at: Option<i64>,
}

/// Every provider.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Providers")]
pub struct ProviderViews {
    /// Sorted by name.
    pub providers: Vec<ProviderView>,
}

/// The routes.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Routes")]
pub struct RouteViews {
    /// The revision of `routes`, which is also the entity tag.
    pub revision: i64,
    /// Those of `config.toml`. They come first, and are changed there.
    pub configured: Vec<Route>,
    /// Those that can be replaced here, in order.
    pub routes: Vec<Route>,
}

/// All routes that follow those of `config.toml`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RouteList {
    /// In order: the first one whose conditions all hold applies.
    pub routes: Vec<Route>,
}

impl Body for RouteList {}
