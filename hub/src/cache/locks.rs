//! Locks that other programs respect: those of huggingface_hub on a blob, and one of mlxd's own on a model.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use super::Repository;
use crate::error::{HubError, at};

/// Between two tries for a lock that another process has.
const RETRY: Duration = Duration::from_millis(50);
/// The mode that huggingface_hub gives its locks: users who share a cache wait for each other.
const MODE: u32 = 0o664;

/// A held lock. The kernel releases it when the process ends in any way.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: Flock<File>,
}

impl Lock {
    /// Takes the lock in this file; `None` if another process has it.
    fn attempt(path: &Path) -> Result<Option<Self>, HubError> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(at(folder))?;
        }
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).mode(MODE).open(path);
        match Flock::lock(file.map_err(at(path))?, FlockArg::LockExclusiveNonblock) {
            Ok(file) => Ok(Some(Self { _file: file })),
            Err((_, Errno::EWOULDBLOCK)) => Ok(None),
            Err((_, errno)) => Err(at(path)(errno.into())),
        }
    }

    /// Takes the lock, and waits for the process that has it. `waiting` is called once before that.
    async fn wait(path: PathBuf, waiting: impl FnOnce()) -> Result<Self, HubError> {
        let mut waiting = Some(waiting);
        loop {
            if let Some(lock) = Self::attempt(&path)? {
                return Ok(lock);
            }
            if let Some(waiting) = waiting.take() {
                waiting();
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    /// Takes the lock and blocks the thread until it is there.
    pub(super) fn block(path: &Path) -> Result<Self, HubError> {
        loop {
            match Self::attempt(path)? {
                Some(lock) => return Ok(lock),
                None => std::thread::sleep(RETRY),
            }
        }
    }
}

impl Repository {
    /// mlxd's lock on the whole model, while it is downloaded or removed.
    fn own_lock(&self) -> PathBuf {
        self.locks().join("mlxd.lock")
    }

    /// Takes mlxd's lock on the model.
    pub(crate) async fn lock_model(&self, waiting: impl FnOnce()) -> Result<Lock, HubError> {
        Lock::wait(self.own_lock(), waiting).await
    }

    /// Takes mlxd's lock on the model unless another process has it.
    pub(super) fn try_lock_model(&self) -> Result<Option<Lock>, HubError> {
        Lock::attempt(&self.own_lock())
    }

    /// Takes huggingface_hub's lock on a blob unless another process has it.
    pub(super) fn try_lock_blob(&self, etag: &str) -> Result<Option<Lock>, HubError> {
        Lock::attempt(&self.locks().join(format!("{etag}.lock")))
    }

    /// Takes huggingface_hub's lock on a blob.
    pub(crate) async fn lock_blob(&self, etag: &str, waiting: impl FnOnce()) -> Result<Lock, HubError> {
        Lock::wait(self.locks().join(format!("{etag}.lock")), waiting).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn second_lock_waits_for_the_end_of_the_first() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/x.lock");
        let first = Lock::attempt(&path).unwrap().unwrap();
        assert!(Lock::attempt(&path).unwrap().is_none());
        drop(first);
        assert!(Lock::attempt(&path).unwrap().is_some());
    }
}
