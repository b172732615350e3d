//! Seals secrets for the database: XChaCha20-Poly1305 under the master key.
//!
//! A sealed secret has four parts: the version (1 byte), the id of the master key (8), a random nonce (24), and the ciphertext with
//! its tag. The last part is 16 bytes longer than the secret. The place in the database is authenticated with it: a value that was
//! copied into another row or column does not open.

mod command;
pub mod keyring;

use std::fmt;

use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305, XNonce};
use ipc_proto::gateway::MasterKey;
use secrecy::{ExposeSecret, SecretString, zeroize::Zeroizing};
use sha2::{Digest, Sha256};

/// The present form of sealed secrets.
const VERSION: u8 = 1;
const ID_BYTES: usize = 8;
const NONCE_BYTES: usize = 24;
const HEAD_BYTES: usize = 1 + ID_BYTES;
/// Separates the ids of keys from other digests of them.
const ID_LABEL: &[u8] = b"mlxd master key id\0";

/// The id of a master key. It reveals nothing of the key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct KeyId([u8; ID_BYTES]);

/// The place of a secret in the database.
#[derive(Debug, Clone, Copy)]
pub struct Location<'a> {
    /// The table.
    pub table: &'static str,
    /// The row, by its key.
    pub row: &'a str,
    /// The column.
    pub column: &'static str,
}

/// Why a sealed secret does not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// A later version of mlxd has sealed it, or it is no sealed secret.
    #[error("it is sealed in a form that this version of mlxd does not know")]
    Form,
    /// It is sealed by another key.
    #[error("it is sealed by the master key {0}")]
    OtherKey(KeyId),
    /// It was changed, or belongs to another place.
    #[error("it was changed, or comes from another row")]
    Changed,
}

/// Why a secret cannot be sealed.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// The operating system gives no random bytes.
    #[error("no random bytes: {0}")]
    Random(#[from] getrandom::Error),
    /// It is longer than the cipher allows: 256 GiB.
    #[error("the secret is too long to be sealed")]
    Length,
}

impl fmt::Display for KeyId {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(to, "{byte:02x}"))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, to)
    }
}

impl Location<'_> {
    /// The version, the key's id and the place: a change of any of them is noticed.
    fn authenticated(&self, head: &[u8]) -> Vec<u8> {
        let place = [self.table, self.row, self.column].join("\0");
        [head, place.as_bytes()].concat()
    }
}

/// The id of a master key.
pub fn id_of(key: &MasterKey) -> KeyId {
    let digest = Sha256::new().chain_update(ID_LABEL).chain_update(key.expose()).finalize();
    let mut id = [0; ID_BYTES];
    id.copy_from_slice(&digest[..ID_BYTES]);
    KeyId(id)
}

/// Makes a new master key.
///
/// # Errors
/// The operating system gives no random bytes.
pub fn generate() -> Result<MasterKey, getrandom::Error> {
    let mut bytes = Zeroizing::new([0; 32]);
    getrandom::fill(&mut *bytes)?;
    Ok(MasterKey::new(*bytes))
}

/// Seals a secret for one place.
///
/// # Errors
/// The operating system gives no random bytes, or the secret is too long.
pub fn seal(key: &MasterKey, secret: &SecretString, at: Location<'_>) -> Result<Vec<u8>, SealError> {
    let mut nonce = [0; NONCE_BYTES];
    getrandom::fill(&mut nonce)?;
    let mut sealed = vec![VERSION];
    sealed.extend(id_of(key).0);
    let payload = Payload { msg: secret.expose_secret().as_bytes(), aad: &at.authenticated(&sealed) };
    let ciphertext = cipher(key).encrypt(&XNonce::from(nonce), payload).map_err(|_| SealError::Length)?;
    sealed.extend(nonce);
    sealed.extend(ciphertext);
    Ok(sealed)
}

/// The id of the key that has sealed a secret; `None` if the form is unknown.
pub fn sealed_by(sealed: &[u8]) -> Option<KeyId> {
    let (version, rest) = sealed.split_first()?;
    let id = rest.first_chunk::<ID_BYTES>()?;
    (*version == VERSION && rest.len() >= ID_BYTES + NONCE_BYTES).then_some(KeyId(*id))
}

/// Opens a secret that was sealed for this place.
///
/// # Errors
/// It has another form, is sealed by another key, was changed, or was sealed for another place.
pub fn open(key: &MasterKey, sealed: &[u8], at: Location<'_>) -> Result<SecretString, OpenError> {
    let id = sealed_by(sealed).ok_or(OpenError::Form)?;
    if id != id_of(key) {
        return Err(OpenError::OtherKey(id));
    }
    let (head, rest) = sealed.split_at(HEAD_BYTES);
    let (nonce, ciphertext) = rest.split_first_chunk::<NONCE_BYTES>().ok_or(OpenError::Form)?;
    let payload = Payload { msg: ciphertext, aad: &at.authenticated(head) };
    let opened = cipher(key).decrypt(&XNonce::from(*nonce), payload).map_err(|_| OpenError::Changed)?;
    let text = Zeroizing::new(opened);
    std::str::from_utf8(&text).map(SecretString::from).map_err(|_| OpenError::Form)
}

fn cipher(key: &MasterKey) -> XChaCha20Poly1305 {
    XChaCha20Poly1305::new(key.expose().into())
}

#[cfg(test)]
mod tests;
