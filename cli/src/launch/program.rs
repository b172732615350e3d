//! The agent's program.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::LaunchError;
use super::table::Client;
use crate::config::Environment;

/// The path of the agent's program, in the folders of `PATH`.
///
/// # Errors
/// It is in none of them.
pub(super) fn find(client: &Client, environment: &Environment) -> Result<PathBuf, LaunchError> {
    let folders = environment.variable("PATH").unwrap_or_default();
    let programs = std::env::split_paths(&folders).map(|folder| folder.join(&client.program));
    let found = programs.into_iter().find(|program| is_executable(program));
    found.ok_or_else(|| {
        let Client { name, program, install, .. } = client;
        LaunchError::Refused(format!("{name} is not installed, since {program} is not in PATH: {install}"))
    })
}

fn is_executable(program: &Path) -> bool {
    std::fs::metadata(program).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}
