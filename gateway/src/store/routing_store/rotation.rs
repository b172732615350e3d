//! Seals all API keys of providers by a new master key.
//!
//! The new key comes into its file before the change is committed, and the old one stays beside it until then. Whatever moment a
//! crash hits, both keys or the right one are there: the sealed values say which.

use ipc_proto::gateway::MasterKey;

use super::{RoutingError, RoutingStore, location, sealing_keys};
use crate::secrets::keyring::KeyringError;
use crate::secrets::{self, KeyId, id_of};
use crate::store::routing::ProviderRow;

/// The outcome of a rotation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rotated {
    /// The id of the master key before.
    pub from: KeyId,
    /// The id of the new one.
    pub to: KeyId,
    /// The number of API keys that are sealed by it.
    pub sealed: usize,
}

/// The moments between two of which a crash leaves another state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Sealed,
    OldKept,
    KeyReplaced,
    Committed,
}

impl RoutingStore {
    /// Seals all API keys of providers by a new master key: `next` if the settings give the present one, and otherwise a random
    /// one in the file.
    ///
    /// # Errors
    /// A key cannot be read, the database or a file refuses, or `next` does not fit.
    pub async fn rotate(&self, next: Option<MasterKey>) -> Result<Rotated, RoutingError> {
        self.rotate_in_steps(next, |_| Ok(())).await
    }

    /// As [`Self::rotate`]. An error of `after` ends it after a step, as a crash would.
    pub(super) async fn rotate_in_steps(
        &self,
        next: Option<MasterKey>,
        after: impl Fn(Step) -> Result<(), RoutingError>,
    ) -> Result<Rotated, RoutingError> {
        let next = self.next_key(next)?;
        let mut change = self.db.change_routing().await?;
        let stored = change.read().await?;
        self.keyring.repair(&sealing_keys(&stored))?;
        let keys = self.keyring.read();
        let mut sealed = 0;
        for row in stored.providers {
            let Some(present) = &row.sealed_key else { continue };
            sealed += 1;
            if secrets::sealed_by(present) == Some(id_of(&next)) {
                continue;
            }
            let unreadable = |problem| {
                let name = &row.name;
                RoutingError::Conflict(format!(
                    "the provider {name}: {problem}. Set its key again, or remove it"
                ))
            };
            let key = keys.open(present, location(&row.name)).map_err(unreadable)?;
            let anew = secrets::seal(&next, &key, location(&row.name)).map_err(KeyringError::from)?;
            change.put_provider(&ProviderRow { sealed_key: Some(anew), ..row }).await?;
        }
        let from = self.keyring.present_or_new()?;
        after(Step::Sealed)?;
        if !self.keyring.is_given() {
            self.keyring.keep_old(&from)?;
            after(Step::OldKept)?;
            self.keyring.replace(&next)?;
            after(Step::KeyReplaced)?;
        }
        change.commit().await?;
        after(Step::Committed)?;
        if !self.keyring.is_given() {
            self.keyring.forget_old()?;
        }
        Ok(Rotated { from: id_of(&from), to: id_of(&next), sealed })
    }

    fn next_key(&self, next: Option<MasterKey>) -> Result<MasterKey, RoutingError> {
        match (next, self.keyring.is_given()) {
            (Some(next), true) => Ok(next),
            (None, false) => Ok(secrets::generate().map_err(KeyringError::from)?),
            (None, true) => Err(RoutingError::Conflict(
                "the settings give the master key: name the variable that has the new one".into(),
            )),
            (Some(_), false) => Err(RoutingError::Conflict(
                "the master key is in the file master.key, where a random one replaces it: give no new one"
                    .into(),
            )),
        }
    }
}
