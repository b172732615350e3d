//! The programs that lie beside this one.

use std::path::PathBuf;

/// The path of the program `name`. It may be missing.
///
/// # Errors
/// The system does not say where this program is.
pub(crate) fn path(name: &str) -> std::io::Result<PathBuf> {
    // macOS gives the path as it was called, so a link has to be followed.
    Ok(std::env::current_exe()?.canonicalize()?.with_file_name(name))
}
