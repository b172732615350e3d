//! Finds out which gateway processes are alive. A gateway that produces background responses holds a lock on its own file. The
//! kernel releases the lock when the process ends, also after a crash. File names are unique and never used again.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// This gateway process, among the gateways of one home folder.
#[derive(Debug)]
pub struct GatewayInstance {
    folder: PathBuf,
    name: String,
    /// The locked file, once [`Self::acquire_lock`] was called.
    lock: Mutex<Option<File>>,
}

impl GatewayInstance {
    /// The folder of the locks.
    pub const FOLDER: &'static str = "gateways";

    /// A new instance in `home`, without a lock.
    pub fn new(home: &Path) -> Self {
        let name = uuid::Uuid::new_v4().simple().to_string();
        Self { folder: home.join(Self::FOLDER), name, lock: Mutex::default() }
    }

    /// The unique name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Creates and locks the file, so that other gateways see this one as alive. Does nothing if it is locked already.
    ///
    /// # Errors
    /// The file cannot be created or locked.
    pub fn acquire_lock(&self) -> io::Result<()> {
        let mut lock = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        if lock.is_none() {
            fs::create_dir_all(&self.folder)?;
            let file = File::create(self.path(&self.name))?;
            file.try_lock()?;
            *lock = Some(file);
        }
        Ok(())
    }

    /// Whether the gateway `name` is alive. Removes the file of a dead one.
    pub fn is_alive(&self, name: &str) -> bool {
        let path = self.path(name);
        // A file that cannot be opened proves nothing.
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) => return error.kind() != io::ErrorKind::NotFound,
        };
        // Shared: two simultaneous checks must not take each other for the gateway.
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
    fn dead_instance_is_detected_and_its_file_removed() {
        let home = tempfile::tempdir().unwrap();
        let (one, other) = (GatewayInstance::new(home.path()), GatewayInstance::new(home.path()));
        let name = one.name();
        assert!(name != other.name() && !other.is_alive(name), "it has no lock yet");
        one.acquire_lock().unwrap();
        one.acquire_lock().unwrap();
        assert!(other.is_alive(name) && other.is_alive(name));
        // As after a SIGKILL: the file stays and the lock is gone.
        one.lock.lock().unwrap().take();
        assert!(one.path(name).exists() && !other.is_alive(name) && !one.path(name).exists());
        other.acquire_lock().unwrap();
        let path = other.path(other.name());
        assert!(path.exists());
        drop(other);
        assert!(!path.exists());
    }
}
