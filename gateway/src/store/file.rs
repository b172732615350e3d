//! The files of the database: `mlxd.db` and SQLite's files beside it. They hold prompts and answers, so only their owner may
//! read them.

use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};

/// Suffixes of the database's files; SQLite appends them.
const SUFFIXES: [&str; 3] = ["", "-wal", "-shm"];
const OWNER_ONLY: u32 = 0o600;

/// The identity of a file: its device and inode.
pub(super) type FileId = (u64, u64);

/// Creates the database file if it is missing, and takes it from other users. SQLite gives new files beside it the same mode.
///
/// # Errors
/// The file cannot be created or changed.
pub(super) fn prepare(path: &Path) -> io::Result<()> {
    OpenOptions::new().append(true).create(true).mode(OWNER_ONLY).open(path)?;
    for suffix in SUFFIXES {
        let file = beside(path, suffix);
        match fs::metadata(&file) {
            Ok(found) if found.mode() & 0o777 == OWNER_ONLY => {}
            Ok(_) => fs::set_permissions(&file, Permissions::from_mode(OWNER_ONLY))?,
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The present file at `path`; `None` if there is none.
pub(super) fn id(path: &Path) -> Option<FileId> {
    fs::metadata(path).ok().map(|found| (found.dev(), found.ino()))
}

/// Renames the files to `mlxd.db.broken-DATE`. Returns that path.
///
/// # Errors
/// A file cannot be renamed.
pub(super) fn set_aside(path: &Path, now: DateTime<Utc>) -> io::Result<PathBuf> {
    let aside = beside(path, &format!(".broken-{}", now.format("%Y%m%d-%H%M%S")));
    for suffix in SUFFIXES {
        match fs::rename(beside(path, suffix), beside(&aside, suffix)) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(aside)
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}
