//! API keys and their tenants. Without configured keys, every user of this machine has access.
//!
//! Tenants share no cached text: response times would reveal the prompts of other tenants.

use std::sync::Arc;

use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

/// The configured API keys.
#[derive(Debug, Default)]
pub struct Keys(Vec<(SecretString, Tenant)>);

/// The sender of a request: a name derived from the API key, which does not reveal the key. `None` if no keys are configured.
#[derive(Debug, Clone, Default)]
pub struct Tenant(Option<Arc<str>>);

impl Tenant {
    fn from_key(key: &str) -> Self {
        let digest = Sha256::digest(format!("mlxd tenant {key}"));
        let name: String = digest[..16].iter().map(|byte| format!("{byte:02x}")).collect();
        Self(Some(name.into()))
    }

    /// The name; empty if no keys are configured.
    pub fn name(&self) -> &str {
        self.0.as_deref().unwrap_or_default()
    }

    /// The scope of cached text for requests of this tenant with `salt`.
    pub fn scope(&self, salt: &str) -> String {
        match &self.0 {
            // All names have the same length, so no salt can produce the scope of another tenant.
            Some(name) => format!("{name}:{salt}"),
            None => salt.to_owned(),
        }
    }
}

impl Keys {
    /// One tenant for each key.
    pub fn new<'a>(keys: impl IntoIterator<Item = &'a str>) -> Self {
        Self(keys.into_iter().map(|key| (key.into(), Tenant::from_key(key))).collect())
    }

    /// Whether no keys are configured.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The tenant of `key`. The time of the comparison does not reveal how many characters match.
    pub(crate) fn tenant(&self, key: &str) -> Option<&Tenant> {
        self.0.iter().fold(None, |found, (known, tenant)| {
            let equal = constant_time_eq(known.expose_secret().as_bytes(), key.as_bytes());
            if equal { Some(tenant) } else { found }
        })
    }
}

/// Compares all bytes, whatever the first ones are. The time depends on the lengths only.
fn constant_time_eq(known: &[u8], given: &[u8]) -> bool {
    let differing = known.iter().zip(given).fold(0, |bits, (a, b)| bits | (a ^ b));
    // black_box prevents the compiler from ending the loop early.
    std::hint::black_box(differing) == 0 && known.len() == given.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tenant_only_of_complete_key_found() {
        let keys = Keys::new(["sk-one", "sk-two"]);
        assert!(keys.tenant("sk-one").is_some() && keys.tenant("sk-two").is_some());
        for wrong in ["", "sk-", "sk-on", "sk-one ", "sk-onex", "SK-ONE"] {
            assert!(keys.tenant(wrong).is_none(), "{wrong}");
        }
        assert!(Keys::new([]).is_empty());
        assert!(!format!("{keys:?}").contains("sk-"));
    }

    #[test]
    fn scopes_of_different_keys_or_salts_differ() {
        let keys = Keys::new(["sk-one", "sk-two"]);
        let scope = |key: &str, salt: &str| keys.tenant(key).unwrap().scope(salt);
        assert_eq!(scope("sk-one", "a"), scope("sk-one", "a"));
        assert_ne!(scope("sk-one", "a"), scope("sk-two", "a"));
        assert_ne!(scope("sk-one", "a"), scope("sk-one", ""));
        assert!(!scope("sk-one", "").contains("one"));
        // A crafted salt does not produce the scope of another tenant.
        assert_ne!(scope("sk-two", &scope("sk-one", "")), scope("sk-one", ""));
        assert_eq!(Tenant::default().scope("a"), "a");
        assert_eq!(Tenant::default().scope(""), "");
        assert_eq!(Keys::new(["sk-two", "sk-one"]).tenant("sk-one").unwrap().scope(""), scope("sk-one", ""));
    }
}
