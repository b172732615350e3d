//! Runs scripts that use the official Python SDKs.

use std::process::Command;

use crate::places;

/// Runs `tests/sdk/<script>` with `arguments`.
///
/// # Panics
/// With the script's output, when it fails.
pub fn run(script: &str, arguments: &[&str]) {
    let path = places::repository().join("tests/sdk").join(script);
    let output = Command::new(places::python()).arg(&path).args(arguments).output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{script} failed\n{out}\n{err}");
    assert!(out.contains("all checks passed"), "{script} ended before its last line\n{out}\n{err}");
}
