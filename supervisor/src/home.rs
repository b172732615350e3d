//! The home folder: locked by one server at a time, with a private folder for sockets.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use ipc_proto::socket::{MAX_PATH_BYTES, private_directory};
use nix::fcntl::{Flock, FlockArg};
use nix::sys::stat::{Mode, umask};
use nix::unistd::geteuid;

/// The length of the longest file name in the run folder, with its slash.
const LONGEST_NAME: usize = "/supervisor.sock".len();

/// Files of the home that hold answers, keys or paths. Earlier versions let other users read them.
const PRIVATE: [&str; 5] = ["mlxd.db", "mlxd.db-wal", "mlxd.db-shm", "settings.toml", "config.toml"];

/// The control socket's name in the run folder.
pub(crate) const CONTROL_SOCKET: &str = "supervisor.sock";

/// The control socket of the server that uses `home`.
///
/// # Errors
/// No server has ever used `home`, or its lock file cannot be read.
pub fn control_socket(home: &Path) -> std::io::Result<PathBuf> {
    let named = home.join("run");
    let pid = fs::read_to_string(named.join("lock"))?;
    Ok(run_directory(named, pid.trim()).join(CONTROL_SOCKET))
}

/// The folder for sockets. Systems limit a socket's path, so a deep home gets a short temporary folder.
fn run_directory(named: PathBuf, pid: &str) -> PathBuf {
    if named.as_os_str().len() + LONGEST_NAME <= MAX_PATH_BYTES {
        return named;
    }
    std::env::temp_dir().join(format!("mlxd-{pid}"))
}

/// A reason why a home folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum HomeError {
    /// Another server uses it.
    #[error("{} is in use by another mlxd (process {pid}): stop it, or choose another --home", home.display())]
    InUse {
        /// The home folder.
        home: PathBuf,
        /// The other server's process id, from the lock file.
        pid: String,
    },
    /// It cannot be created or written to.
    #[error("cannot use {} as home: {cause}", home.display())]
    Unusable {
        /// The home folder.
        home: PathBuf,
        /// The system's error.
        cause: std::io::Error,
    },
}

/// Creates the home. Takes away the rights of other users to it, and to the files that hold answers and keys.
///
/// A home that belongs to another user keeps its mode.
fn hide(home: &Path) -> std::io::Result<()> {
    fs::create_dir_all(home)?;
    if fs::metadata(home)?.uid() == geteuid().as_raw() {
        fs::set_permissions(home, Permissions::from_mode(0o700))?;
    }
    for name in PRIVATE {
        let path = home.join(name);
        let Ok(meta) = fs::symlink_metadata(&path) else { continue };
        if meta.is_file() && meta.uid() == geteuid().as_raw() {
            fs::set_permissions(path, Permissions::from_mode(0o600))?;
        }
    }
    Ok(())
}

/// A locked home folder. Dropping it releases the lock.
#[derive(Debug)]
pub(crate) struct Home {
    run: PathBuf,
    _lock: Flock<File>,
}

impl Home {
    /// Locks `home`. Creates it if it is missing.
    pub(crate) fn lock(home: &Path) -> Result<Self, HomeError> {
        let unusable = |cause| HomeError::Unusable { home: home.to_owned(), cause };
        // Answers are kept here, and paths of settings. Files that this process and its children create are private, too.
        umask(Mode::S_IRWXG | Mode::S_IRWXO);
        hide(home).map_err(unusable)?;
        let named = home.join("run");
        private_directory(&named).map_err(unusable)?;
        let path = named.join("lock");
        let options = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
        let mut file = options.map_err(unusable)?;
        let mut pid = String::new();
        file.read_to_string(&mut pid).map_err(unusable)?;
        // The kernel releases the lock when the process ends in any way.
        let mut lock = Flock::lock(file, FlockArg::LockExclusiveNonblock)
            .map_err(|_| HomeError::InUse { home: home.to_owned(), pid })?;
        let written = lock.set_len(0).and_then(|()| lock.seek(SeekFrom::Start(0)));
        written.and_then(|_| write!(lock, "{}", std::process::id())).map_err(unusable)?;
        let run = run_directory(named, &std::process::id().to_string());
        private_directory(&run).map_err(unusable)?;
        let home = Self { run, _lock: lock };
        // A killed server leaves its sockets behind.
        home.remove_sockets();
        Ok(home)
    }

    /// The folder for sockets.
    pub(crate) fn run(&self) -> &Path {
        &self.run
    }

    fn remove_sockets(&self) {
        let Ok(entries) = fs::read_dir(&self.run) else { return };
        for path in entries.filter_map(Result::ok).map(|entry| entry.path()) {
            if path.extension().is_some_and(|extension| extension == "sock") {
                let _ = fs::remove_file(path);
            }
        }
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        self.remove_sockets();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn second_server_is_refused_with_the_first_ones_process_id() {
        let folder = tempfile::tempdir().unwrap();
        let first = Home::lock(folder.path()).unwrap();
        let refused = Home::lock(folder.path()).unwrap_err().to_string();
        assert!(refused.contains(&std::process::id().to_string()), "{refused}");
        fs::write(first.run().join("w1.sock"), "").unwrap();
        let run = first.run().to_owned();
        drop(first);
        assert!(!run.join("w1.sock").exists());
        Home::lock(folder.path()).unwrap();
    }

    #[test]
    fn other_users_have_no_rights_to_the_home_and_its_files() {
        let folder = tempfile::tempdir().unwrap();
        let (home, mode) = (folder.path().join("home"), |path: &Path| {
            fs::metadata(path).unwrap().permissions().mode() & 0o777
        });
        fs::create_dir(&home).unwrap();
        fs::set_permissions(&home, Permissions::from_mode(0o755)).unwrap();
        for name in ["mlxd.db", "settings.toml", "other"] {
            fs::write(home.join(name), "").unwrap();
            fs::set_permissions(home.join(name), Permissions::from_mode(0o644)).unwrap();
        }
        let _lock = Home::lock(&home).unwrap();
        fs::write(home.join("new"), "").unwrap();
        let modes = ["", "mlxd.db", "settings.toml", "other", "new"].map(|name| mode(&home.join(name)));
        assert_eq!(modes, [0o700, 0o600, 0o600, 0o644, 0o600]);
    }

    #[test]
    fn deep_home_gets_short_socket_paths() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::lock(&folder.path().join("deep/".repeat(20))).unwrap();
        assert!(home.run().as_os_str().len() + LONGEST_NAME <= MAX_PATH_BYTES);
        let socket = control_socket(&folder.path().join("deep/".repeat(20))).unwrap();
        assert_eq!(socket, home.run().join(CONTROL_SOCKET));
        assert!(control_socket(&folder.path().join("nowhere")).is_err());
        fs::remove_dir(home.run()).unwrap();
    }
}
