//! Which gateways live: each that makes responses while nobody waits holds a lock on a file of its own, and the kernel drops
//! the lock with the process, however it ends. Files have names that never come again, so that nobody is taken for another.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// This gateway among those of one home.
#[derive(Debug)]
pub struct GatewayInstance {
    folder: PathBuf,
    name: String,
    /// Its own file, once there was a need.
    lock: Mutex<Option<File>>,
}

impl GatewayInstance {
    /// This one, in `home`.
    pub fn new(home: &Path) -> Self {
        let name = uuid::Uuid::new_v4().simple().to_string();
        Self { folder: home.join("gateways"), name, lock: Mutex::default() }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Lets others see by its name that it lives.
    ///
    /// # Errors
    /// When its file cannot be made or locked.
    pub fn show(&self) -> io::Result<()> {
        let mut lock = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        if lock.is_none() {
            fs::create_dir_all(&self.folder)?;
            let file = File::create(self.path(&self.name))?;
            file.try_lock()?;
            *lock = Some(file);
        }
        Ok(())
    }

    /// Whether the gateway `name` lives. The file of one that does not is removed.
    pub fn lives(&self, name: &str) -> bool {
        let path = self.path(name);
        // What cannot be looked at is no proof of an end.
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) => return error.kind() != io::ErrorKind::NotFound,
        };
        // Shared: who looks at the same time shall not be taken for the gateway.
        match file.try_lock_shared() {
            Err(TryLockError::WouldBlock | TryLockError::Error(_)) => true,
            Ok(()) => {
                let _ = fs::remove_file(&path);
                false
            }
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

impl Drop for GatewayInstance {
    fn drop(&mut self) {
        let lock = self.lock.get_mut().unwrap_or_else(PoisonError::into_inner);
        if lock.take().is_some() {
            let _ = fs::remove_file(self.path(&self.name));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_ended_is_known_and_leaves_nothing() {
        let home = tempfile::tempdir().unwrap();
        let (one, other) = (GatewayInstance::new(home.path()), GatewayInstance::new(home.path()));
        let name = one.name();
        assert!(name != other.name() && !other.lives(name), "it has made nothing yet");
        one.show().unwrap();
        one.show().unwrap();
        assert!(other.lives(name) && other.lives(name));
        // As when its process is killed: the file stays, the lock does not.
        one.lock.lock().unwrap().take();
        assert!(one.path(name).exists() && !other.lives(name) && !one.path(name).exists());
        other.show().unwrap();
        let path = other.path(other.name());
        assert!(path.exists());
        drop(other);
        assert!(!path.exists());
    }
}
