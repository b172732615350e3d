//! The home folder: locked by one server at a time, with a private folder for sockets.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::ffi::OsStrExt;
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
/// The hub process's socket in the run folder.
pub(crate) const HUB_SOCKET: &str = "hub.sock";
/// The file in the run folder with the address of the HTTP API.
const ADDRESS: &str = "address";

/// The control socket of the server that uses `home`.
///
/// # Errors
/// No server has ever used `home`, or its lock file cannot be read.
pub fn control_socket(home: &Path) -> std::io::Result<PathBuf> {
    let named = home.join("run");
    let holder = LockHolder::parse(&fs::read(named.join("lock"))?);
    Ok(holder.run.unwrap_or(named).join(CONTROL_SOCKET))
}

/// The address of the HTTP API of the server that uses `home`, as `host:port`. It stays there when the server is killed.
///
/// # Errors
/// No server has ever used `home`, or none has listened yet.
pub fn address(home: &Path) -> std::io::Result<String> {
    let text = fs::read_to_string(control_socket(home)?.with_file_name(ADDRESS))?;
    Ok(text.trim().to_owned())
}

/// The folder for sockets. Systems limit a socket's path, so a deep home gets a short temporary folder.
fn run_directory(named: PathBuf) -> PathBuf {
    if named.as_os_str().len() + LONGEST_NAME <= MAX_PATH_BYTES {
        return named;
    }
    short_folder().join(format!("mlxd-{}-{}", geteuid(), std::process::id()))
}

/// The folder of short paths. macOS clears the temporary folder of a user daily of whatever is old, but /tmp of regular files only
/// (`/usr/libexec/tmp_cleaner`): sockets and the folder around them stay.
fn short_folder() -> PathBuf {
    if cfg!(target_os = "macos") { PathBuf::from("/tmp") } else { std::env::temp_dir() }
}

/// The lock file: the process id of the server that holds or held it, and its folder for sockets, a line each.
///
/// Two programs may have different temporary folders, so the path is written down.
#[derive(Debug, PartialEq, Eq)]
struct LockHolder {
    pid: String,
    run: Option<PathBuf>,
}

impl LockHolder {
    fn parse(bytes: &[u8]) -> Self {
        let (pid, run) = match bytes.iter().position(|byte| *byte == b'\n') {
            Some(end) => (&bytes[..end], bytes[end + 1..].trim_ascii_end()),
            None => (bytes, &[][..]),
        };
        let run = (!run.is_empty()).then(|| PathBuf::from(OsStr::from_bytes(run)));
        Self { pid: String::from_utf8_lossy(pid).trim().to_owned(), run }
    }

    /// Writes this process and `run`.
    fn write(lock: &mut File, run: &Path) -> std::io::Result<()> {
        lock.set_len(0)?;
        lock.seek(SeekFrom::Start(0))?;
        writeln!(lock, "{}", std::process::id())?;
        lock.write_all(run.as_os_str().as_bytes())
    }
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
    /// Whether the run folder is a temporary one outside the home.
    run_is_temporary: bool,
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
        let mut text = Vec::new();
        file.read_to_end(&mut text).map_err(unusable)?;
        let before = LockHolder::parse(&text);
        // The kernel releases the lock when the process ends in any way.
        let mut lock = Flock::lock(file, FlockArg::LockExclusiveNonblock)
            .map_err(|_| HomeError::InUse { home: home.to_owned(), pid: before.pid })?;
        let run = run_directory(named.clone());
        private_directory(&run).map_err(unusable)?;
        LockHolder::write(&mut lock, &run).map_err(unusable)?;
        let home = Self { run_is_temporary: run != named, run, _lock: lock };
        // A killed server leaves its sockets behind.
        remove_sockets(&home.run);
        if let Some(left) = before.run.filter(|left| *left != named && *left != home.run) {
            remove_left(&left);
        }
        Ok(home)
    }

    /// The folder for sockets.
    pub(crate) fn run(&self) -> &Path {
        &self.run
    }

    /// Writes down where the HTTP API is. A wildcard address is written as this machine's own.
    pub(crate) fn write_address(&self, mut address: SocketAddr) -> std::io::Result<()> {
        match address.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
            IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
            _ => {}
        }
        fs::write(self.run.join(ADDRESS), format!("{address}\n"))
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        remove_sockets(&self.run);
        let _ = fs::remove_file(self.run.join(ADDRESS));
        if self.run_is_temporary {
            let _ = fs::remove_dir(&self.run);
        }
    }
}

/// Whether the path is a folder of this user, and no link: anyone may create files in the system's temporary folder.
fn is_own_directory(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|meta| meta.is_dir() && meta.uid() == geteuid().as_raw())
}

/// Removes the temporary folder of a server that was killed.
fn remove_left(run: &Path) {
    if is_own_directory(run) {
        remove_sockets(run);
        let _ = fs::remove_file(run.join(ADDRESS));
        let _ = fs::remove_dir(run);
    }
}

fn remove_sockets(run: &Path) {
    let Ok(entries) = fs::read_dir(run) else { return };
    for path in entries.filter_map(Result::ok).map(|entry| entry.path()) {
        if path.extension().is_some_and(|extension| extension == "sock") {
            let _ = fs::remove_file(path);
        }
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
    fn address_is_there_while_the_home_is_in_use() {
        let folder = tempfile::tempdir().unwrap();
        assert!(address(folder.path()).is_err());
        let home = Home::lock(folder.path()).unwrap();
        home.write_address("0.0.0.0:99".parse().unwrap()).unwrap();
        assert_eq!(address(folder.path()).unwrap(), "127.0.0.1:99");
        drop(home);
        assert!(address(folder.path()).is_err());
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
    fn lock_file_of_an_earlier_version_has_only_a_process_id() {
        assert_eq!(LockHolder::parse(b"17"), LockHolder { pid: "17".into(), run: None });
        let path = LockHolder { pid: "17".into(), run: Some("/tmp/mlxd 1".into()) };
        assert_eq!(LockHolder::parse(b"17\n/tmp/mlxd 1\n"), path);
    }

    #[test]
    fn deep_home_gets_short_socket_paths() {
        let folder = tempfile::tempdir().unwrap();
        let deep = folder.path().join("deep/".repeat(20));
        // A killed server with an id that no process can have.
        let left = folder.path().join("another-temporary-folder");
        fs::create_dir_all(&left).unwrap();
        fs::write(left.join("w1.sock"), "").unwrap();
        fs::create_dir_all(deep.join("run")).unwrap();
        fs::write(deep.join("run/lock"), format!("99999999\n{}", left.display())).unwrap();
        let home = Home::lock(&deep).unwrap();
        assert!(!left.exists());
        assert!(home.run().as_os_str().len() + LONGEST_NAME <= MAX_PATH_BYTES);
        let socket = control_socket(&deep).unwrap();
        assert_eq!(socket, home.run().join(CONTROL_SOCKET));
        assert!(control_socket(&folder.path().join("nowhere")).is_err());
        let run = home.run().to_owned();
        drop(home);
        assert!(!run.exists(), "{}", run.display());
    }
}
