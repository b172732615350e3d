//! Computes a file's digest while it comes.
//!
//! A thread follows the bytes from the file's beginning up to the first gap. It reads them back while the system still has them in
//! memory. The digest is known with the last byte, and covers the bytes on disk.

use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread;

use sha1::Sha1;
use sha2::{Digest, Sha256};
use tokio::sync::oneshot;

use super::partial::Partial;
use super::ranges::Ranges;
use crate::info::RemoteFile;

/// Bytes that are read at once.
const PIECE: usize = 1 << 20;

/// A digest in the making.
#[derive(Debug)]
pub(super) struct Checker {
    ranges: Sender<Range<u64>>,
    digest: oneshot::Receiver<io::Result<String>>,
}

enum Hasher {
    Sha256(Sha256),
    Sha1(Sha1),
}

impl Hasher {
    /// The one whose digest the hub gives for this file.
    fn of(file: &RemoteFile) -> Self {
        if file.sha256.is_some() {
            return Self::Sha256(Sha256::new());
        }
        // Git's digest covers kind and length.
        Self::Sha1(Sha1::new_with_prefix(format!("blob {}\0", file.size)))
    }

    fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hasher) => hasher.update(bytes),
            Self::Sha1(hasher) => hasher.update(bytes),
        }
    }

    fn finish(self) -> String {
        let hexadecimal = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        match self {
            Self::Sha256(hasher) => hexadecimal(&hasher.finalize()),
            Self::Sha1(hasher) => hexadecimal(&hasher.finalize()),
        }
    }
}

impl Checker {
    /// Starts with the ranges that are there already.
    pub(super) fn start(file: &RemoteFile, partial: &Arc<Partial>, there: Ranges) -> io::Result<Self> {
        let (ranges, received) = channel::<Range<u64>>();
        let (send, digest) = oneshot::channel();
        let (partial, size, mut hasher) = (Arc::clone(partial), file.size, Hasher::of(file));
        thread::Builder::new().name("digest".into()).spawn(move || {
            let (mut there, mut at, mut buffer) = (there, 0, Vec::new());
            loop {
                while at < there.prefix() {
                    let length = (there.prefix() - at).min(PIECE as u64);
                    buffer.resize(length as usize, 0);
                    if let Err(error) = partial.read(at, &mut buffer) {
                        let _ = send.send(Err(error));
                        return;
                    }
                    hasher.update(&buffer);
                    at += length;
                    // The one who waits has left.
                    if send.is_closed() {
                        return;
                    }
                }
                if at == size {
                    let _ = send.send(Ok(hasher.finish()));
                    return;
                }
                match received.recv() {
                    Ok(range) => there.insert(range),
                    Err(_) => return,
                }
            }
        })?;
        Ok(Self { ranges, digest })
    }

    /// Bytes are on disk.
    pub(super) fn written(&self, range: Range<u64>) {
        // A thread that has ended has sent its error.
        let _ = self.ranges.send(range);
    }

    /// Waits for the digest of the whole file.
    pub(super) async fn digest(self) -> io::Result<String> {
        self.digest.await.unwrap_or_else(|_| Err(io::Error::other("the digest was not computed")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::Cache;

    fn digest_of(sha256: Option<String>, pieces: &[(u64, &[u8])], size: u64) -> String {
        let folder = tempfile::tempdir().unwrap();
        let repository = Cache::new(folder.path()).repository("o/m");
        repository.prepare().unwrap();
        let file = RemoteFile { path: "f".into(), size, git_sha1: String::new(), sha256, xet: None };
        let (partial, ranges) = Partial::open(&repository, "e", size).unwrap();
        let partial = Arc::new(partial);
        let checker = Checker::start(&file, &partial, ranges).unwrap();
        for (at, bytes) in pieces {
            partial.write(*at, bytes).unwrap();
            checker.written(*at..*at + bytes.len() as u64);
        }
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(checker.digest()).unwrap()
    }

    /// The digests are those of `sha256sum` and `git hash-object`.
    #[test]
    fn digest_does_not_depend_on_the_order_of_parts() {
        let sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(digest_of(Some(String::new()), &[(2, b"c"), (0, b"ab")], 3), sha256);
        assert_eq!(digest_of(None, &[(0, b"a"), (1, b"bc")], 3), "f2ba8f84ab5c1bce84a7b441cb1959cfc7093b7f");
        assert_eq!(digest_of(None, &[], 0), "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391");
    }
}
