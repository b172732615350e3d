//! API keys and the tenants behind them. Without configured keys, everyone on this machine has access.
//!
//! Tenants share no cached text: response times would reveal the prompts of others.

use std::sync::Arc;

use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

/// The keys that open the API.
#[derive(Debug, Default)]
pub struct Keys(Vec<(SecretString, Tenant)>);

/// The sender of a request: a name derived from the key that does not reveal it; none if no key is needed.
#[derive(Debug, Clone, Default)]
pub struct Tenant(Option<Arc<str>>);

impl Tenant {
    fn of(key: &str) -> Self {
        let digest = Sha256::digest(format!("mlxd tenant {key}"));
        let name: String = digest[..16].iter().map(|byte| format!("{byte:02x}")).collect();
        Self(Some(name.into()))
    }

    /// The name; empty where no key is needed.
    pub fn name(&self) -> &str {
        self.0.as_deref().unwrap_or_default()
    }

    /// The scope of cached text for what this one asks with `salt`.
    pub fn scope(&self, salt: &str) -> String {
        match &self.0 {
            // All names are of one length, so no salt makes one tenant's scope another's.
            Some(name) => format!("{name}:{salt}"),
            None => salt.to_owned(),
        }
    }
}

impl Keys {
    /// Makes a tenant of each key.
    pub fn new<'a>(keys: impl IntoIterator<Item = &'a str>) -> Self {
        Self(keys.into_iter().map(|key| (key.into(), Tenant::of(key))).collect())
    }

    /// Whether no key is needed.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whose `key` is, in time that does not tell how much of it is right.
    pub(crate) fn tenant(&self, key: &str) -> Option<&Tenant> {
        self.0.iter().fold(None, |found, (known, tenant)| {
            let same = same(known.expose_secret().as_bytes(), key.as_bytes());
            if same { Some(tenant) } else { found }
        })
    }
}

fn same(known: &[u8], given: &[u8]) -> bool {
    let differing = known.iter().zip(given).fold(0, |bits, (a, b)| bits | (a ^ b));
    // black_box keeps the compiler from ending the loop early.
    std::hint::black_box(differing) == 0 && known.len() == given.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_keys_count() {
        let keys = Keys::new(["sk-one", "sk-two"]);
        assert!(keys.tenant("sk-one").is_some() && keys.tenant("sk-two").is_some());
        for wrong in ["", "sk-", "sk-on", "sk-one ", "sk-onex", "SK-ONE"] {
            assert!(keys.tenant(wrong).is_none(), "{wrong}");
        }
        assert!(Keys::new([]).is_empty());
        assert!(!format!("{keys:?}").contains("sk-"));
    }

    #[test]
    fn scopes_differ_by_key_and_salt_and_tell_no_key() {
        let keys = Keys::new(["sk-one", "sk-two"]);
        let scope = |key: &str, salt: &str| keys.tenant(key).unwrap().scope(salt);
        assert_eq!(scope("sk-one", "a"), scope("sk-one", "a"));
        assert_ne!(scope("sk-one", "a"), scope("sk-two", "a"));
        assert_ne!(scope("sk-one", "a"), scope("sk-one", ""));
        assert!(!scope("sk-one", "").contains("one"));
        // Neither does a salt that is made for it make one the other.
        assert_ne!(scope("sk-two", &scope("sk-one", "")), scope("sk-one", ""));
        assert_eq!((Tenant::default().scope("a").as_str(), Tenant::default().scope("").as_str()), ("a", ""));
        assert_eq!(Keys::new(["sk-two", "sk-one"]).tenant("sk-one").unwrap().scope(""), scope("sk-one", ""));
    }
}
