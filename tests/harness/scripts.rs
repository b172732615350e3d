//! Runs scripts that use the official SDKs.

use std::process::Command;

use crate::places;

/// Runs `tests/sdk/<script>`, a Python script or a Node.js module, with `arguments`.
///
/// # Panics
/// With the script's output, when it fails.
pub fn run(script: &str, arguments: &[&str]) {
    let path = places::repository().join("tests/sdk").join(script);
    let mut command = if script.ends_with(".py") {
        let mut python = Command::new(places::python());
        // The scripts import each other. Bytecode files must not appear beside them.
        python.env("PYTHONDONTWRITEBYTECODE", "1");
        python
    } else {
        let mut node = Command::new("node");
        // Node.js searches packages beside a module only. The scripts resolve theirs from this folder.
        node.env("MLXD_TEST_NODE", places::node());
        node
    };
    let output = command.arg(&path).args(arguments).output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{script} failed\n{out}\n{err}");
    assert!(out.contains("all checks passed"), "{script} ended before its last line\n{out}\n{err}");
}
