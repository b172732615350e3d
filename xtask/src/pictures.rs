//! `cargo xtask pictures`: draws the pictures of the documentation anew, in Chromium, from the page of a server of its own.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::symlink;
use std::time::Duration;

use anyhow::Context;

use crate::progress::step;
use crate::{demo, health, paths, setup, test};

/// How long mlxd may take to answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// Builds, serves the small model in a new home, and writes the pictures into docs/img.
///
/// # Errors
/// There is no Chromium; a step fails.
pub(crate) fn run() -> anyhow::Result<()> {
    let browser = test::find_browser().context("there is no Chromium: name one with MLXD_TEST_CHROMIUM")?;
    setup::run()?;
    let packages = test::test_node()?;
    demo::build()?;
    let served = demo::served(None)?;
    let home = tempfile::tempdir()?;
    // The tests' other models have no place in a picture.
    let models = home.path().join("models");
    fs::create_dir(&models)?;
    symlink(served.folder.join(&served.id), models.join(&served.id))?;
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let mut server = demo::Server::start(port, home.path(), &models)?;
    let base = format!("http://127.0.0.1:{port}");
    health::wait(&mut server.0, ("mlxd", &format!("{base}/health")), PATIENCE, || false)?;
    let mut node = setup::node()?.command("node");
    node.env("MLXD_TEST_NODE", packages).arg(paths::root().join("tests/sdk/ui.mjs"));
    node.args([&base, &served.id]).arg(browser).arg("pictures").arg(paths::root().join("docs/img"));
    step("drawing the pictures", &mut node)
}
