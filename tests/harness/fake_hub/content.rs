//! Contents of files, and their digests.

use std::sync::Arc;

use sha1::Sha1;
use sha2::{Digest, Sha256};

/// A file's content with its digests.
#[derive(Debug, Clone)]
pub struct Content {
    /// The bytes.
    pub bytes: Arc<Vec<u8>>,
    /// Git's name for them.
    pub git_sha1: String,
    /// Their SHA-256.
    pub sha256: String,
}

impl Content {
    /// Computes the digests.
    pub fn new(bytes: Vec<u8>) -> Self {
        let (git_sha1, sha256) = (git_sha1(&bytes), hexadecimal(&Sha256::digest(&bytes)));
        Self { bytes: Arc::new(bytes), git_sha1, sha256 }
    }
}

/// Git's name for a blob.
pub fn git_sha1(bytes: &[u8]) -> String {
    let head = format!("blob {}\0", bytes.len());
    hexadecimal(&Sha1::new_with_prefix(head).chain_update(bytes).finalize())
}

/// Bytes in hexadecimal.
pub fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Bytes without a pattern that repeats soon.
pub fn bytes(count: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1du64;
    let mut word = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    let mut all: Vec<u8> = (0..count.div_ceil(8)).flat_map(|_| word()).collect();
    all.truncate(count);
    all
}
