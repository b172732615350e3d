//! The key of a launched agent, if the server asks for one.
//!
//! The owner of the home owns its keys, so one is made for the agent and kept in its profile. It opens the inference API only.

use std::path::Path;
use std::time::{Duration, Instant};

use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use super::LaunchError;
use super::api::Api;
use super::profile::Profile;
use super::table::Client;
use crate::config::Environment;
use crate::gateway;

/// In the profile.
const FILE: &str = "mlxd-key.json";
const VARIABLE: &str = "MLXD_API_KEY";
/// Time that the server has to notice a new key.
const NOTICED: Duration = Duration::from_secs(10);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(100);

/// A key.
#[derive(Debug)]
pub(super) struct Key {
    secret: SecretString,
    /// Its id if it was made for the agent.
    id: Option<String>,
}

impl Key {
    pub(super) fn secret(&self) -> &str {
        self.secret.expose_secret()
    }

    /// Has the server refuse it from now on, if it was made for the agent.
    pub(super) fn revoke(&self, home: &Path) -> Result<(), LaunchError> {
        if let Some(id) = &self.id {
            gateway::run_in(home, "key", &["revoke".as_ref(), id.as_ref()], "")?;
        }
        Ok(())
    }
}

/// The key that was made for the agent, whether or not the server still knows it.
pub(super) fn saved(profile: &Profile) -> Result<Option<Key>, LaunchError> {
    let Some(text) = profile.read(FILE)? else { return Ok(None) };
    let value: Value = serde_json::from_str(&text).unwrap_or_default();
    let text = |name: &str| value[name].as_str().map(str::to_owned);
    Ok(text("secret").map(|secret| Key { secret: secret.into(), id: text("id") }))
}

/// How an agent gets to the server.
pub(super) enum Access {
    /// No key is needed.
    Open,
    /// With a key that the server accepts: the agent's own, or that of `MLXD_API_KEY`.
    With(Key),
    /// A key is needed, and there is none.
    Closed,
}

/// How the agent gets to the server now.
pub(super) fn access(api: &Api, profile: &Profile, environment: &Environment) -> Result<Access, LaunchError> {
    if api.is_open(None)? {
        return Ok(Access::Open);
    }
    let given = environment.variable(VARIABLE).map(|secret| Key { secret: secret.into(), id: None });
    for key in [saved(profile)?, given].into_iter().flatten() {
        if api.is_open(Some(key.secret()))? {
            return Ok(Access::With(key));
        }
    }
    Ok(Access::Closed)
}

/// A key that the server accepts, which is made if there is none. `None` if the server needs none.
pub(super) fn usable(
    api: &Api,
    client: &Client,
    profile: &Profile,
    home: &Path,
    environment: &Environment,
) -> Result<Option<Key>, LaunchError> {
    match access(api, profile, environment)? {
        Access::Open => return Ok(None),
        Access::With(key) => return Ok(Some(key)),
        Access::Closed => {}
    }
    let document = json!({"name": format!("launch {}", client.id), "scopes": ["inference"]});
    let answer = gateway::run_in(home, "key", &["add".as_ref()], &document.to_string())?;
    profile.save(FILE, answer.as_bytes())?;
    let Some(made) = saved(profile)? else { return Ok(None) };
    // A running server notices a new key after a moment.
    let start = Instant::now();
    while !api.is_open(Some(made.secret()))? {
        if start.elapsed() > NOTICED {
            return Err(LaunchError::Refused("the server does not accept the key that was made".to_owned()));
        }
        std::thread::sleep(LOOK);
    }
    Ok(Some(made))
}
