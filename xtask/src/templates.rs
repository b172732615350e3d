//! Published chat templates and Transformers' renderings of them, for the sweep in `gateway/tests/templates.rs`.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::progress::step;
use crate::{paths, setup};

/// Packages that render the reference.
const PACKAGES: [&str; 2] = ["transformers==5.24.0", "jinja2==3.1.6"];
const SCRIPTS: [&str; 2] =
    [include_str!("../scripts/chat_templates.py"), include_str!("../scripts/chat_template_cases.py")];

/// Fetches the templates into .mlx/templates; returns that folder.
///
/// # Errors
/// When a package cannot be fetched.
pub(crate) fn fetch() -> anyhow::Result<PathBuf> {
    let folder = paths::mlx().join("templates");
    setup::Stamp::new("templates", &SCRIPTS[..1])
        .once(|| step("fetching chat templates", script(setup::python()?.as_ref(), "fetch").arg(&folder)))?;
    Ok(folder)
}

fn script(python: &Path, verb: &str) -> Command {
    let mut script = Command::new(python);
    script.arg(paths::own("scripts/chat_templates.py")).arg(verb);
    script
}

/// Fetches the templates into .mlx/templates and renders them; returns that folder.
///
/// # Errors
/// When a package cannot be fetched or the script fails.
pub(crate) fn prepare() -> anyhow::Result<PathBuf> {
    let folder = fetch()?;
    let venv = paths::mlx().join("templates-venv");
    setup::Stamp::new("templates-venv", &PACKAGES).once(|| setup::make_venv(&venv, &PACKAGES))?;
    let renderings = folder.join("renderings.json");
    let wanted = [SCRIPTS[0], SCRIPTS[1], PACKAGES[0], PACKAGES[1]];
    setup::Stamp::new("renderings", &wanted).once(|| {
        let mut script = script(&venv.join("bin/python"), "render");
        step("rendering chat templates", script.arg(&folder).arg(&renderings))
    })?;
    Ok(folder)
}
